//! `perf sched timehist`: what another tool says of when threads ran, waited for a CPU and slept.

use std::{collections::HashMap, ops::Add, process::Command};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::process::{PATIENCE, Process};

/// The switches and wake-ups that `perf sched record` asks for. It would also ask for `sched_waking`, and timehist then
/// takes that for the end of a wait (`timehist_sched_wakeup_ignore` in tools/perf/builtin-sched.c). The thread is not on a
/// run queue then; it is at `sched_wakeup`, where schedstat and nfslat begin to count.
const EVENTS: &str = "sched:sched_switch,sched:sched_wakeup,sched:sched_wakeup_new";

/// What the command that is recorded says once perf records: perf starts it after it has turned on the events.
const READY: &str = "perf has begun";

/// perf, recording.
#[derive(Debug)]
pub struct Recording {
    process: Process,
    folder: TempDir,
}

/// A thread's turn on a CPU, and what came before it, in nanoseconds; perf prints whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it left the CPU, CLOCK_MONOTONIC.
    pub end_ns: u64,
    /// From when it left its CPU before until it got this one; 0 for the first turn that was recorded.
    pub away_ns: u64,
    /// Time on a run queue within that, if it had to be woken.
    pub delay_ns: u64,
    /// Time on the CPU.
    pub run_ns: u64,
    /// Whether it slept after this turn; if not, it was preempted.
    pub sleeps: bool,
}

/// The time of one thread by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU.
    pub runnable_ns: u64,
    /// Asleep.
    pub blocked_ns: u64,
}

impl Add for Times {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            on_cpu_ns: self.on_cpu_ns + other.on_cpu_ns,
            runnable_ns: self.runnable_ns + other.runnable_ns,
            blocked_ns: self.blocked_ns + other.blocked_ns,
        }
    }
}

impl Recording {
    /// Starts to record the whole machine, as `perf sched record` does.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut perf = Command::new("perf");
        perf.args([
            "record",
            "--all-cpus",
            "--mmap-pages",
            "1024",
            "--count",
            "1",
            "--raw-samples",
            "--no-buildid",
            "--synth=task",
        ]);
        // nfslat's clock.
        perf.args(["--clockid", "CLOCK_MONOTONIC", "--event", EVENTS, "--output"]).arg(folder.path().join("perf.data"));
        perf.args(["--", "sh", "-c", &format!("echo {READY} >&2; exec cat")]);
        let process = Process::start(&mut perf)?;
        process.wait_for(READY)?;
        Ok(Self { process, folder })
    }

    /// Ends it, and returns the turns of a process's threads, by thread.
    pub fn stop(self, pid: u32) -> Result<HashMap<u32, Vec<Turn>>> {
        // The end of its standard input ends the command that is recorded, and that the recording.
        let recorded = self.process.finish(PATIENCE)?;
        ensure!(recorded.code() == Some(0), "perf record ended with {}: {}", recorded.status, recorded.stderr);
        let mut perf = Command::new("perf");
        perf.args(["sched", "timehist", "--state", "--no-call-graph", "--pid", &pid.to_string(), "--input"]);
        perf.arg(self.folder.path().join("perf.data"));
        let told = Process::start(&mut perf)?.finish(PATIENCE)?;
        ensure!(told.code() == Some(0), "perf sched timehist ended with {}: {}", told.status, told.stderr);
        // Without all events it says nothing certain about any thread.
        for text in [&recorded.stderr, &told.stderr, &told.stdout] {
            let lost = text.lines().find(|line| line.to_lowercase().contains("lost"));
            ensure!(lost.is_none(), "perf, the reference, lost events: {}", lost.unwrap_or_default());
        }
        let mut turns: HashMap<_, Vec<_>> = HashMap::new();
        for (tid, turn) in told.stdout.lines().filter_map(parse) {
            turns.entry(tid).or_default().push(turn);
        }
        Ok(turns)
    }
}

/// The times within a window of this length, of a thread that sleeps at both ends of it.
#[must_use]
pub fn times(turns: &[Turn], window_ns: u64) -> Times {
    let mut times = Times::default();
    let (Some(first), Some(last)) = (turns.first(), turns.last()) else {
        return Times { blocked_ns: window_ns, ..times };
    };
    for (number, turn) in turns.iter().enumerate() {
        let slept = number == 0 || turns[number - 1].sleeps;
        // Time on the run queue after being preempted is in `delay_ns` of some versions only.
        let queued = if slept { turn.delay_ns } else { turn.away_ns };
        times.on_cpu_ns += turn.run_ns;
        times.runnable_ns += queued;
        times.blocked_ns += turn.away_ns.saturating_sub(queued);
    }
    // The sleeps before the first wake-up and after the last turn are open, but how long they are together is known.
    let woken_ns = first.end_ns - first.run_ns - first.delay_ns;
    times.blocked_ns += window_ns.saturating_sub(last.end_ns - woken_ns);
    times
}

/// A line such as `  1795.123456 [0001]  w-sleep[123/120]    20.001  0.012  0.034  S`.
fn parse(line: &str) -> Option<(u32, Turn)> {
    let mut columns = line.split_whitespace();
    let mut last = || columns.next_back();
    let (state, run, delay, away) = (last()?, last()?, last()?, last()?);
    // A thread's name may hold blanks; the main thread has no second number.
    let ids = columns.next_back()?.strip_suffix(']')?.rsplit_once('[')?.1;
    let tid = ids.split('/').next()?.parse().ok()?;
    let turn = Turn {
        end_ns: decimal(columns.next()?, 1_000_000_000)?,
        away_ns: decimal(away, 1_000_000)?,
        delay_ns: decimal(delay, 1_000_000)?,
        run_ns: decimal(run, 1_000_000)?,
        sleeps: !state.starts_with('R'),
    };
    Some((tid, turn))
}

/// A decimal fraction of `unit` nanoseconds, without the rounding of floating-point numbers.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let fraction = fraction.parse::<u64>().ok()? * unit / 10_u64.checked_pow(digits)?;
    Some(whole.parse::<u64>().ok()? * unit + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_threads_are_read_and_others_are_not() {
        let line = "1795.123456 [0001]  w odd name[123/120]           20.001      0.012      0.034      S";
        let turn =
            Turn { end_ns: 1_795_123_456_000, away_ns: 20_001_000, delay_ns: 12_000, run_ns: 34_000, sleeps: true };
        assert_eq!(parse(line), Some((123, turn)));
        assert_eq!(parse("  5.000001 [0000]  main[7]   0.000      0.000      1.000      R").unwrap().0, 7);
        for other in ["", "           time    cpu  task name     wait time  sch delay   run time  state", "--- --- ---"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn time_away_is_sleep_and_a_wait_for_a_cpu_or_only_the_latter() {
        let turn = |end_ns, away_ns, delay_ns, run_ns, sleeps| Turn { end_ns, away_ns, delay_ns, run_ns, sleeps };
        // Woken at 200, has the CPU from 210 to 250; preempted to 300, runs to 400; asleep to 880, has the CPU from 900.
        let turns = [turn(250, 0, 10, 40, false), turn(400, 50, 0, 100, true), turn(950, 500, 20, 50, true)];
        let times = times(&turns, 900);
        assert_eq!(times, Times { on_cpu_ns: 190, runnable_ns: 10 + 50 + 20, blocked_ns: 480 + 900 - (950 - 200) });
        assert_eq!(times.on_cpu_ns + times.runnable_ns + times.blocked_ns, 900);
    }
}
