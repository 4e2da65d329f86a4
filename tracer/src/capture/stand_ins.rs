//! Events that the kernel leaves out because a task was preempted inside a program, and the further
//! programs that stand in then (why: `tracer-ebpf/src/probes/stand_in.rs`).

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    path::Path,
};

use anyhow::Result;
use aya::Ebpf;
use nfslat_common::rpc::marked;

use super::kernel::{functions::Attached, maps};

/// The first kernel that may preempt a task inside a tracepoint's program, as major version.
const PREEMPTING: u32 = 7;

/// Programs that nothing can preempt (the scheduler calls them with interrupts off).
const ALONE: [&str; 4] = ["sched_switch", "sched_wakeup", "sched_wakeup_new", "sched_waking"];
/// Programs of a tracepoint's record: none of them runs on a CPU while another does, so none can stand in.
const WITHOUT: [&str; 1] = ["rpc_stats_record"];
/// Hooks whose further programs do the same once more, which changes nothing. How often all were
/// left out for one event is not known, only that it was not more often than any. (Where all were
/// left out at the end of a lock wait, the kernel side sees it when the next one begins: `StaleLock`.)
const REPEATED: [&str; 4] = ["contention_begin", "sched_process_fork", "rpc_task_sleep", "rpc_task_wakeup"];
/// Hooks whose further programs know when they have to stand in, by number ([`marked`]).
const MARKED: [(&str, u32); 4] = [
    ("rpc_stats_latency", marked::STATS),
    ("rpc_task_begin", marked::BEGIN),
    ("rpc_task_end", marked::END),
    ("mm_filemap_fault", marked::FAULT),
];

/// What the programs at functions are called among the probes and the losses.
pub(super) const FILE_FUNCTIONS: &str = "functions of nfs";

/// Programs at each function where the first may be left out.
pub(super) const AT_FUNCTIONS: usize = 2;

/// True if this kernel needs further programs.
pub(super) fn needed(proc: &Path) -> bool {
    let release = fs::read_to_string(proc.join("sys/kernel/osrelease")).unwrap_or_default();
    preempts(&release)
}

fn preempts(release: &str) -> bool {
    release.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= PREEMPTING)
}

/// The names that the further programs of a hook may have, in the order in which they have to run.
pub(super) fn names(hook: &str) -> [String; 7] {
    ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"].map(|ordinal| format!("{hook}_{ordinal}"))
}

/// What was left out so far, to tell what is left out from now on.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// Events that no program of their hook saw, by hook.
    lost: BTreeMap<&'static str, u64>,
}

impl LeftOut {
    /// Reads the kernel's counters. `at_functions`: programs at functions, together those that make up for one another.
    /// `proc`: the root of `/proc`.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(super) fn read(bpf: &Ebpf, at_functions: &[Vec<Attached>], proc: &Path) -> Result<Self> {
        let alone = ALONE.iter().chain(&WITHOUT).map(|hook| (*hook, misses(bpf, proc, hook).unwrap_or(0)));
        let repeated = REPEATED.iter().map(|hook| {
            let programs = [&[(*hook).to_owned()][..], &names(hook)].concat();
            (*hook, programs.iter().filter_map(|program| misses(bpf, proc, program)).min().unwrap_or(0))
        });
        let mut lost: BTreeMap<_, _> = alone.chain(repeated).collect();
        // An event that is just now between two programs counts as left out until another
        // has run. So the first programs' counters are read before, never after.
        let firsts = MARKED.map(|(hook, number)| (hook, number, misses(bpf, proc, hook).unwrap_or(0)));
        let stood_in = maps::read_per_cpu_array::<u64>(bpf, "STOOD_IN")?;
        for (hook, number, first) in firsts {
            let others: u64 = stood_in.get(number as usize).map_or(0, |per_cpu| per_cpu.iter().sum());
            lost.insert(hook, first.saturating_sub(others));
        }
        let all_missed = |programs: &Vec<Attached>| programs.iter().map(|program| misses_of(proc, program.fd())).min();
        lost.insert(FILE_FUNCTIONS, at_functions.iter().filter_map(all_missed).flatten().sum());
        Ok(Self { lost })
    }

    /// Events lost since `before`, by hook; only hooks that lost any.
    pub(super) fn since(&self, before: &Self) -> BTreeMap<&'static str, u64> {
        let lost = self
            .lost
            .iter()
            .map(|(hook, now)| (*hook, now.saturating_sub(before.lost.get(hook).copied().unwrap_or(0))));
        lost.filter(|(_, count)| *count > 0).collect()
    }
}

/// Runs of a loaded program that the kernel left out (`recursion_misses` in its `fdinfo`, 5.12 and
/// later); `None` if it is not loaded.
fn misses(bpf: &Ebpf, proc: &Path, program: &str) -> Option<u64> {
    let info = bpf.program(program)?.info().ok()?;
    misses_of(proc, info.fd().ok()?.as_fd().as_raw_fd())
}

fn misses_of(proc: &Path, fd: RawFd) -> Option<u64> {
    let text = fs::read_to_string(proc.join(format!("self/fdinfo/{fd}"))).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_from_7_on_need_stand_ins() {
        assert!(preempts("7.3.4+deb13-cloud-amd64\n"));
        assert!(preempts("10.0.1"));
        assert!(!preempts("6.18.44"));
        assert!(!preempts("5.10.0-32-cloud-amd64"));
        assert!(!preempts(""));
    }
}
