//! Who held the locks that threads waited for.

use anyhow::Result;
use nfslat_common::{
    lock::{LockKey, LockSum, call, holder},
    sched::wait_flags,
};

use super::{text, threads::Threads};
use crate::{
    capture::{kernel::maps, session::Session},
    model::{Call, Holder, HolderKind, LockSeries},
};

/// Reads who held locks, over the whole run.
///
/// # Errors
/// If the kernel refuses to hand over a map.
pub(super) fn read(session: &Session, threads: &mut Threads) -> Result<Vec<LockSeries>> {
    let entries = maps::read_all::<LockKey, LockSum>(maps::data(session.bpf(), "LOCK_HOLDERS")?)?;
    Ok(entries.iter().map(|(key, sum)| series(session, threads, key, sum)).collect())
}

fn series(session: &Session, threads: &mut Threads, key: &LockKey, sum: &LockSum) -> LockSeries {
    let [holder_on_cpu_ns, holder_runnable_ns, holder_blocked_ns] = sum.holder_ns;
    LockSeries {
        process: threads.processes.index_of_run(session, key.tgid, key.flags & wait_flags::KERNEL_THREAD != 0),
        stack: threads.stack(key.stack),
        flags: key.flags,
        mm_pid: (key.mm_tgid != 0).then_some(key.mm_tgid),
        holder: Holder {
            kind: match key.holder_kind {
                holder::WRITER => HolderKind::Writer,
                holder::READER => HolderKind::Reader,
                holder::NOBODY => HolderKind::Nobody,
                _ => HolderKind::Unknown,
            },
            pid: key.holder_tgid,
            tid: key.holder.tid,
            comm: text(&sum.holder_comm),
            call: call_of(key.holder_call),
        },
        holder_stack: threads.stack(key.holder_stack),
        holder_flags: key.holder_flags,
        count: sum.count,
        total_ns: sum.total_ns,
        max_ns: sum.max_ns,
        holder_on_cpu_ns,
        holder_runnable_ns,
        holder_blocked_ns,
    }
}

/// The kernel side tells a call's number on x86-64 only.
fn call_of(number: i32) -> Call {
    match number {
        call::EXCEPTION => Call::Exception,
        call::UNKNOWN => Call::Unknown,
        number => match syscalls::x86_64::Sysno::new(number.try_into().unwrap_or(usize::MAX)) {
            Some(call) => Call::System(call.name().to_owned()),
            None => Call::System(format!("syscall {number}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named() {
        assert_eq!(call_of(11), Call::System("munmap".into()));
        assert_eq!(call_of(28), Call::System("madvise".into()));
        assert_eq!(call_of(60_000), Call::System("syscall 60000".into()));
        assert_eq!(call_of(-1), Call::Exception);
        assert_eq!(call_of(-2), Call::Unknown);
    }
}
