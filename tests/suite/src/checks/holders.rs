//! Who held a lock that others waited for.

use anyhow::{Context, Result};
use nfslat_workload::truth::{Cause, ThreadTruth};

use crate::{
    answer::Lock,
    check::{Check, Outcome, Stage},
    checks::classes::traced,
    complaints::Complaints,
    guards::{NfsMount, SlowLoopback},
    machine::{self, Machine},
};

/// The one thread that holds a memory lock for writing is named, and the call it does so in.
pub(super) const KNOWN_HOLDER: Check = Check { name: "holders::known_holder", stage: Stage::Bare, run: known_holder };

/// Whoever reads from another process's memory waits for that process's lock.
pub(super) const OTHER_MM: Check = Check { name: "holders::other_process", stage: Stage::Bare, run: other_process };

/// A lock whose holder waits for NFS is a storage stall.
pub(super) const BEHIND_NFS: Check = Check { name: "holders::behind_nfs", stage: Stage::WithNfs, run: behind_nfs };

/// How many of the waits behind a writer have to name it.
const NAMED: f64 = 0.95;

/// How much of its rests a thread is known to have slept.
const RESTED: f64 = 0.95;

/// Kernels before 5.15 do not show programs the registers of a thread, and so not the call that it is in.
fn calls_are_known() -> Result<bool> {
    machine::kernel_is_at_least(5, 15)
}

fn known_holder(machine: &Machine) -> Result<Outcome> {
    let (answer, truth) = traced(machine, &["mmap-holder", "--duration", "4"])?;
    let holder = one(&truth, Cause::Several)?;
    let mut complaints = Complaints::default();
    // Only it asks to write, but for the mappings at the birth and the end of threads.
    let reads: Vec<_> = answer.locks.iter().filter(|lock| lock.call == "mincore").collect();
    // Where no call is known those are in it too.
    let call = if calls_are_known()? { "mprotect" } else { "" };
    let written = |lock: &&&Lock| lock.holder_kind == "writer" && lock.holder_call == call;
    let behind: u64 = reads.iter().filter(written).map(|lock| lock.count).sum();
    let named: u64 = reads.iter().filter(written).filter(|lock| lock.holder_tid == holder.tid).map(|l| l.count).sum();
    let unsure: u64 = reads.iter().filter(|lock| lock.holder_kind == "unknown").map(|lock| lock.count).sum();
    complaints.unless(behind >= 20, || format!("only {behind} waits stood behind a writer: {:?}", answer.locks));
    complaints.unless(named as f64 >= NAMED * (behind + unsure) as f64, || {
        format!(
            "of {behind} waits behind a writer and {unsure} behind nobody known, {named} name thread {}",
            holder.tid
        )
    });
    for lock in answer.locks.iter().filter(|lock| lock.class == "mmap-lock") {
        complaints.unless(lock.mm_pid == Some(holder.pid), || format!("another's memory lock: {lock:?}"));
        complaints.unless(lock.holder_kind == "writer" || lock.holder_call.is_empty(), || format!("{lock:?}"));
    }
    complaints.settle_for(&answer)
}

fn other_process(machine: &Machine) -> Result<Outcome> {
    let (answer, truth) = traced(machine, &["proc-reader", "--duration", "4"])?;
    let reader = one(&truth, Cause::MmapLock)?;
    let mut complaints = Complaints::default();
    let (mut right, mut all) = (0, 0);
    for lock in answer.locks.iter().filter(|lock| lock.pid == reader.pid && lock.call == "read of /proc") {
        let of_holder = lock.mm_pid.is_some_and(|pid| pid != reader.pid)
            && (lock.holder_pid == 0 || Some(lock.holder_pid) == lock.mm_pid);
        all += lock.total_ns;
        right += if lock.class == "mmap-lock" && of_holder { lock.total_ns } else { 0 };
    }
    complaints.unless(all > 10_000_000, || format!("the reader waited {all} ns: {:?}", answer.locks));
    complaints.unless(right as f64 >= NAMED * all as f64, || {
        format!("{right} of {all} ns are for the child's memory lock: {:?}", answer.locks)
    });
    complaints.settle_for(&answer)
}

fn behind_nfs(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::without_cached_attributes()?;
    let _far = SlowLoopback::by("10ms")?;
    let (answer, truth) = traced(machine, &["nfs-mmap", "--duration", "4", "--dir", mount.path()])?;
    let mapper = one(&truth, Cause::Several)?;
    let mut complaints = Complaints::default();
    let behind = answer.locks.iter().filter(|lock| lock.holder_kind == "writer" && lock.holder_tid == mapper.tid);
    let by_nfs: u64 =
        behind.filter(|lock| lock.holder_class.as_deref() == Some("nfs-rpc")).map(|lock| lock.holder_blocked_ns).sum();
    let all: u64 = answer.locks.iter().filter(|lock| lock.call == "mincore").map(|lock| lock.total_ns).sum();
    complaints.unless(by_nfs as f64 > 0.5 * all as f64, || {
        format!("{by_nfs} of {all} ns stood behind NFS: {:?}", answer.locks)
    });
    // The others rest after each turn: what follows a wait for the lock is not one.
    for asker in truth.iter().filter(|truth| truth.cause == Cause::MmapLock) {
        let slept = answer.thread(asker.tid).map_or(0, |thread| thread.blocked_in(&["sleep"]));
        complaints.unless(slept as f64 > RESTED * (asker.count * 1_000_000) as f64, || {
            format!("{} rested {} times for 1 ms, but slept for {slept} ns", asker.comm, asker.count)
        });
    }
    let finding = answer.findings.iter().find(|finding| finding.id == "stall-lock-behind-storage");
    complaints.unless(finding.is_some_and(|finding| finding.claim.contains("NFS")), || {
        format!("no finding says so: {:?}", answer.findings)
    });
    complaints.settle_for(&answer)
}

fn one(truth: &[ThreadTruth], cause: Cause) -> Result<&ThreadTruth> {
    truth.iter().find(|truth| truth.cause == cause).with_context(|| format!("no thread of cause {cause:?}"))
}
