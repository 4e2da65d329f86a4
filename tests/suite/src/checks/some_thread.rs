//! For how much of the window at least one thread waited: by the tool, and by the threads' own clocks.
//!
//! Each thread notes when its blocking calls were. A call is a little more than the wait in it, by the thread's time on
//! a CPU and waiting for one, which the scheduler counts. So the time covered by the calls of all threads, and the same
//! less all of that, are bounds for the time covered by their waits.

use anyhow::Result;
use nfslat_workload::truth::{Cause, ThreadTruth};

use crate::{
    answer::{Answer, SomeTime},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{NfsMount, SlowLoopback},
    guest,
    machine::Machine,
    nfslat::Trace,
    workload::Gated,
};

/// One thread that reads a disk: its own blocked time.
pub(super) const ONE: Check = Check { name: "some_thread::one_reader", stage: Stage::Bare, run: one };

/// Two threads on a disk at once.
pub(super) const SEVERAL: Check = Check { name: "some_thread::two_on_a_disk", stage: Stage::Bare, run: several };

/// Threads that ask for a memory lock which another holds.
pub(super) const HOLDER: Check = Check { name: "some_thread::memory_lock", stage: Stage::Bare, run: holder };

/// A storm of memory mappings.
pub(super) const STORM: Check = Check { name: "some_thread::storm", stage: Stage::Bare, run: storm };

/// Threads that wait for nothing of either kind.
pub(super) const IDLE: Check = Check { name: "some_thread::idle", stage: Stage::Bare, run: idle };

/// Two threads on NFS, whose waits for answers no pressure file shows.
pub(super) const NFS: Check = Check { name: "some_thread::nfs", stage: Stage::WithNfs, run: nfs };

/// How far a time may be off: 1%, or 2 ms.
const SHARE: f64 = 0.01;
const SLACK_NS: u64 = 2_000_000;

/// How far the scheduler's own figure of a thread may be off: 5%, or so much for each wait (see `checks::classes`).
const OWN_ACCOUNT: f64 = 0.05;
const WAKE_UP_NS: u64 = 100_000;

/// Time in which threads that begin at once have taken what memory they need.
const BEGINNING_NS: u64 = 50_000_000;

/// Classes in the two groups.
const STORAGE: [&str; 12] = [
    "block",
    "journal",
    "writeback",
    "page-read",
    "file-fault",
    "io-wait",
    "dirty-throttle",
    "nfs-rpc",
    "nfs-direct",
    "nfs-page",
    "nfs-commit",
    "nfs-other",
];
const MEMORY_LOCK: [&str; 2] = ["mmap-lock", "vma-lock"];

fn one(machine: &Machine) -> Result<Outcome> {
    let folder = machine.folder_on_disk()?;
    let dir = folder.path().to_string_lossy();
    let (answer, truth) = traced(machine, &["block-read", "--duration", "2", "--dir", &dir])?;
    let storage = answer.some_thread.storage;
    let mut complaints = Complaints::default();
    // Waits of one thread are never at the same time.
    complaints.unless_equal("one thread's waits, on the clock and summed", storage.some_ns, storage.summed_ns);
    let seen = answer.thread(truth[0].tid).map_or(0, |thread| thread.blocked_in(&STORAGE));
    complaints.unless_equal("its waits for storage, short ones apart", storage.some_ns + storage.left_out_ns, seen);
    between(&mut complaints, &answer, storage, &truth, &truth.iter().collect::<Vec<_>>(), &STORAGE);
    nothing(&mut complaints, "memory lock", answer.some_thread.memory_lock);
    complaints.settle_for(&answer)
}

fn several(machine: &Machine) -> Result<Outcome> {
    let folder = machine.folder_on_disk()?;
    let dir = folder.path().to_string_lossy();
    let (answer, truth) = traced(machine, &["block-read", "fsync", "--duration", "2", "--dir", &dir])?;
    let mut complaints = Complaints::default();
    let waiters: Vec<_> = truth.iter().collect();
    between(&mut complaints, &answer, answer.some_thread.storage, &truth, &waiters, &STORAGE);
    complaints.settle_for(&answer)
}

fn holder(machine: &Machine) -> Result<Outcome> {
    let (answer, truth) = traced(machine, &["mmap-holder", "--threads", "1", "--duration", "2"])?;
    let mut complaints = Complaints::default();
    memory_lock(&mut complaints, &answer, &truth);
    // Two threads and one lock: one of them always has it, so they never wait at the same time.
    let lock = answer.some_thread.memory_lock;
    let blocked = truth.iter().map(ThreadTruth::blocked_ns).sum();
    let seen = lock.some_ns + lock.left_out_ns;
    complaints.unless(seen + SLACK_NS >= (blocked as f64 * (1.0 - OWN_ACCOUNT)) as u64, || {
        format!("both threads' waits: {seen}, they know of {blocked}")
    });
    if own_account_is_whole() {
        complaints.unless_near("both threads' waits", seen, blocked, OWN_ACCOUNT, lock.waits * WAKE_UP_NS);
    }
    complaints.settle_for(&answer)
}

fn storm(machine: &Machine) -> Result<Outcome> {
    let (answer, truth) = traced(machine, &["mmap-storm", "--duration", "2"])?;
    let mut complaints = Complaints::default();
    memory_lock(&mut complaints, &answer, &truth);
    complaints.settle_for(&answer)
}

fn memory_lock(complaints: &mut Complaints, answer: &Answer, truth: &[ThreadTruth]) {
    let waiters: Vec<_> = truth.iter().filter(|truth| truth.cause == Cause::MmapLock).collect();
    between(complaints, answer, answer.some_thread.memory_lock, truth, &waiters, &MEMORY_LOCK);
    nothing(complaints, "storage", answer.some_thread.storage);
}

fn idle(machine: &Machine) -> Result<Outcome> {
    let (answer, _) = traced(machine, &["sleep", "pipe", "futex", "poll", "--duration", "2"])?;
    let mut complaints = Complaints::default();
    nothing(&mut complaints, "storage", answer.some_thread.storage);
    // When they begin each takes memory, and they may wait for each other then.
    let lock = answer.some_thread.memory_lock;
    complaints.unless(lock.at_most_ns <= BEGINNING_NS, || format!("waits for memory locks: {lock:?}"));
    complaints.settle_for(&answer)
}

fn nfs(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::without_cached_attributes()?;
    let _far = SlowLoopback::by("10ms")?;
    let (answer, truth) = traced(machine, &["nfs-direct", "fsync", "--duration", "2", "--dir", mount.path()])?;
    let mut complaints = Complaints::default();
    let waiters: Vec<_> = truth.iter().collect();
    between(&mut complaints, &answer, answer.some_thread.storage, &truth, &waiters, &STORAGE);
    complaints.settle_for(&answer)
}

/// Traces a workload's process from when its threads exist until they are done, but still there: their birth and
/// their end take memory locks, and their files have been written before.
fn traced(machine: &Machine, workload: &[&str]) -> Result<(Answer, Vec<ThreadTruth>)> {
    let mut workload = Gated::start(machine, &[workload, &["--pin", "--calls-from-us", "100"]].concat())?;
    let trace = Trace::start(machine, ["-p", &workload.pid().to_string(), "--duration", "120"])?;
    let truth = workload.work()?;
    let answer = trace.stop()?;
    workload.end()?;
    Ok((answer, truth.threads))
}

/// Complains unless the time on the clock lies where the threads' own accounts say. `waiters`: those that wait for
/// nothing else; `classes`: for what they wait.
fn between(
    complaints: &mut Complaints,
    answer: &Answer,
    seen: SomeTime,
    all: &[ThreadTruth],
    waiters: &[&ThreadTruth],
    classes: &[&str],
) {
    // Waits inside the calls that are for something else. They never wait for a futex there; before and after they do.
    let other = |truth: &&ThreadTruth| {
        let apart = [classes, &["futex"]].concat();
        answer.thread(truth.tid).map_or(0, |thread| thread.blocked_ns.saturating_sub(thread.blocked_in(&apart)))
    };
    let other: u64 = waiters.iter().map(other).sum();
    let running: u64 = waiters.iter().map(|truth| truth.wall_ns - truth.blocked_ns()).sum();
    let by_calls = covered_ns(waiters.iter().copied()).saturating_sub(running);
    let longest = waiters.iter().map(|truth| truth.blocked_ns()).max().unwrap_or(0);
    let all_waits = by_calls.max(longest).saturating_sub(other);
    let least = all_waits.saturating_sub(seen.left_out_ns);

    let outside_calls: u64 = all.iter().map(|truth| truth.wall_ns.saturating_sub(truth.waited_ns)).sum();
    let blocked: u64 = all.iter().map(ThreadTruth::blocked_ns).sum();
    let own_account = blocked + ((blocked as f64 * OWN_ACCOUNT) as u64).max(seen.waits * WAKE_UP_NS);
    let by_all_calls = (covered_ns(all.iter()) + outside_calls).min(answer.window.duration_ns);
    let most = if own_account_is_whole() { by_all_calls.min(own_account) } else { by_all_calls };

    let off = |ns: u64| ((ns as f64 * SHARE) as u64).max(SLACK_NS);
    complaints.unless(seen.some_ns + off(least) >= least && seen.some_ns <= most + off(most), || {
        format!("{} ns on the clock, should lie between {least} and {most}: {seen:?}", seen.some_ns)
    });
    complaints.unless(seen.at_most_ns + off(all_waits) >= all_waits, || {
        format!("with all waits it is at least {all_waits} ns: {seen:?}")
    });
    complaints.unless(seen.at_most_ns <= answer.window.duration_ns, || format!("longer than the window: {seen:?}"));
    complaints.unless(seen.waits >= 20 && seen.some_ns > 10 * SLACK_NS, || format!("hardly any waits: {seen:?}"));
    complaints.unless(seen.some_ns <= seen.summed_ns, || format!("more on the clock than summed: {seen:?}"));
    let share = seen.some_ns as f64 / answer.window.duration_ns as f64;
    complaints.unless((seen.share_of_wall - share).abs() < 1e-6, || format!("its share should be {share}: {seen:?}"));
}

/// True if what a thread knows of its blocked time is nearly all of it. On an emulated machine whose host is busy it is
/// not: the scheduler counts the waking of an idle processor as the thread's time on it, and there a wake-up was
/// seen to take more than a millisecond. Then it is good for a lower bound only.
fn own_account_is_whole() -> bool {
    guest::stage().is_none()
}

fn nothing(complaints: &mut Complaints, what: &str, seen: SomeTime) {
    complaints.unless_equal(format!("waits for {what}"), seen.waits, 0);
    complaints.unless_equal(format!("time on the clock for {what}"), seen.some_ns, 0);
}

/// Time that at least one call of these threads covers.
fn covered_ns<'a>(threads: impl Iterator<Item = &'a ThreadTruth>) -> u64 {
    let mut calls: Vec<_> = threads.flat_map(|truth| truth.calls.iter().copied()).collect();
    calls.sort_unstable();
    let (mut covered, mut until) = (0, 0);
    for (begin, end) in calls {
        covered += end.saturating_sub(begin.max(until));
        until = until.max(end);
    }
    covered
}
