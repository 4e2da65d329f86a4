//! The scheduler's own statistics of a thread, `/proc/PID/task/TID/schedstat`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Counted since the thread was born.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedStat {
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time waiting for a CPU.
    pub run_delay_ns: u64,
    /// Times it was given a CPU.
    pub timeslices: u64,
}

impl SchedStat {
    /// Of the calling thread, up to now.
    pub fn of_this_thread() -> Result<Self> {
        // The kernel adds the running slice to its sum at the next tick or switch only, which is up
        // to 10 ms away; asking for the thread's CPU time makes it do so at once.
        sys::thread_cpu_time_ns();
        Self::read(Path::new("/proc/thread-self/schedstat"))
    }

    /// Of thread `tid` of process `pid`; a thread that runs is up to a tick behind.
    pub fn of(pid: u32, tid: u32) -> Result<Self> {
        Self::read(Path::new(&format!("/proc/{pid}/task/{tid}/schedstat")))
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} reads {text:?}", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        Some(Self { on_cpu_ns: next()?, run_delay_ns: next()?, timeslices: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers_are_needed() {
        let parsed = SchedStat::parse("123 45 6\n").unwrap();
        assert_eq!(parsed, SchedStat { on_cpu_ns: 123, run_delay_ns: 45, timeslices: 6 });
        assert_eq!(SchedStat::parse("123 45"), None);
        assert_eq!(SchedStat::parse("a b c"), None);
    }

    #[test]
    fn own_cpu_time_is_up_to_date() {
        let before = SchedStat::of_this_thread().unwrap();
        let start = sys::thread_cpu_time_ns();
        while sys::thread_cpu_time_ns() - start < 3_000_000 {}
        let after = SchedStat::of_this_thread().unwrap();
        assert!(after.on_cpu_ns - before.on_cpu_ns >= 3_000_000);
    }
}
