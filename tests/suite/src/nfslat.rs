//! Runs the tool under test.

use std::{ffi::OsStr, process::Command, time::Duration};

use anyhow::{Result, bail, ensure};

use crate::{
    answer::Answer,
    guest,
    machine::Machine,
    process::{Finished, PATIENCE, Process},
};

/// What it prints on standard error once it measures.
const TRACING: &str = "nfslat: tracing ";

/// A trace that is measuring.
#[derive(Debug)]
pub struct Trace(Process);

impl Trace {
    /// Starts `nfslat trace --json ARGUMENTS` and returns when it measures.
    pub fn start<S: AsRef<OsStr>>(machine: &Machine, arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let process = Process::start(Command::new(&machine.nfslat).args(["trace", "--json"]).args(arguments))?;
        process.wait_for(TRACING)?;
        Ok(Self(process))
    }

    /// Starts `nfslat trace` with text output and returns when it measures.
    pub fn start_text<S: AsRef<OsStr>>(machine: &Machine, arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let process = Process::start(Command::new(&machine.nfslat).arg("trace").args(arguments))?;
        process.wait_for(TRACING)?;
        Ok(Self(process))
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.0
    }

    /// Ends the measurement now, as Ctrl-C does, and returns the answer.
    pub fn stop(self) -> Result<Answer> {
        self.0.send(libc::SIGINT)?;
        self.answer(PATIENCE)
    }

    /// The same where the kernel may keep events from the tool: then the answer says so.
    pub fn stop_where_events_may_be_lost(self) -> Result<Answer> {
        self.0.send(libc::SIGINT)?;
        read_answer(&self.finish(PATIENCE)?)
    }

    /// Waits for the end, at most `limit`.
    pub fn finish(self, limit: Duration) -> Result<Finished> {
        self.0.finish(limit)
    }

    /// Waits for the end, at most `limit`, and returns the answer.
    pub fn answer(self, limit: Duration) -> Result<Answer> {
        answer_of(&self.finish(limit)?)
    }
}

/// Whether a trace may end so.
///
/// A guest is the suite's own, and there nothing may be missing. Elsewhere a kernel may not report
/// all that happens: one was seen to leave out the switches of its hypervisor's agent, in its own
/// trace as well. The tool is right to call its data incomplete there (exit code 3), and the checks
/// still compare the numbers.
fn may_end_with(code: Option<i32>) -> bool {
    code == Some(0) || (code == Some(3) && guest::stage().is_none())
}

/// Fails unless a trace that printed text went well.
pub fn went_well(finished: &Finished) -> Result<()> {
    if may_end_with(finished.code()) {
        return Ok(());
    }
    bail!("nfslat ended with {} and said:\n{}{}", finished.status, finished.stderr, finished.stdout)
}

/// The answer of a finished trace that must have gone well.
pub fn answer_of(finished: &Finished) -> Result<Answer> {
    let answer = read_answer(finished)?;
    ensure!(
        may_end_with(finished.code()),
        "it ended with {} and lost {:?}; {}",
        finished.status,
        answer.losses,
        unknown(&answer)
    );
    Ok(answer)
}

/// Waits whose class is not known, which may tell what was lost.
fn unknown(answer: &Answer) -> String {
    let unknown = answer.waits.iter().filter(|wait| wait.class == "unknown");
    let named: Vec<_> =
        unknown.map(|wait| format!("{} of {} ({}), {} ns", wait.count, wait.comm, wait.pid, wait.total_ns)).collect();
    format!("waits of class unknown: {}", named.join("; "))
}

/// The answer of a finished trace, complete or not, as it says itself in each way it has.
fn read_answer(finished: &Finished) -> Result<Answer> {
    let Ok(answer) = serde_json::from_str::<Answer>(&finished.stdout) else {
        bail!("nfslat ended with {} and no answer: {}{}", finished.status, finished.stderr, finished.stdout);
    };
    ensure!(answer.schema == "nfslat/1", "the schema is called {}", answer.schema);
    ensure!(matches!(finished.code(), Some(0 | 3)), "it ended with {}: {}", finished.status, finished.stderr);
    ensure!(answer.complete == (finished.code() == Some(0)), "the exit code does not tell what the answer does");
    // Names are no numbers: without some of them an answer is complete all the same.
    let names_only = answer.losses.iter().all(|loss| loss.what == "unresolved-user-frames");
    ensure!(answer.complete == names_only, "complete: {}, and lost {:?}", answer.complete, answer.losses);
    Ok(answer)
}

/// Traces while `nfslat-workload ARGUMENTS` runs.
pub fn trace_workload(machine: &Machine, options: &[&str], workload: &[&str]) -> Result<(Answer, Finished)> {
    let mut command = Command::new(&machine.nfslat);
    command
        .args(["trace", "--json", "--duration", "300"])
        .args(options)
        .arg("--")
        .arg(&machine.workload)
        .args(workload);
    let finished = Process::start(&mut command)?.finish(Duration::from_secs(300) + PATIENCE)?;
    Ok((answer_of(&finished)?, finished))
}

/// Runs `nfslat ARGUMENTS` to its end.
pub fn run<S: AsRef<OsStr>>(machine: &Machine, arguments: impl IntoIterator<Item = S>) -> Result<Finished> {
    Process::start(Command::new(&machine.nfslat).args(arguments))?.finish(PATIENCE)
}
