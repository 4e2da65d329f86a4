//! Waits end in the class of what they waited for.

use anyhow::Result;
use nfslat_workload::truth::{Cause, ThreadTruth};

use crate::{
    answer::Answer,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::SmallDisk,
    machine::Machine,
    nfslat::{Trace, trace_workload},
    workload::{Gated, read_truth},
};

/// Sleep, pipe, futex, poll, sockets, child, block read and fsync.
pub(super) const KNOWN_WAITS: Check = Check { name: "classes::known_waits", stage: Stage::Bare, run: known_waits };

/// A storm of memory mappings waits for the lock of the memory map.
pub(super) const MEMORY_LOCK: Check = Check { name: "classes::memory_lock", stage: Stage::Bare, run: memory_lock };

/// The control: appending to one file waits for another lock, and never for a memory lock.
pub(super) const INODE_LOCK: Check = Check { name: "classes::inode_lock", stage: Stage::Bare, run: inode_lock };

/// How much of the time that a thread knows it was blocked has to be in the right class. What it
/// waited for while it was born and ended is not known, and is not part of it.
const RIGHT: f64 = 0.99;

/// How much of it may be in no class.
const UNKNOWN: f64 = 0.01;

/// How far a thread's blocked time may be from what it knows by itself. That rests on schedstat,
/// which is off at each wake-up of an idle CPU, by up to 0.1 ms on an emulated machine.
pub(super) const OWN_ACCOUNT: f64 = 0.05;

/// The classes that a cause may appear as.
pub(super) fn classes_of(cause: Cause) -> &'static [&'static str] {
    match cause {
        Cause::Sleep => &["sleep"],
        Cause::Pipe => &["pipe"],
        Cause::Futex => &["futex"],
        Cause::Poll => &["poll"],
        Cause::Socket => &["net-receive", "unix-socket"],
        Cause::Child => &["child"],
        Cause::Storage => &["block"],
        Cause::File => &["journal", "block", "writeback"],
        Cause::MmapLock => &["mmap-lock", "vma-lock"],
        Cause::InodeLock => &["rwsem"],
        Cause::Memory => &["memcg-throttle", "reclaim", "swap-in"],
        Cause::Cpu | Cause::Several => &[],
    }
}

fn known_waits(machine: &Machine) -> Result<Outcome> {
    let folder = machine.folder_on_disk()?;
    let dir = folder.path().to_string_lossy();
    let together = ["sleep", "pipe", "futex", "poll", "epoll", "socket-tcp", "socket-unix", "block-read", "fsync"];
    // Alone: each fork holds the lock of the memory map, and would make the others wait for that.
    let alone = ["child"];
    for kinds in [&together[..], &alone] {
        let (answer, truth) = traced(machine, &[kinds, &["--duration", "4", "--pin", "--dir", &dir]].concat())?;
        let mut complaints = Complaints::default();
        for truth in &truth {
            in_right_class(&mut complaints, &answer, truth, classes_of(truth.cause));
            as_long_as_it_knows(&mut complaints, &answer, truth);
        }
        let outcome = complaints.settle_for(&answer)?;
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed)
}

fn memory_lock(machine: &Machine) -> Result<Outcome> {
    let (answer, truth) = traced(machine, &["mmap-storm", "--duration", "4"])?;
    let mut complaints = Complaints::default();
    for truth in truth.iter().filter(|truth| truth.cause == Cause::MmapLock) {
        in_right_class(&mut complaints, &answer, truth, classes_of(truth.cause));
    }
    if !answer.locks.is_empty() {
        by_memory_map(&mut complaints, &answer, truth[0].pid);
    }
    complaints.settle_for(&answer)
}

/// Complains unless the waits for a process's mmap_lock are the same by who waited and by whose memory map it is.
fn by_memory_map(complaints: &mut Complaints, answer: &Answer, pid: u32) {
    let Some(map) = answer.memory_maps.iter().find(|map| map.pid == pid) else {
        complaints.unless(false, || format!("the memory map of {pid} is not in {:?}", answer.memory_maps));
        return;
    };
    complaints.unless(map.comm == "nfslat-workload", || format!("the process is called {:?}", map.comm));
    let waits = answer.waits.iter().filter(|wait| wait.pid == pid && wait.class == "mmap-lock");
    let waited: u64 = waits.map(|wait| wait.total_ns).sum();
    // Without waits that were open when the window opened: the kernel had said nothing of their lock.
    complaints.unless_near("waits by memory map", map.total_ns, waited, 0.01, 0);
    complaints.unless_near("waits in its histogram", map.histogram_count, map.count, 0.01, 0);
}

fn inode_lock(machine: &Machine) -> Result<Outcome> {
    // In memory: nothing else to wait for than the lock.
    let disk = SmallDisk::of_size(64 << 20)?;
    let dir = disk.path().to_string_lossy();
    // Traced from after the threads' birth until before their end, which take the memory lock.
    let mut workload = Gated::start(machine, &["append", "--duration", "4", "--dir", &dir])?;
    let trace = Trace::start(machine, ["-p", &workload.pid().to_string(), "--duration", "120"])?;
    let truth = workload.work()?;
    let answer = trace.stop()?;
    workload.end()?;

    let mut complaints = Complaints::default();
    for truth in &truth.threads {
        in_right_class(&mut complaints, &answer, truth, classes_of(truth.cause));
        let memory_lock = answer.thread(truth.tid).map(|thread| thread.blocked_in(classes_of(Cause::MmapLock)));
        complaints.unless(memory_lock == Some(0), || format!("{}: memory lock {memory_lock:?}", truth.comm));
    }
    complaints.settle_for(&answer)
}

pub(super) fn traced(machine: &Machine, workload: &[&str]) -> Result<(Answer, Vec<ThreadTruth>)> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("truth.json");
    let path = output.to_string_lossy();
    let (answer, _) = trace_workload(machine, &[], &[workload, &["--output", &path]].concat())?;
    Ok((answer, read_truth(&output)?.threads))
}

/// Complains unless a thread was blocked for as long as it knows by itself. Its birth and its end
/// lie outside its own account, and it may have been blocked for all of that.
fn as_long_as_it_knows(complaints: &mut Complaints, answer: &Answer, truth: &ThreadTruth) {
    let Some(thread) = answer.thread(truth.tid) else { return };
    let known = truth.blocked_ns();
    let slack = (known as f64 * OWN_ACCOUNT) as u64;
    let around = thread.window_ns.saturating_sub(truth.wall_ns);
    complaints.unless((known - slack..=known + around + slack).contains(&thread.blocked_ns), || {
        format!("{}: {} ns blocked, it knows of {known}, and of nothing in {around}", truth.comm, thread.blocked_ns)
    });
}

/// Complains if too little of the time that a thread knows it was blocked is in `classes`.
pub(super) fn in_right_class(complaints: &mut Complaints, answer: &Answer, truth: &ThreadTruth, classes: &[&str]) {
    let Some(thread) = answer.thread(truth.tid) else {
        complaints.unless(false, || format!("{} is missing from the answer", truth.comm));
        return;
    };
    let (right, known) = (thread.blocked_in(classes), truth.blocked_ns());
    // How much it was blocked in all is compared elsewhere: the thread's own figure is the scheduler's, and
    // off by a little at each wake-up.
    let all = known.min(thread.blocked_ns);
    complaints.unless(right as f64 >= RIGHT * all as f64 && all > 0, || {
        format!("{}: {right} of {all} ns blocked are in {classes:?}; {:?}", truth.comm, thread.classes)
    });
    let unknown = thread.blocked_in(&["unknown", "no-stack", "unattributed"]);
    complaints.unless(unknown as f64 <= UNKNOWN * thread.blocked_ns as f64, || {
        format!("{}: {unknown} of {} ns are not known; {:?}", truth.comm, thread.blocked_ns, thread.classes)
    });
}
