//! Waits for files on NFS end in the classes of NFS.

use anyhow::Result;

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

/// So many of the threads have to be blocked for the check to say anything.
const MOST: usize = 3;

fn waits(machine: &Machine, version: &str) -> Result<Outcome> {
    let mount = NfsMount::of_version(version)?;
    let kinds = ["nfs-read", "nfs-direct", "nfs-meta", "fsync", "mmap-fault"];
    // Together they would wait for each other's locks as well.
    let (answer, truth) =
        traced(machine, &[&kinds[..], &["--in-turn", "--duration", "2", "--dir", mount.path()]].concat())?;
    // On one processor a reader may never be blocked: each thread that works for it goes before it, and what it asked for is
    // there when it has its turn again (seen: 0.7 ms of waits in 2 s of reading).
    let blocked: Vec<_> = truth.iter().filter(|truth| truth.blocked_ns() >= truth.wall_ns / 100).collect();
    let mut complaints = Complaints::default();
    complaints
        .unless(blocked.len() >= MOST, || format!("only {} of {} threads were blocked", blocked.len(), truth.len()));
    for truth in blocked {
        in_right_class(&mut complaints, &answer, truth, &CLASSES);
    }
    complaints.settle_for(&answer)
}
