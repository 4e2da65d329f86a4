//! Waits for files on NFS end in the classes of NFS.

use anyhow::Result;
use nfslat_workload::truth::ThreadTruth;

use crate::{
    check::{Check, Outcome, Stage},
    checks::classes::{in_right_class, traced},
    complaints::Complaints,
    guards::NfsMount,
    machine::Machine,
};

/// With NFS version 3.
pub(super) const VERSION_3: Check =
    Check { name: "classes::nfs_waits_v3", stage: Stage::WithNfs, run: |machine| waits(machine, "3") };

/// With version 4.2.
pub(super) const VERSION_4_2: Check =
    Check { name: "classes::nfs_waits_v4.2", stage: Stage::WithNfs, run: |machine| waits(machine, "4.2") };

/// What waits on a mount may be called.
const CLASSES: [&str; 7] =
    ["nfs-rpc", "nfs-direct", "nfs-page", "nfs-commit", "nfs-delay", "nfs-recovery", "nfs-other"];

/// So many of the threads have to be blocked for the check to say anything, each for this share of its time.
const ENOUGH: usize = 3;
const BLOCKED: f64 = 0.01;

/// What more the tool may say of a thread that knows of less: its birth and its end are not in its own account.
const AROUND: f64 = 0.01;

fn waits(machine: &Machine, version: &str) -> Result<Outcome> {
    let mount = NfsMount::of_version(version)?;
    let kinds = ["nfs-read", "nfs-direct", "nfs-meta", "fsync", "mmap-fault"];
    // Together they would wait for each other's locks as well.
    let (answer, truth) =
        traced(machine, &[&kinds[..], &["--in-turn", "--duration", "2", "--dir", mount.path()]].concat())?;
    // On one processor a reader may never be blocked: each thread that works for it goes before it, and what it asked for is
    // there when it has its turn again (seen: 0.7 ms of waits in 2 s of reading). Then there is nothing to class, and the
    // tool must not have seen any more of it than the thread did.
    let is_blocked = |truth: &ThreadTruth| truth.blocked_ns() as f64 >= BLOCKED * truth.wall_ns as f64;
    let (blocked, awake): (Vec<_>, Vec<_>) = truth.iter().partition(|truth| is_blocked(truth));
    let mut complaints = Complaints::default();
    complaints
        .unless(blocked.len() >= ENOUGH, || format!("only {} of {} threads were blocked", blocked.len(), truth.len()));
    for truth in blocked {
        in_right_class(&mut complaints, &answer, truth, &CLASSES);
    }
    for truth in awake {
        complaints.unless(truth.count > 0, || format!("{} made no call", truth.comm));
        let seen_ns = answer.thread(truth.tid).map_or(u64::MAX, |thread| thread.blocked_ns);
        let most_ns = (BLOCKED + AROUND) * truth.wall_ns as f64;
        complaints.unless(seen_ns as f64 <= most_ns, || {
            format!("{} knows of {} ns blocked, and {seen_ns} are said", truth.comm, truth.blocked_ns())
        });
    }
    complaints.settle_for(&answer)
}
