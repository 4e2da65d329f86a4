//! Where in a program a wait began, and who ended it.

use std::{fs, io::Write as _, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guest,
    machine::Machine,
    nfslat::{Trace, trace_workload},
    process::Process,
};

/// A wait shows the functions that led to it, by name and in order.
pub(super) const FUNCTIONS: Check = Check { name: "callers::functions_are_named", stage: Stage::Small, run: functions };

/// Of many different user stacks none is lost, unless it is counted.
pub(super) const MANY: Check = Check { name: "callers::many_stacks_are_kept", stage: Stage::Small, run: many };

/// The writer of a pipe is who ended the waits of its reader.
pub(super) const WAKER: Check = Check { name: "callers::waker_is_named", stage: Stage::Small, run: waker };

/// Part of the waits that must be right; the threads' birth and end are not under the check's control.
const RIGHT: f64 = 0.95;

fn functions(machine: &Machine) -> Result<Outcome> {
    // The process has to live when its mappings are read.
    let (answer, _) = trace_workload(machine, &[], &["deep", "--duration", "3", "--step-ms", "20"])?;
    let named = answer.user_stacks.most.iter().filter(|stack| {
        let functions: Vec<_> = stack.frames.iter().take(3).map(String::as_str).collect();
        functions == ["w_inner", "w_middle", "w_outer"]
    });
    let waits: u64 = named.map(|stack| stack.count).sum();
    let all: u64 = answer.waits.iter().filter(|wait| wait.class == "pipe").map(|wait| wait.count).sum();
    let mut complaints = Complaints::default();
    complaints.unless(all >= 50, || format!("{all} waits for a pipe in 3 s, one every 20 ms"));
    complaints.unless(waits as f64 >= RIGHT * all as f64, || {
        let seen: Vec<_> = answer.user_stacks.most.iter().map(|stack| &stack.frames).take(5).collect();
        format!("{waits} of {all} waits for a pipe show the functions that led to them; seen: {seen:?}")
    });
    complaints.settle_for(&answer)
}

fn many(machine: &Machine) -> Result<Outcome> {
    // An emulated machine takes its time.
    let wanted: u64 = if guest::stage().is_some() { 4_000 } else { 20_000 };
    let (answer, _) = trace_workload(machine, &[], &["stacks", "--count", &wanted.to_string()])?;
    // A sleep may be over before the thread has left its CPU: then there was no wait.
    let sleeps: u64 = answer.waits.iter().filter(|wait| wait.class == "sleep").map(|wait| wait.count).sum();
    let counted: u64 = answer.losses.iter().map(|loss| loss.count).sum();
    let kept = answer.user_stacks.distinct;
    let mut complaints = Complaints::default();
    complaints.unless(sleeps as f64 >= 0.9 * wanted as f64, || format!("{sleeps} waits in {wanted} sleeps"));
    complaints.unless(kept + counted >= sleeps, || {
        format!("{kept} user stacks of {sleeps} waits, each in its own; counted as lost: {:?}", answer.losses)
    });
    complaints.settle()
}

fn waker(machine: &Machine) -> Result<Outcome> {
    let mut reader = Process::start(&mut Command::new("cat"))?;
    let mut pipe = reader.stdin()?;
    let trace = Trace::start(machine, ["--duration", "120"])?;
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(20));
        pipe.write_all(b"x")?;
    }
    let answer = trace.stop()?;
    let own_name = fs::read_to_string("/proc/thread-self/comm").context("a thread has a name")?;

    let ended = |by_me: bool| -> u64 {
        let rows = answer.wakers.iter().filter(|row| row.pid == reader.pid());
        rows.filter(|row| {
            (row.waker_pid == std::process::id() && row.waker_comm == own_name.trim_end() && !row.interrupt) == by_me
        })
        .map(|row| row.count)
        .sum()
    };
    let mut complaints = Complaints::default();
    complaints.unless(ended(true) as f64 >= RIGHT * 50.0, || {
        let rows: Vec<_> = answer.wakers.iter().filter(|row| row.pid == reader.pid()).collect();
        format!("of 50 waits {} were ended by this process, says the answer: {rows:?}", ended(true))
    });
    complaints.unless(ended(false) <= 2, || format!("{} waits were ended by others", ended(false)));
    complaints.settle_for(&answer)
}
