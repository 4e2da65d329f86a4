//! What a process is made of is told by evidence from its executable, whatever its threads are called.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    answer::{Answer, Identity, Made},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat::Trace,
    process::{PATIENCE, Process},
};

/// Two programs that storm their memory maps, each with thread names of the other's language.
pub(super) const STORMS: Check = Check { name: "identity::go_and_tokio", stage: Stage::Tool, run: storms };

/// How long they storm, in seconds.
const SECONDS: &str = "3";

fn storms(machine: &Machine) -> Result<Outcome> {
    let programs = [&machine.go_storm, &machine.tokio_storm];
    if let Some(missing) = programs.iter().find(|program| !program.is_file()) {
        let reason = format!("{} is not there: `cargo xtask test` builds it", missing.display());
        return Ok(Outcome::Skipped(reason));
    }
    let trace = Trace::start(machine, ["--duration", "120"])?;
    let start = |program| Process::start(Command::new(program).arg(SECONDS));
    let [go, tokio] = [start(programs[0])?, start(programs[1])?];
    let pids = [go.pid(), tokio.pid()];
    // Who they are is read while they live, about once a second.
    for storm in [go, tokio] {
        let finished = storm.finish(Duration::from_secs(30) + PATIENCE)?;
        anyhow::ensure!(finished.code() == Some(0), "a storm ended with {}: {}", finished.status, finished.stderr);
    }
    let answer = trace.stop()?;

    let mut complaints = Complaints::default();
    let [go, tokio] = [identity_of(&answer, pids[0])?, identity_of(&answer, pids[1])?];
    for (who, identity, language, runtime, linkage, allocator) in
        [("Go", go, "Go", None, "static", "Go"), ("Tokio", tokio, "Rust", Some("Tokio"), "dynamic", "glibc")]
    {
        let named = |part: &Option<Made>| part.as_ref().map(|made| made.name.clone());
        complaints.unless(named(&identity.language).as_deref() == Some(language), || format!("{who}: {identity:?}"));
        complaints.unless(named(&identity.runtime).as_deref() == runtime, || format!("{who}: {identity:?}"));
        complaints.unless(identity.linkage.as_deref() == Some(linkage), || format!("{who}: {identity:?}"));
        complaints.unless(identity.allocators == [allocator], || format!("{who}: {identity:?}"));
        for part in [&identity.language, &identity.runtime].into_iter().flatten() {
            complaints.unless(!part.evidence.is_empty(), || format!("{who}: no evidence for {}", part.name));
        }
    }
    for pid in pids {
        let waited: u64 = answer
            .waits
            .iter()
            .filter(|wait| wait.pid == pid && wait.class == "mmap-lock")
            .map(|wait| wait.total_ns)
            .sum();
        complaints.unless(waited > 0, || format!("process {pid} stormed, and never waited for its mmap_lock"));
    }
    complaints.settle_for(&answer)
}

fn identity_of(answer: &Answer, pid: u32) -> Result<&Identity> {
    let process = answer.processes.iter().find(|process| process.pid == pid);
    let process = process.with_context(|| format!("process {pid} is missing from the answer"))?;
    process.identity.as_ref().with_context(|| format!("who process {pid} is was not found out"))
}
