//! Time of threads by state, against another tool that looks at the same switches.

use std::{thread, time::Duration};

use anyhow::{Context, Result};

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guest,
    machine::Machine,
    nfslat::Trace,
    timehist::{self, Recording, Times},
    workload::Gated,
};

/// Time blocked, waiting for a CPU and on one is what `perf sched timehist` says of the same threads and time.
pub(super) const TIMEHIST: Check =
    Check { name: "threads::times_agree_with_perf_sched", stage: Stage::Bare, run: agrees };

/// What the two may differ: 1%, or what follows.
const SHARE: f64 = 0.01;

/// Both look at the clock in each switch and wake-up, one after the other, and the host of an emulated machine may pause
/// its processor in between (seen beside other work on the host: 5.7 ms in a thread with 30 turns on a CPU).
const PAUSE_NS: u64 = 10_000_000;

/// The first to look delays the second, by more when some threads leave than when they come. So a thread that shares its
/// CPU seems to take time from the others, by up to 40 us a turn as seen on 7.3; it seems to give them time when nfslat
/// is started before perf. Sums over the threads are free of it, and what a thread was blocked is too.
const TURN_NS: u64 = 50_000;

fn agrees(machine: &Machine) -> Result<Outcome> {
    if guest::stage().is_none() {
        // A host may hide switches from tracing; nfslat counts those, and perf takes what it has for the whole.
        return Ok(Outcome::Skipped("perf is compared with in guests, where no switch is hidden from it".to_owned()));
    }
    let kinds = ["sleep", "pipe", "futex", "busy", "compete"];
    let settings = ["--threads", "2", "--duration", "3", "--step-ms", "100", "--pin"];
    let mut workload = Gated::start(machine, &[&kinds[..], &settings].concat())?;
    let perf = Recording::start()?;
    let trace = Trace::start(machine, ["-p", &workload.pid().to_string(), "--duration", "120"])?;
    let truth = workload.work()?;
    // Long enough for all threads to have gone to sleep: both tools then know how the window ends for them.
    thread::sleep(Duration::from_millis(200));
    let answer = trace.stop()?;
    let turns = perf.stop(workload.pid())?;
    workload.end()?;

    let mut complaints = Complaints::default();
    let (mut seen_sum, mut wanted_sum) = (Times::default(), Times::default());
    for truth in &truth.threads {
        let name = &truth.comm;
        let thread = answer.thread(truth.tid).with_context(|| format!("{name} is missing from the answer"))?;
        let turns = turns.get(&truth.tid).with_context(|| format!("{name} is missing from perf's account"))?;
        let wanted = timehist::times(turns, answer.window.duration_ns);
        let (on_cpu_ns, runnable_ns, blocked_ns) = (thread.on_cpu_ns, thread.runnable_ns, thread.blocked_ns);
        let seen = Times { on_cpu_ns, runnable_ns, blocked_ns };
        compare(&mut complaints, name, seen, wanted, PAUSE_NS + TURN_NS * turns.len() as u64);
        (seen_sum, wanted_sum) = (seen_sum + seen, wanted_sum + wanted);
    }
    compare(&mut complaints, "all threads", seen_sum, wanted_sum, PAUSE_NS);
    complaints.settle_for(&answer)
}

fn compare(complaints: &mut Complaints, name: &str, seen: Times, wanted: Times, slack_ns: u64) {
    let (seen_off_ns, wanted_off_ns) = (seen.blocked_ns + seen.runnable_ns, wanted.blocked_ns + wanted.runnable_ns);
    for (state, seen, wanted, slack_ns) in [
        ("blocked", seen.blocked_ns, wanted.blocked_ns, PAUSE_NS),
        ("blocked or runnable", seen_off_ns, wanted_off_ns, PAUSE_NS),
        ("runnable", seen.runnable_ns, wanted.runnable_ns, slack_ns),
        ("on CPU", seen.on_cpu_ns, wanted.on_cpu_ns, slack_ns),
    ] {
        complaints.unless_near(format!("{name} {state}"), seen, wanted, SHARE, slack_ns);
    }
}
