//! Calls at a rate that no server here has: the program that counts them, run by hand.

use std::{
    fs,
    os::fd::OwnedFd,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    bpf,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{NfsMount, SlowLoopback},
    machine::Machine,
    nfslat::Trace,
    process::{PATIENCE, Process},
};

/// 100,000 calls one after the other, as fast as they can be reported, are all counted, in memory that does not grow.
pub(super) const RATE: Check = Check { name: "nfs::hundred_thousand_calls", stage: Stage::WithNfs, run: rate };

const CALLS: u64 = 100_000;

/// How long a packet takes meanwhile.
const DELAY: Duration = Duration::from_secs(20);

/// Times that a call takes in all, in ns: this, and up to a thousand times as much.
const LEAST_NS: u64 = 1_000_000;

/// What the tool's memory may grow by while it reads them.
const GROWTH_KIB: u64 = 8 << 10;

fn rate(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::of_version("3")?;
    let trace = Trace::start(machine, ["--duration", "280"])?;
    let pid = trace.process().pid();
    let (program, open) = (bpf::named(pid, "rpc_stats_latency")?, bpf::named(pid, "IN_FLIGHT")?);
    // A call that is on its way for as long as this takes: the program reads the kernel's structures of one.
    let slow = SlowLoopback::by(&format!("{}s", DELAY.as_secs()))?;
    let looker = Process::start(Command::new("stat").arg(Path::new(mount.path()).join("none")))?;
    let task = wait_for_call(&open)?;
    // From here on the most memory is that of now (`proc_pid_clear_refs(5)`).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting the peak of memory so far")?;
    let before_kib = peak_kib(pid)?;
    let begun = Instant::now();
    for number in 0..CALLS {
        let execute_ns = LEAST_NS * (1 + number % 1000);
        bpf::run(&program, &[task, execute_ns / 4, execute_ns / 2, execute_ns])?;
    }
    let took = begun.elapsed();
    ensure!(took < DELAY, "the open call may have ended: this took {took:?}");
    drop(slow);
    looker.finish(PATIENCE)?;
    // It reads every second.
    thread::sleep(Duration::from_secs(2));
    let growth_kib = peak_kib(pid)?.saturating_sub(before_kib);
    let answer = trace.stop()?;

    let mut complaints = Complaints::default();
    let row = answer.rpc.iter().max_by_key(|row| row.count).context("no call was counted")?;
    // The real ones are with them.
    complaints.unless((CALLS..CALLS + 20).contains(&row.count), || format!("{} calls were counted", row.count));
    for (name, part, share) in
        [("backlog", &row.backlog_ns, 4), ("rtt", &row.rtt_ns, 2), ("execute", &row.execute_ns, 1)]
    {
        complaints.unless_equal(name, part.histogram()?.len(), row.count);
        complaints.unless_near(name, part.p50.unwrap_or(0), 500 * LEAST_NS / share, 0.01, 0);
    }
    complaints.unless_equal("losses", answer.losses.iter().map(|loss| loss.count).sum(), 0);
    complaints.unless(growth_kib <= GROWTH_KIB, || format!("the tool's memory grew by {growth_kib} KiB"));
    complaints.settle_for(&answer)
}

/// The call that stays open, by the address of its task.
fn wait_for_call(open: &OwnedFd) -> Result<u64> {
    let end = Instant::now() + PATIENCE;
    loop {
        let before = bpf::any_key(open)?;
        // Another one may just be ending.
        thread::sleep(Duration::from_millis(300));
        match before {
            Some(task) if bpf::any_key(open)? == before => return Ok(task),
            _ => ensure!(Instant::now() < end, "no call is open"),
        }
    }
}

/// The most memory that a process had.
fn peak_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    peak.context("the process has no peak of memory")
}
