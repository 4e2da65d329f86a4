//! What a run knows about itself: the output, and the suite's reference.

use serde::{Deserialize, Serialize};

use crate::schedstat::SchedStat;

/// What a thread waits for by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A timed sleep.
    Sleep,
    /// Data in a pipe.
    Pipe,
    /// A futex: condition variable or mutex.
    Futex,
    /// poll or epoll.
    Poll,
    /// Data on a socket.
    Socket,
    /// The end of a child process.
    Child,
    /// A file system on a local block device.
    Storage,
    /// A file system, over NFS if the folder is on NFS.
    File,
    /// The lock of the process's own memory map.
    MmapLock,
    /// The lock of an inode.
    InodeLock,
    /// Memory: its control group is at its limit.
    Memory,
    /// A CPU: the thread never blocks by itself.
    Cpu,
    /// Several of these: only the sums of time are known.
    Several,
}

/// One thread's account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTruth {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name of the thread.
    pub comm: String,
    /// Kind of workload it belongs to.
    pub kind: String,
    /// What it waits for.
    pub cause: Cause,
    /// When it began, CLOCK_MONOTONIC.
    pub start_mono_ns: u64,
    /// How long it worked.
    pub wall_ns: u64,
    /// Time inside its blocking calls. That includes their time on a CPU and waiting for one.
    pub waited_ns: u64,
    /// Number of blocking calls.
    pub count: u64,
    /// The scheduler's statistics of the thread when it began to work.
    pub before: SchedStat,
    /// The same when it was done. Counted from the thread's birth, as `before` is.
    pub after: SchedStat,
    /// With `--calls-from-us`: when the blocking calls of at least that length were, CLOCK_MONOTONIC.
    #[serde(default)]
    pub calls: Vec<(u64, u64)>,
}

impl ThreadTruth {
    /// Time neither on a CPU nor waiting for one, while the thread worked.
    #[must_use]
    pub fn blocked_ns(&self) -> u64 {
        let scheduled = |stat: SchedStat| stat.on_cpu_ns + stat.run_delay_ns;
        self.wall_ns.saturating_sub(scheduled(self.after) - scheduled(self.before))
    }
}

/// Everything a run prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Process id.
    pub pid: u32,
    /// When the first thread began, CLOCK_MONOTONIC.
    pub start_mono_ns: u64,
    /// When the last thread was done, CLOCK_MONOTONIC.
    pub end_mono_ns: u64,
    /// The threads, in the order in which they were started.
    pub threads: Vec<ThreadTruth>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_is_wall_less_what_the_scheduler_counted() {
        let truth = ThreadTruth {
            pid: 1,
            tid: 2,
            comm: "w-sleep".to_owned(),
            kind: "sleep".to_owned(),
            cause: Cause::Sleep,
            start_mono_ns: 0,
            wall_ns: 1_000,
            waited_ns: 900,
            count: 3,
            before: SchedStat { on_cpu_ns: 50, run_delay_ns: 10, timeslices: 1 },
            after: SchedStat { on_cpu_ns: 150, run_delay_ns: 30, timeslices: 4 },
            calls: Vec::new(),
        };
        assert_eq!(truth.blocked_ns(), 880);
    }
}
