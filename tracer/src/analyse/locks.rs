//! Who waited for which lock, through which call, and behind whom.

use std::collections::HashMap;

use serde::Serialize;

use super::classify::{Class, Group, LockMode, base_name, classify};
use crate::model::{Call, Holder, HolderKind, LockSeries, Recording};

/// Waits of one process for one kind of lock, through one call, behind one holder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LockRow {
    /// Process id of the waiter.
    pub pid: u32,
    /// Name of its first thread.
    pub comm: String,
    /// Class of the wait.
    pub class: Class,
    /// Process whose mmap_lock it is; `null` if it is not an mmap_lock. Not `pid` where one process waits
    /// for the address space of another.
    pub mm_pid: Option<u32>,
    /// How the lock was wanted, where it has readers and writers.
    pub mode: Option<LockMode>,
    /// Where the waiter came from: a system call, `page fault`, `exit`, or the outermost function known.
    pub call: String,
    /// How the lock was held when the wait began: `writer` is certain, `reader` is a hint (of several
    /// readers the one that came last, and maybe gone), `nobody` (the next in line had been woken and
    /// had not run yet), `unknown`.
    pub holder_kind: HolderKind,
    /// Process id of the holder; 0 if not known.
    pub holder_pid: u32,
    /// Thread id of the holder; 0 if not known.
    pub holder_tid: u32,
    /// Name of the holder's thread.
    pub holder_comm: String,
    /// The call that the holder was in; empty if not known (as for readers).
    pub holder_call: String,
    /// What the holder itself waited for meanwhile, last; `null` if it did not wait, or that is not known.
    pub holder_class: Option<Class>,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// What the holder did during these waits, where it is traced too: time on a CPU.
    pub holder_on_cpu_ns: u64,
    /// Time ready to run, waiting for a CPU.
    pub holder_runnable_ns: u64,
    /// Time blocked.
    pub holder_blocked_ns: u64,
}

impl LockRow {
    /// The part of the waits during which a certain holder was itself waiting for storage.
    #[must_use]
    pub fn behind_storage_ns(&self) -> u64 {
        let storage = self.holder_class.is_some_and(|class| class.group() == Group::Storage);
        if storage && self.holder_kind == HolderKind::Writer { self.holder_blocked_ns.min(self.total_ns) } else { 0 }
    }
}

/// What rows are summed by.
#[derive(PartialEq, Eq, Hash)]
struct Key<'r> {
    process: u32,
    class: Class,
    mm_pid: Option<u32>,
    mode: Option<LockMode>,
    call: String,
    kind: HolderKind,
    holder: (u32, u32),
    holder_call: &'r Call,
    holder_class: Option<Class>,
}

/// Rows, most time first.
pub(super) fn rows(recording: &Recording) -> Vec<LockRow> {
    let mut sums: HashMap<Key<'_>, LockRow> = HashMap::new();
    for series in &recording.locks {
        let frames = series.stack.map(|stack| recording.stacks[stack as usize].frames.as_slice());
        let verdict = classify(frames, series.flags);
        let key = Key {
            process: series.process,
            class: verdict.class,
            mm_pid: series.mm_pid,
            mode: verdict.mode,
            call: call(frames.unwrap_or_default()),
            kind: series.holder.kind,
            holder: (series.holder.pid, series.holder.tid),
            holder_call: &series.holder.call,
            holder_class: holder_class(recording, series),
        };
        let row = match sums.get_mut(&key) {
            Some(row) => row,
            None => {
                let row = row(recording, &key, &series.holder);
                sums.entry(key).or_insert(row)
            }
        };
        row.count = row.count.saturating_add(series.count);
        row.total_ns = row.total_ns.saturating_add(series.total_ns);
        row.max_ns = row.max_ns.max(series.max_ns);
        row.holder_on_cpu_ns = row.holder_on_cpu_ns.saturating_add(series.holder_on_cpu_ns);
        row.holder_runnable_ns = row.holder_runnable_ns.saturating_add(series.holder_runnable_ns);
        row.holder_blocked_ns = row.holder_blocked_ns.saturating_add(series.holder_blocked_ns);
    }
    let mut rows: Vec<LockRow> = sums.into_values().collect();
    rows.sort_by(|a, b| {
        (b.total_ns, a.pid, a.class, &a.call, a.holder_tid, &a.holder_call, a.holder_class)
            .cmp(&(a.total_ns, b.pid, b.class, &b.call, b.holder_tid, &b.holder_call, b.holder_class))
            .then_with(|| (a.mode, a.holder_kind, a.mm_pid).cmp(&(b.mode, b.holder_kind, b.mm_pid)))
    });
    rows
}

fn row(recording: &Recording, key: &Key<'_>, holder: &Holder) -> LockRow {
    let process = &recording.processes[key.process as usize];
    LockRow {
        pid: process.pid,
        comm: process.comm.clone(),
        class: key.class,
        mm_pid: key.mm_pid,
        mode: key.mode,
        call: key.call.clone(),
        holder_kind: key.kind,
        holder_pid: holder.pid,
        holder_tid: holder.tid,
        holder_comm: holder.comm.clone(),
        holder_call: match &holder.call {
            Call::Unknown => String::new(),
            Call::Exception => PAGE_FAULT.to_owned(),
            Call::System(name) => name.clone(),
        },
        holder_class: key.holder_class,
        count: 0,
        total_ns: 0,
        max_ns: 0,
        holder_on_cpu_ns: 0,
        holder_runnable_ns: 0,
        holder_blocked_ns: 0,
    }
}

/// What the holder waited for, if it did so for a part of the waits that is worth telling: a tenth.
fn holder_class(recording: &Recording, series: &LockSeries) -> Option<Class> {
    let stack = series.holder_stack?;
    let frames = &recording.stacks[stack as usize].frames;
    let worth_telling = series.holder_blocked_ns >= series.total_ns / 10;
    worth_telling.then(|| classify(Some(frames), series.holder_flags).class)
}

const PAGE_FAULT: &str = "page fault";

/// Functions by which a thread enters the kernel or begins an errand there, and what that is called.
const ENTRIES: &[(&str, &str)] = &[
    ("exc_page_fault", PAGE_FAULT),
    ("asm_exc_page_fault", PAGE_FAULT),
    ("do_user_addr_fault", PAGE_FAULT),
    ("do_exit", "exit"),
    ("do_group_exit", "exit"),
    ("begin_new_exec", "exec"),
    ("vm_mmap_pgoff", "mmap"),
    ("ret_from_fork", "kernel thread"),
];

/// Prefixes of system call entries: `__x64_sys_munmap`, `__do_sys_brk`, `ksys_read`.
const CALL_PREFIXES: &[&str] = &["__x64_sys_", "__arm64_sys_", "__ia32_sys_", "__se_sys_", "__do_sys_", "ksys_"];

/// Functions that every system call comes through.
const COMMON: &[&str] =
    &["x64_sys_call", "do_syscall_64", "entry_SYSCALL_64_after_hwframe", "el0_svc", "invoke_syscall"];

/// Functions behind which a file of `/proc` is read.
const PROC_PREFIXES: &[&str] = &["proc_pid_", "proc_reg_", "pagemap_", "smaps_", "environ_", "mem_rw", "m_start"];

/// Where a stack (innermost frame first) came from.
fn call(frames: &[String]) -> String {
    let frames = || frames.iter().map(|frame| base_name(frame));
    let errand = frames().find_map(|frame| ENTRIES.iter().find(|(function, _)| *function == frame));
    if let Some((_, name)) = errand {
        return (*name).to_owned();
    }
    let of_proc = frames().any(|frame| PROC_PREFIXES.iter().any(|prefix| frame.starts_with(prefix)));
    let system = frames().find_map(|frame| CALL_PREFIXES.iter().find_map(|prefix| frame.strip_prefix(prefix)));
    match (system, of_proc) {
        (Some(name), true) => format!("{name} of /proc"),
        (Some(name), false) => name.to_owned(),
        (None, true) => "/proc".to_owned(),
        (None, false) => {
            let outermost = frames().rfind(|frame| !COMMON.contains(frame));
            outermost.unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_of(stack: &str) -> String {
        call(&stack.split(" < ").map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn calls_are_told_by_how_the_kernel_was_entered() {
        assert_eq!(call_of("__vm_munmap < __x64_sys_munmap < do_syscall_64"), "munmap");
        assert_eq!(call_of("lock_mm_and_find_vma < do_user_addr_fault < exc_page_fault"), "page fault");
        assert_eq!(call_of("do_exit < __x64_sys_exit < do_syscall_64"), "exit");
        assert_eq!(call_of("__do_sys_brk < do_syscall_64"), "brk");
        assert_eq!(call_of("m_start < seq_read_iter < vfs_read < ksys_read < do_syscall_64"), "read of /proc");
        assert_eq!(call_of("vm_mmap_pgoff < do_syscall_64 < entry_SYSCALL_64_after_hwframe"), "mmap");
        assert_eq!(call_of("some_function < other_function < do_syscall_64"), "other_function");
        assert_eq!(call_of(""), "");
    }
}
