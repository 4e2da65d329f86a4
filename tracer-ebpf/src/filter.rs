//! Which threads are traced.
//!
//! A thread that matched once stays traced: its entry exists and the filter is not asked again.

use aya_ebpf::Global;
use nfslat_common::config::{NO_FIELD, filter};

use crate::{
    kernel::{self, Task, read_at},
    maps::TREE,
};

/// Bits of [`filter`].
#[unsafe(no_mangle)]
static FILTER_MODE: Global<u32> = Global::new(0);
/// Process id to match.
#[unsafe(no_mangle)]
static FILTER_TGID: Global<u32> = Global::new(0);
/// First half of the thread name to match, as the kernel keeps it (16 bytes, padded with 0).
#[unsafe(no_mangle)]
static FILTER_COMM_LOW: Global<u64> = Global::new(0);
/// Second half of it.
#[unsafe(no_mangle)]
static FILTER_COMM_HIGH: Global<u64> = Global::new(0);
/// cgroup id to match.
#[unsafe(no_mangle)]
static FILTER_CGROUP_ID: Global<u64> = Global::new(0);
/// Depth of that cgroup below the root, 0 for the root.
#[unsafe(no_mangle)]
static FILTER_CGROUP_LEVEL: Global<u32> = Global::new(0);

/// True if the thread is to be traced.
#[inline(always)]
pub(crate) fn selects(task: Task) -> bool {
    let mode = FILTER_MODE.load();
    if mode & filter::TGID != 0 && task.tgid() != FILTER_TGID.load() {
        return false;
    }
    if mode & filter::TREE != 0 && !in_tree(task) {
        return false;
    }
    if mode & filter::COMM != 0 && !has_comm(task) {
        return false;
    }
    if mode & filter::CGROUP != 0 && !in_cgroup(task) {
        return false;
    }
    true
}

/// True if descendants of a traced process are to be traced too.
#[inline(always)]
pub(crate) fn follows_children() -> bool {
    FILTER_MODE.load() & filter::TREE != 0
}

#[inline(always)]
fn in_tree(task: Task) -> bool {
    // SAFETY: values are single bytes, written before the process runs.
    unsafe { TREE.get(task.tgid()) }.is_some_and(|&role| role == filter::TREE_MEMBER)
}

#[inline(always)]
fn has_comm(task: Task) -> bool {
    // The kernel pads a name with 0 when it sets one, but a shorter name over a longer one may
    // leave bytes behind the first 0 on old kernels: compare up to it only.
    let comm = task.comm();
    let want_low = FILTER_COMM_LOW.load().to_ne_bytes();
    let want_high = FILTER_COMM_HIGH.load().to_ne_bytes();
    let mut index = 0;
    while index < 16 {
        let want = if index < 8 { want_low[index] } else { want_high[index - 8] };
        if comm[index] != want {
            return false;
        }
        if want == 0 {
            return true;
        }
        index += 1;
    }
    true
}

/// True if the thread's cgroup (v2) is the wanted one or below it: then the wanted one is its
/// ancestor at the wanted level. `cgroup.ancestors` since 6.1, `ancestor_ids` before.
#[inline(always)]
fn in_cgroup(task: Task) -> bool {
    let Some(cgroup) = task.default_cgroup() else { return false };
    let level = FILTER_CGROUP_LEVEL.load();
    match read_at::<i32>(cgroup, kernel::CGROUP_LEVEL.load()) {
        Some(own_level) if own_level >= level as i32 => {}
        _ => return false,
    }
    let id = if kernel::CGROUP_ANCESTORS.load() != NO_FIELD {
        let ancestor: Option<*const u8> = read_at(cgroup, kernel::CGROUP_ANCESTORS.load() + level * 8);
        ancestor
            .and_then(|ancestor| read_at::<*const u8>(ancestor, kernel::CGROUP_KN.load()))
            .and_then(|node| read_at::<u64>(node, kernel::KERNFS_NODE_ID.load()))
    } else if kernel::CGROUP_ANCESTOR_IDS.load() != NO_FIELD {
        read_at::<u64>(cgroup, kernel::CGROUP_ANCESTOR_IDS.load() + level * 8)
    } else {
        None
    };
    id == Some(FILTER_CGROUP_ID.load())
}
