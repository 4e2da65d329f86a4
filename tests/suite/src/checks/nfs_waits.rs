//! Waits for files on NFS end in the classes of NFS.

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

/// What waits on a mount may be called.
const CLASSES: [&str; 7] =
    ["nfs-rpc", "nfs-direct", "nfs-page", "nfs-commit", "nfs-delay", "nfs-recovery", "nfs-other"];

fn waits(machine: &Machine, version: &str) -> Result<Outcome> {
    let mount = NfsMount::of_version(version)?;
    let mut complaints = Complaints::default();
    // One after the other: together they would wait for each other's locks as well.
    for kind in ["nfs-read", "nfs-direct", "nfs-meta", "fsync", "mmap-fault"] {
        let folder = tempfile::tempdir()?;
        let output = folder.path().join("truth.json");
        let workload = [kind, "--duration", "2", "--dir", mount.path(), "--output", &output.to_string_lossy()];
        let (answer, _) = trace_workload(machine, &[], &workload)?;
        for truth in &read_truth(&output)?.threads {
            in_right_class(&mut complaints, &answer, truth, &CLASSES);
        }
    }
    complaints.settle()
}
