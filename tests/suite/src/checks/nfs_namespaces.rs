//! Mounts that are not in the tool's own mount namespace, as those of containers.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat::Trace,
    process::{PATIENCE, Process},
};

/// A container's mount is found, and named as the container's.
pub(super) const ELSEWHERE: Check = Check { name: "nfs::mount_of_a_container", stage: Stage::WithNfs, run: elsewhere };

/// Mounts, says so, waits for a line, works.
const SCRIPT: &str = "mount -t nfs -o vers=4.2,proto=tcp 127.0.0.1:/ \"$1\" && echo ready >&2 && cat && \
                      exec \"$2\" nfs-meta --count 2 --dir \"$1\"";

fn elsewhere(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("the folder's name is no text")?;
    // A namespace of its own, from which nothing comes back here.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", path]).arg(&machine.workload);
    let mut container = Process::start(&mut command)?;
    container.wait_for("ready")?;
    let pid = container.pid();
    let trace = Trace::start(machine, ["--duration", "120"])?;
    drop(container.stdin()?);
    let finished = container.finish(2 * PATIENCE)?;
    ensure!(finished.code() == Some(0), "the container ended with {}: {}", finished.status, finished.stderr);
    let answer = trace.stop()?;

    let mut complaints = Complaints::default();
    let name = format!("{path} (mount namespace of pid {pid})");
    let made = answer.rpc.iter().filter(|rpc| rpc.mount.as_deref() == Some(&name) && rpc.op == "OPEN");
    let calls: u64 = made.map(|rpc| rpc.count).sum();
    complaints.unless(calls > 0, || {
        let mounts: Vec<_> = answer.rpc.iter().map(|rpc| (&rpc.mount, &rpc.op)).collect();
        format!("no file was made on {name}: {mounts:?}")
    });
    let layers: Vec<_> = answer.layers.iter().map(|row| &row.mounts).collect();
    complaints.unless(layers.contains(&&vec![name.clone()]), || format!("no verdict on {name}: {layers:?}"));
    complaints.settle_for(&answer)
}
