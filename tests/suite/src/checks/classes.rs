//! Waits end in the class of what they waited for.

use anyhow::Result;
use nfslat_workload::truth::{Cause, ThreadTruth};

use crate::{
    answer::Answer,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::SmallDisk,
    machine::Machine,
    nfslat::trace_workload,
    workload::read_truth,
};

/// Sleep, pipe, futex, poll, sockets, child, block read and fsync.
pub(super) const KNOWN_WAITS: Check = Check { name: "classes::known_waits", stage: Stage::Bare, run: known_waits };

/// A storm of memory mappings waits for the lock of the memory map.
pub(super) const MEMORY_LOCK: Check = Check { name: "classes::memory_lock", stage: Stage::Bare, run: memory_lock };

/// The control: appending to one file waits for another lock, and never for a memory lock.
pub(super) const INODE_LOCK: Check = Check { name: "classes::inode_lock", stage: Stage::Bare, run: inode_lock };

/// How much of a thread's blocked time has to be in the right class.
const RIGHT: f64 = 0.95;

/// The classes that a cause may appear as.
fn classes_of(cause: Cause) -> &'static [&'static str] {
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
        Cause::Cpu | Cause::Several => &[],
    }
}

fn known_waits(machine: &Machine) -> Result<Outcome> {
    let folder = machine.folder_on_disk()?;
    let dir = folder.path().to_string_lossy();
    let kinds =
        ["sleep", "pipe", "futex", "poll", "epoll", "socket-tcp", "socket-unix", "child", "block-read", "fsync"];
    let (answer, truth) = traced(machine, &[&kinds[..], &["--duration", "4", "--dir", &dir]].concat())?;
    let mut complaints = Complaints::default();
    for truth in &truth {
        let blocked = in_right_class(&mut complaints, &answer, truth, classes_of(truth.cause));
        // The thread's birth and end lie outside its own account.
        complaints.unless_near(format!("{} blocked", truth.comm), blocked, truth.blocked_ns(), 0.02, 20_000_000);
    }
    complaints.settle()
}

fn memory_lock(machine: &Machine) -> Result<Outcome> {
    let (answer, truth) = traced(machine, &["mmap-storm", "--duration", "4"])?;
    let mut complaints = Complaints::default();
    for truth in truth.iter().filter(|truth| truth.cause == Cause::MmapLock) {
        in_right_class(&mut complaints, &answer, truth, classes_of(truth.cause));
    }
    complaints.settle()
}

fn inode_lock(machine: &Machine) -> Result<Outcome> {
    // In memory: nothing else to wait for than the lock.
    let disk = SmallDisk::of_size(64 << 20)?;
    let dir = disk.path().to_string_lossy();
    let (answer, truth) = traced(machine, &["append", "--duration", "4", "--dir", &dir])?;
    let mut complaints = Complaints::default();
    for truth in &truth {
        in_right_class(&mut complaints, &answer, truth, classes_of(truth.cause));
        let memory_lock = answer.thread(truth.tid).map(|thread| thread.blocked_in(classes_of(Cause::MmapLock)));
        complaints.unless(memory_lock == Some(0), || format!("{}: memory lock {memory_lock:?}", truth.comm));
    }
    complaints.settle()
}

fn traced(machine: &Machine, workload: &[&str]) -> Result<(Answer, Vec<ThreadTruth>)> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("truth.json");
    let path = output.to_string_lossy();
    let (answer, _) = trace_workload(machine, &[], &[workload, &["--output", &path]].concat())?;
    Ok((answer, read_truth(&output)?.threads))
}

/// Complains if too little of a thread's blocked time is in `classes`; returns its blocked time.
pub(super) fn in_right_class(
    complaints: &mut Complaints,
    answer: &Answer,
    truth: &ThreadTruth,
    classes: &[&str],
) -> u64 {
    let Some(thread) = answer.thread(truth.tid) else {
        complaints.unless(false, || format!("{} is missing from the answer", truth.comm));
        return 0;
    };
    let right = thread.blocked_in(classes);
    complaints.unless(right as f64 >= RIGHT * thread.blocked_ns as f64 && thread.blocked_ns > 0, || {
        format!("{}: {right} of {} ns blocked in {classes:?}; {:?}", truth.comm, thread.blocked_ns, thread.classes)
    });
    thread.blocked_ns
}
