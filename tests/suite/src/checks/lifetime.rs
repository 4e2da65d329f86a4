//! When a trace ends, and what it leaves behind.

use std::{process::Command, thread, time::Duration};

use anyhow::Result;

use crate::{
    bpf,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat::{Trace, answer_of, trace_workload, went_well},
    process::PATIENCE,
};

/// A trace lasts as long as it was told to.
pub(super) const DURATION: Check = Check { name: "lifetime::duration", stage: Stage::Tool, run: duration };

/// A trace of a command ends with the command.
pub(super) const COMMAND: Check = Check { name: "lifetime::command", stage: Stage::Tool, run: command };

/// Ctrl-C and SIGTERM end a trace early, with its answer.
pub(super) const SIGNALS: Check = Check { name: "lifetime::signals", stage: Stage::Tool, run: signals };

/// A killed trace leaves nothing in the kernel.
pub(super) const KILLED: Check = Check { name: "lifetime::killed", stage: Stage::Small, run: killed };

const SECOND_NS: u64 = 1_000_000_000;

fn duration(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    for asked in ["2", "2s", "2000ms"] {
        let answer = Trace::start(machine, ["--duration", asked])?.answer(PATIENCE)?;
        complaints.unless_near(format!("window of {asked}"), answer.window.duration_ns, 2 * SECOND_NS, 0.1, 0);
    }
    complaints.settle()
}

fn command(machine: &Machine) -> Result<Outcome> {
    let (answer, finished) = trace_workload(machine, &[], &["sleep", "--count", "50", "--output", "/dev/null"])?;
    let mut complaints = Complaints::default();
    // Fifty waits of 20 ms, and what starting and ending it takes.
    let window = answer.window.duration_ns;
    complaints.unless((SECOND_NS..10 * SECOND_NS).contains(&window), || format!("the window was {window} ns"));
    complaints.unless(finished.wall < PATIENCE, || format!("it took {:?}", finished.wall));
    complaints.settle()
}

fn signals(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let trace = Trace::start(machine, ["--duration", "300"])?;
        thread::sleep(Duration::from_secs(1));
        trace.process().send(signal)?;
        let window = answer_of(&trace.finish(PATIENCE)?)?.window.duration_ns;
        complaints.unless((SECOND_NS..10 * SECOND_NS).contains(&window), || format!("signal {signal}: {window} ns"));

        let trace = Trace::start_text(machine, ["--duration", "300"])?;
        trace.process().send(signal)?;
        let finished = trace.finish(PATIENCE)?;
        went_well(&finished)?;
        complaints.unless(finished.stdout.lines().count() > 3, || format!("signal {signal}: {:?}", finished.stdout));
    }
    complaints.settle()
}

fn killed(machine: &Machine) -> Result<Outcome> {
    let mut sleeper = Command::new("sleep").arg("300").spawn()?;
    let mut complaints = Complaints::default();
    for filter in [vec![], vec!["-p".to_owned(), sleeper.id().to_string()]] {
        let trace = Trace::start(machine, filter)?;
        let held = bpf::held_by(trace.process().pid())?;
        let kinds = |kind: fn(&bpf::Object) -> bool| held.iter().filter(|object| kind(object)).count();
        let programs = kinds(|object| matches!(object, bpf::Object::Program(_)));
        let maps = kinds(|object| matches!(object, bpf::Object::Map(_)));
        complaints.unless(programs > 0 && maps > 0, || format!("it held {programs} programs and {maps} maps"));
        complaints.unless(held.iter().all(|object| bpf::exists(*object)), || "not all objects exist".to_owned());
        trace.process().send(libc::SIGKILL)?;
        let finished = trace.finish(PATIENCE)?;
        complaints.unless(finished.signal() == Some(libc::SIGKILL), || format!("it ended with {}", finished.status));
        // The kernel frees what nobody holds after a grace period.
        thread::sleep(Duration::from_secs(3));
        let left: Vec<_> = held.into_iter().filter(|object| bpf::exists(*object)).collect();
        complaints.unless(left.is_empty(), || format!("left behind: {left:?}"));
    }
    sleeper.kill()?;
    sleeper.wait()?;
    complaints.settle()
}
