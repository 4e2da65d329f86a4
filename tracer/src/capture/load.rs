//! Loading the kernel side: sizes of its maps, offsets of the running kernel, the filter.

use anyhow::{Context as _, Result, anyhow};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use nfslat_common::{config::filter, sched::SPAN_BYTES_IN_RING};

use super::{
    kernel::{
        btf::{SchedulerLayout, TaskField},
        lock_functions::LockFunctions,
    },
    settings::{FileOps, Filter, Settings},
};

/// The kernel side, as it was built.
pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nfslat-ebpf"));

/// Room for threads, and for what scales with them. The sums of a dead thread are read and its
/// entry freed about once a second.
const MAX_THREADS: u32 = 65_536;
/// Room for thread x stacks x flags.
const MAX_WAITS: u32 = 131_072;
/// Room for buckets in use of wait histograms.
const MAX_WAIT_BUCKETS: u32 = 131_072;
/// Room for distinct kernel stacks.
const MAX_STACKS: u32 = 32_768;
/// Room for threads that wait for a lock at the same time.
const MAX_LOCK_WAITERS: u32 = 16_384;
/// Room for lock waits by who waited where, and behind whom.
const MAX_LOCK_HOLDERS: u32 = 32_768;
/// Room for processes by the address of their mmap_lock, dead ones included.
const MAX_PROCESSES: u32 = 32_768;
/// Room for distinct user stacks of processes that live; those of dead ones are freed.
const MAX_USER_STACKS: u32 = 32_768;
/// Room for who woke whom from what.
const MAX_WAKES: u32 = 32_768;
/// The waker is kept for waits of at least this length.
const LONG_WAIT_NS: u64 = 1_000_000;
/// Shorter waits are not handed over one by one: too short to make a share of the window, and many.
const SPAN_MIN_NS: u64 = 100_000;
/// Room for waits handed over one by one, for each CPU, until user space takes them, about once a second.
const SPANS_PER_CPU: usize = 8_192;
/// The same for all CPUs, at most.
const MAX_SPANS: usize = 262_144;
/// Room for operation x client x transport, each with a value per CPU.
const MAX_RPC_SERIES: u32 = 2_048;
/// Room for buckets in use of RPC histograms.
const MAX_RPC_BUCKETS: u32 = 131_072;
/// Room for series x steps.
const MAX_RPC_STEPS: u32 = 8_192;
/// Room for series x errors.
const MAX_RPC_ERRORS: u32 = 4_096;
/// Room for series x processes.
const MAX_RPC_MAKERS: u32 = 32_768;
/// Room for operation x client x transport, for all programs together that stand in for the one of a hook.
const MAX_STAND_IN_SERIES: u32 = 1_024;
/// Room for calls and faults that are between the first and the last program of a hook, where there are several.
const MAX_MARKS: u32 = 16_384;
/// Room for calls open at once.
const MAX_IN_FLIGHT: u32 = 65_536;
/// Room for threads that are inside an operation on an NFS file.
const MAX_OPEN_FILE_OPS: u32 = 16_384;
/// Room for process x file system x kind of operation.
const MAX_FILE_OPS: u32 = 16_384;
/// Room for buckets in use of their histograms.
const MAX_FILE_OP_BUCKETS: u32 = 65_536;
/// Room for files that threads were blocked on.
const MAX_FILES: u32 = 16_384;

/// Loads the object; nothing is attached yet. `functions`: where locks are waited for, on a kernel that
/// does not report it. `stand_ins`: hooks that can have several programs get them all.
///
/// # Errors
/// If this kernel lacks what cannot be done without, or refuses.
pub(super) fn load(
    settings: &Settings,
    layout: &SchedulerLayout,
    functions: &LockFunctions,
    stand_ins: bool,
) -> Result<Ebpf> {
    raise_memlock_limit();
    let switch_has_state = u32::from(layout.switch_has_state);
    let by_function = functions.all().next().is_some();
    let locks_known = layout.lock_events || by_function;
    let locks_by_function = u32::from(by_function);
    let locks_known_global = u32::from(locks_known);
    let ranges = [
        ("LOCK_READ_START", "LOCK_READ_LENGTH", &functions.read),
        ("LOCK_WRITE_START", "LOCK_WRITE_LENGTH", &functions.write),
        ("LOCK_MUTEX_START", "LOCK_MUTEX_LENGTH", &functions.mutex),
    ];
    let has_stand_ins = u32::from(stand_ins);
    let has_file_ops = settings.file_ops != FileOps::Off;
    let stand_in_series = if stand_ins { MAX_STAND_IN_SERIES } else { 1 };
    let min_wait_ns = settings.min_wait.as_nanos().try_into().unwrap_or(u64::MAX);
    let selection = Selection::of(&settings.filter);
    check_fields(&layout.fields)?;
    let user_stacks = u32::from(settings.user_stacks);
    let has_registers = u32::from(layout.task_registers);

    let mut loader = EbpfLoader::new();
    for field in &layout.fields {
        if let Some(offset) = &field.offset {
            loader.override_global(field.global, offset, false);
        }
    }
    for (start, length, function) in ranges {
        if let Some(function) = function {
            loader.override_global(start, &function.start, true).override_global(length, &function.length, true);
        }
    }
    loader
        .override_global("SWITCH_HAS_STATE", &switch_has_state, true)
        .override_global("STAND_INS", &has_stand_ins, true)
        .override_global("LOCKS_KNOWN", &locks_known_global, true)
        .override_global("LOCKS_BY_FUNCTION", &locks_by_function, true)
        .override_global("MIN_WAIT_NS", &min_wait_ns, true)
        .override_global("SPAN_MIN_NS", &SPAN_MIN_NS, true)
        .override_global("LONG_WAIT_NS", &LONG_WAIT_NS, true)
        .override_global("USER_STACKS_WANTED", &user_stacks, true)
        .override_global("HAS_TASK_REGISTERS", &has_registers, true)
        .override_global("FILTER_MODE", &selection.mode, true)
        .override_global("FILTER_TGID", &selection.tgid, true)
        .override_global("FILTER_COMM_LOW", &selection.comm[0], true)
        .override_global("FILTER_COMM_HIGH", &selection.comm[1], true)
        .override_global("FILTER_CGROUP_ID", &selection.cgroup_id, true)
        .override_global("FILTER_CGROUP_LEVEL", &selection.cgroup_level, true)
        .map_max_entries("THREADS", MAX_THREADS)
        .map_max_entries("WAITS", MAX_WAITS)
        .map_max_entries("WAIT_BUCKETS", MAX_WAIT_BUCKETS)
        .map_max_entries("SPANS", span_bytes())
        .map_max_entries("STACKS", MAX_STACKS)
        .map_max_entries("LOCK_WAITERS", if locks_known { MAX_LOCK_WAITERS } else { 1 })
        .map_max_entries("LOCK_HOLDERS", if locks_known { MAX_LOCK_HOLDERS } else { 1 })
        .map_max_entries("MM_OWNERS", if locks_known { MAX_PROCESSES } else { 1 })
        .map_max_entries("USER_STACKS", MAX_USER_STACKS)
        .map_max_entries("WAKES", MAX_WAKES)
        .map_max_entries("RPC_STATS", MAX_RPC_SERIES)
        .map_max_entries("RPC_STATS_STAND_IN", stand_in_series)
        .map_max_entries("MARKS", if stand_ins { MAX_MARKS } else { 1 })
        .map_max_entries("RPC_BUCKETS", MAX_RPC_BUCKETS)
        .map_max_entries("RPC_STEPS", MAX_RPC_STEPS)
        .map_max_entries("RPC_ERRORS", MAX_RPC_ERRORS)
        .map_max_entries("RPC_MAKERS", MAX_RPC_MAKERS)
        .map_max_entries("IN_FLIGHT", MAX_IN_FLIGHT)
        .map_max_entries("OPEN_FILE_OPS", if has_file_ops { MAX_OPEN_FILE_OPS } else { 1 })
        .map_max_entries("FILE_OPS", if has_file_ops { MAX_FILE_OPS } else { 1 })
        .map_max_entries("FILE_OP_BUCKETS", if has_file_ops { MAX_FILE_OP_BUCKETS } else { 1 })
        .map_max_entries("FILES", if has_file_ops { MAX_FILES } else { 1 });
    loader.load(OBJECT).context("cannot load the kernel side")
}

/// The length from which on waits are handed over one by one, given that from which on they are looked at.
pub(super) fn span_min_ns(min_wait_ns: u64) -> u64 {
    min_wait_ns.max(SPAN_MIN_NS)
}

/// Size of the ring buffer for waits; the kernel takes powers of two of pages.
fn span_bytes() -> u32 {
    let cpus = aya::util::online_cpus().map_or(1, |cpus| cpus.len());
    let spans = (cpus * SPANS_PER_CPU).min(MAX_SPANS);
    (spans * SPAN_BYTES_IN_RING).next_power_of_two().try_into().unwrap_or(1 << 24)
}

/// Fails if a field without which nothing can be measured is missing.
fn check_fields(fields: &[TaskField]) -> Result<()> {
    let has = |global: &str| fields.iter().any(|field| field.global == global && field.offset.is_some());
    for global in ["TASK_PID", "TASK_TGID", "TASK_START_TIME", "TASK_FLAGS", "TASK_COMM", "TASK_ON_CPU"] {
        if !has(global) {
            return Err(anyhow!("the kernel's BTF lacks the field for {global}"));
        }
    }
    if !has("TASK_STATE_U32") && !has("TASK_STATE_LONG") {
        return Err(anyhow!("the kernel's BTF lacks the state of task_struct"));
    }
    Ok(())
}

/// A filter as the kernel side takes it.
#[derive(Default)]
struct Selection {
    mode: u32,
    tgid: u32,
    comm: [u64; 2],
    cgroup_id: u64,
    cgroup_level: u32,
}

impl Selection {
    fn of(wanted: &Filter) -> Self {
        let mut selection = Self::default();
        if let Some(pid) = wanted.pid {
            selection.mode |= filter::TGID;
            selection.tgid = pid;
        }
        if let Some(comm) = &wanted.comm {
            selection.mode |= filter::COMM;
            let mut padded = [0u8; 16];
            // The kernel keeps 15 bytes and a 0.
            for (to, from) in padded[..15].iter_mut().zip(comm.bytes()) {
                *to = from;
            }
            let (low, high) = padded.split_at(8);
            selection.comm = [low, high].map(|half| u64::from_ne_bytes(half.try_into().expect("8 bytes")));
        }
        if let Some((id, level)) = wanted.cgroup {
            selection.mode |= filter::CGROUP;
            selection.cgroup_id = id;
            selection.cgroup_level = level;
        }
        if wanted.command {
            selection.mode |= filter::TREE;
        }
        selection
    }
}

/// Before 5.11 map memory counted against RLIMIT_MEMLOCK.
fn raise_memlock_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is valid. A refusal shows later as a map that cannot be made.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}
