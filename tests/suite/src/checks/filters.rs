//! Filters show what was asked for, and nothing else.

use anyhow::Result;

use crate::{
    answer::Answer,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::Cgroup,
    machine::Machine,
    nfslat::Trace,
    workload::Gated,
};

/// `-p`.
pub(super) const PROCESS: Check = Check { name: "filters::process", stage: Stage::Small, run: process };

/// `--comm`.
pub(super) const COMM: Check = Check { name: "filters::comm", stage: Stage::Small, run: comm };

/// `--cgroup`.
pub(super) const CGROUP: Check = Check { name: "filters::cgroup", stage: Stage::Small, run: cgroup };

/// `--min-wait`.
pub(super) const MIN_WAIT: Check = Check { name: "filters::min_wait", stage: Stage::Small, run: min_wait };

/// Two processes that do the same; the filter is to show the first only.
fn traced(machine: &Machine, filter: impl FnOnce(u32) -> Result<Vec<String>>) -> Result<(Answer, u32)> {
    let arguments = ["sleep", "pipe", "--duration", "1", "--step-ms", "5"];
    let mut wanted = Gated::start(machine, &arguments)?;
    let mut other = Gated::start(machine, &arguments)?;
    let pid = wanted.pid();
    let trace = Trace::start(machine, filter(pid)?)?;
    wanted.work()?;
    other.work()?;
    let answer = trace.stop()?;
    wanted.end()?;
    other.end()?;
    Ok((answer, pid))
}

fn names(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<_> = answer.threads.iter().map(|thread| thread.comm.as_str()).collect();
    names.sort_unstable();
    names
}

fn only_process(answer: &Answer, pid: u32) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    let expected = ["nfslat-workload", "w-pipe", "w-pipe-peer", "w-sleep"];
    complaints.unless(names(answer) == expected, || format!("threads {:?}", names(answer)));
    for thread in &answer.threads {
        complaints.unless_equal(format!("process of {}", thread.comm), thread.pid.into(), pid.into());
    }
    for wait in &answer.waits {
        complaints.unless_equal(format!("process of waits in {}", wait.class), wait.pid.into(), pid.into());
    }
    complaints.settle()
}

fn process(machine: &Machine) -> Result<Outcome> {
    let (answer, pid) = traced(machine, |pid| Ok(vec!["-p".to_owned(), pid.to_string()]))?;
    only_process(&answer, pid)
}

fn cgroup(machine: &Machine) -> Result<Outcome> {
    let Some(group) = Cgroup::new()? else {
        return Ok(Outcome::Skipped("no cgroup version 2 hierarchy is mounted".to_owned()));
    };
    let (answer, pid) = traced(machine, |pid| {
        group.take(pid)?;
        Ok(vec!["--cgroup".to_owned(), group.path().to_string_lossy().into_owned()])
    })?;
    only_process(&answer, pid)
}

fn comm(machine: &Machine) -> Result<Outcome> {
    let (answer, _) = traced(machine, |_| Ok(vec!["--comm".to_owned(), "w-pipe".to_owned()]))?;
    let mut complaints = Complaints::default();
    // One in each process; `w-pipe-peer` only begins like it.
    complaints.unless(names(&answer) == ["w-pipe", "w-pipe"], || format!("threads {:?}", names(&answer)));
    complaints.settle()
}

fn min_wait(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    for (threshold, kept) in [("1ms", true), ("50ms", false)] {
        let (answer, pid) =
            traced(machine, |pid| Ok(["-p", &pid.to_string(), "--min-wait", threshold].map(str::to_owned).to_vec()))?;
        let sleeper = answer.threads.iter().find(|thread| thread.pid == pid && thread.comm == "w-sleep");
        let slept = sleeper.map_or(0, |thread| thread.blocked_in(&["sleep"]));
        // A second of sleeps of 5 ms.
        let seen = slept > 500_000_000;
        complaints.unless(seen == kept, || format!("--min-wait {threshold}: {slept} ns of sleep have a class"));
        let blocked = sleeper.map_or(0, |thread| thread.blocked_ns);
        complaints.unless(blocked > 500_000_000, || format!("--min-wait {threshold}: {blocked} ns blocked"));
    }
    complaints.settle()
}
