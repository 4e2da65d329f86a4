//! Which processes are worth a look at who they are: those that wait most for what makes a stall.
//!
//! What a wait is for is known only at the end, from its stack. Until then its flags tell enough:
//! stalls are uninterruptible, or for a lock, or accounted as I/O or memory by the kernel. A process
//! is looked at soon after it stood out, because it may be gone at the end.

use std::{collections::HashMap, path::Path};

use nfslat_common::sched::wait_flags::{IOWAIT, LOCK, MEMSTALL, UNINTERRUPTIBLE};

use super::threads::Threads;
use crate::{
    capture::identity::Identities,
    model::{Process, Slice},
};

/// Most stalled processes that are looked at.
const TOP: usize = 24;
/// Processes looked at during a run, however the ranks change: each keeps a file open.
const MOST: usize = 96;
/// Less than this is not worth it.
const WORTH_NS: u64 = 1_000_000;

/// The processes that stood out so far.
pub(super) struct Who {
    identities: Identities,
    /// Time of what may be stalls, by index of the process.
    stalled: HashMap<u32, u64>,
}

impl Who {
    pub(super) fn new(proc: &Path) -> Self {
        Self { identities: Identities::new(proc), stalled: HashMap::new() }
    }

    /// Adds a slice, and has those looked at that stand out by now.
    pub(super) fn add(&mut self, threads: &Threads, slice: &Slice) {
        let waits = slice
            .waits
            .iter()
            .map(|part| (threads.series(part.wait), part.total_ns))
            .filter(|(series, _)| series.flags & (UNINTERRUPTIBLE | IOWAIT | MEMSTALL | LOCK) != 0)
            .map(|(series, ns)| (series.thread, ns));
        let queued = slice.threads.iter().map(|part| (part.thread, part.times.runnable_ns));
        for (thread, ns) in waits.chain(queued) {
            let process = threads.process_of(thread);
            if !threads.processes.at(process).kernel {
                *self.stalled.entry(process).or_default() += ns;
            }
        }
        for process in top(&self.stalled) {
            if !self.identities.has(process) && self.identities.count() < MOST {
                self.identities.look(process, threads.processes.at(process).pid);
            }
        }
    }

    /// Writes down what is found out of those that stood out most. Call it when the window is
    /// closed.
    pub(super) fn finish(self, processes: &mut [Process]) {
        let looked: Vec<u32> = top(&self.stalled).into_iter().filter(|&process| self.identities.has(process)).collect();
        for (index, identity) in self.identities.finish(&looked) {
            if let Some(process) = processes.get_mut(index as usize) {
                process.identity = Some(identity);
            }
        }
    }
}

/// The processes with most time, most first.
fn top(stalled: &HashMap<u32, u64>) -> Vec<u32> {
    let mut ranked: Vec<_> =
        stalled.iter().filter(|(_, ns)| **ns >= WORTH_NS).map(|(process, ns)| (*ns, *process)).collect();
    ranked.sort_unstable_by_key(|&(ns, process)| (std::cmp::Reverse(ns), process));
    ranked.into_iter().take(TOP).map(|(_, process)| process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_bounded_and_in_order() {
        let stalled: HashMap<u32, u64> = (0..100).map(|process| (process, u64::from(process) * 100_000)).collect();
        let top = top(&stalled);
        assert_eq!(top[..3], [99, 98, 97]);
        assert_eq!(top.len(), TOP);
        assert!(super::top(&HashMap::from([(1, WORTH_NS - 1)])).is_empty());
    }
}
