//! Waits of threads, against `perf sched timehist` on the same run.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat::Trace,
    process::{PATIENCE, Process},
    workload::Gated,
};

/// How long a thread waited is what perf makes of the same switches.
pub(super) const TIMEHIST: Check =
    Check { name: "threads::waits_agree_with_perf_sched", stage: Stage::Native, run: timehist };

/// What the two may differ: 1%, or 2 ms. perf prints whole microseconds.
const SHARE: f64 = 0.01;
const SLACK_NS: u64 = 2_000_000;

fn timehist(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("perf.data");
    let mut workload = Gated::start(machine, &["sleep", "pipe", "poll", "--duration", "3", "--step-ms", "3"])?;
    let pid = workload.pid();
    // perf first and last: its run has the whole of ours in it. The threads sleep at a gate before their work
    // and after it, which perf does not count, for it sees only one end of these waits.
    let mut perf = Command::new("perf");
    perf.args(["sched", "record", "-o"]).arg(&data).args(["--", "sh", "-c", "echo recording >&2; exec sleep 600"]);
    let perf = Process::start(&mut perf)?;
    perf.wait_for("recording")?;
    let trace = Trace::start(machine, ["-p", &pid.to_string(), "--duration", "120"])?;
    workload.work()?;
    let answer = trace.stop()?;
    perf.send(libc::SIGINT)?;
    perf.finish(PATIENCE)?;
    workload.end()?;

    let waited = read(&data, pid)?;
    let mut complaints = Complaints::default();
    let mut compared = 0;
    for thread in answer.threads.iter().filter(|thread| thread.comm.starts_with("w-")) {
        let seen = thread.blocked_in(&["sleep", "pipe", "poll", "short"]);
        let Some(expected) = waited.get(&thread.tid) else { continue };
        compared += 1;
        complaints.unless_near(format!("{} waited", thread.comm), seen, *expected, SHARE, SLACK_NS);
    }
    complaints.unless(compared >= 4, || format!("only {compared} threads are in both: {waited:?}"));
    complaints.settle_for(&answer)
}

/// Sum of the waits of each thread of a process.
fn read(data: &Path, pid: u32) -> Result<HashMap<u32, u64>> {
    let output = Command::new("perf")
        .args(["sched", "timehist", "-p", &pid.to_string(), "-i"])
        .arg(data)
        .stderr(Stdio::null())
        .output()
        .context("starting perf")?;
    ensure!(output.status.success(), "perf sched timehist ended with {}", output.status);
    let mut sums = HashMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((tid, waited_ns)) = parse(line) {
            *sums.entry(tid).or_default() += waited_ns;
        }
    }
    Ok(sums)
}

/// Thread and wait of a line such as `81.123456 [0001]  w-sleep[123/120]  3.067  0.012  0.034`: time, CPU,
/// thread, then in ms how long it waited, then for a CPU, then ran. The main thread has no second number.
fn parse(line: &str) -> Option<(u32, u64)> {
    let (head, times) = line.rsplit_once(']')?;
    let (_, ids) = head.rsplit_once('[')?;
    let tid = ids.split('/').next()?.parse().ok()?;
    let ms: f64 = times.split_ascii_whitespace().next()?.parse().ok()?;
    Some((tid, (ms * 1e6) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_perf_are_read() {
        let line = " 16046.872211 [0001]  w-sleep[123/120]               3.067      0.012      0.034 ";
        assert_eq!(parse(line), Some((123, 3_067_000)));
        assert_eq!(parse("   time    cpu  task name   wait time  sch delay   run time"), None);
        assert_eq!(parse("--------------- ------  ------------------------------"), None);
    }
}
