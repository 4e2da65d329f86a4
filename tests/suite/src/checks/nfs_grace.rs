//! A server that was started again, and waits for its clients to say what they had open.

use std::{
    fs::{self, File},
    path::Path,
    process,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::NfsMount,
    machine::{self, Machine},
    nfslat::Trace,
    server,
};

/// Who opens a file in the meantime waits, with hardly a call; that is named, and how long it took.
pub(super) const GRACE: Check = Check { name: "layers::grace_period", stage: Stage::DeadServer, run: grace };

/// So long the lab's server waits.
const GRACE_TIME: Duration = Duration::from_secs(10);

fn grace(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::of_version("4.2")?;
    fs::write(Path::new(mount.path()).join("before"), "1").context("making a file")?;
    let trace = Trace::start(machine, ["--duration", "280", "--file-ops"])?;
    // It would tell the server which clients there were, and that all are back.
    server::kill_client_tracking()?;
    server::set_threads(0)?;
    server::set_threads(8)?;
    let begun = Instant::now();
    let opened = File::create(Path::new(mount.path()).join("after"));
    let took = begun.elapsed();
    let answer = trace.stop()?;
    opened.context("making a file after the server came back")?;
    ensure!(took >= GRACE_TIME / 2, "the server let the client in after {took:?}");

    let mut complaints = Complaints::default();
    let row = answer.layers.iter().find(|row| row.mounts == [mount.path()]);
    let verdict = row.map(|row| row.verdict.as_str());
    complaints.unless(verdict == Some("put-off"), || format!("the verdict is {verdict:?}: {row:?}"));
    let said = answer.findings.iter().any(|found| found.id == "nfs-layer" && found.claim.contains(mount.path()));
    complaints.unless(said, || format!("no finding is about it: {:?}", answer.findings));
    if machine::kernel_is_at_least(6, 0)? {
        let rows = answer.file_ops.iter().filter(|row| row.mounts == [mount.path()]);
        let own = rows.flat_map(|row| &row.processes).filter(|own| own.pid == process::id());
        let inside_ns: u64 = own.map(|own| own.sums.total_ns).sum();
        complaints.unless_near("making the file", inside_ns, u64::try_from(took.as_nanos())?, 0.02, 5_000_000);
    }
    complaints.settle_for(&answer)
}
