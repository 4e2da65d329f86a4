//! Waits for files on NFS end in the classes of NFS.

use std::path::Path;

use anyhow::Result;

use crate::{
    check::{Check, Outcome, Stage},
    checks::classes::in_right_class,
    complaints::Complaints,
    guards::NfsMount,
    machine::Machine,
    nfslat::trace_workload,
    workload::read_truth,
};

/// With NFS version 3.
pub(super) const VERSION_3: Check =
    Check { name: "classes::nfs_waits_v3", stage: Stage::WithNfs, run: |machine| waits(machine, "3") };

/// With version 4.2.
pub(super) const VERSION_4_2: Check =
    Check { name: "classes::nfs_waits_v4.2", stage: Stage::WithNfs, run: |machine| waits(machine, "4.2") };

/// What waits on a mount may be called. Locks are waited for as well, and told by the kernel: one inside the
/// file system (seen: 1.5% of a reader's time on 6.12), and that of the memory map, which the threads share
/// (seen: 1.1% on 5.10, at their birth and with files being mapped).
const CLASSES: [&str; 9] =
    ["nfs-rpc", "nfs-direct", "nfs-page", "nfs-commit", "nfs-delay", "nfs-recovery", "nfs-other", "rwsem", "mmap-lock"];

fn waits(machine: &Machine, version: &str) -> Result<Outcome> {
    let mount = NfsMount::of_version(version)?;
    let mut complaints = Complaints::default();
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("truth.json");
    let output = output.to_string_lossy();
    let kinds = ["nfs-read", "nfs-direct", "nfs-meta", "fsync", "mmap-fault"];
    let options = ["--duration", "4", "--dir", mount.path(), "--output", &output];
    let (answer, _) = trace_workload(machine, &[], &[&kinds[..], &options[..]].concat())?;
    for truth in &read_truth(Path::new(&*output))?.threads {
        in_right_class(&mut complaints, &answer, truth, &CLASSES);
    }
    complaints.settle()
}
