//! A server that was started again, and waits for its clients to say what they had open.

use std::{
    fs::{self, File},
    path::Path,
    process::{self, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::{self, Machine},
    nfslat::Trace,
    server,
};

/// Who opens a file in the meantime waits, with hardly a call; that is named, and how long it took.
pub(super) const GRACE: Check = Check { name: "layers::grace_period", stage: Stage::TwoClients, run: grace };

/// The client that works, and the one that does not come back to the server: so it waits for it to the end.
const WORKS: &str = "/mnt/a";
const AWAY: &str = "/mnt/b";
const NAMESPACE_AWAY: &str = "b";

/// The shortest time that a server may be told to wait (`fs/nfsd/nfsctl.c`, `__nfsd4_write_time`).
const GRACE_S: u64 = 10;

fn grace(machine: &Machine) -> Result<Outcome> {
    // Both have something open, which the server notes.
    let held = File::create(Path::new(AWAY).join("held")).context("making a file by the other client")?;
    let ready = Path::new(WORKS).join("ready");
    fs::write(&ready, "1").context("making a file")?;
    let trace = Trace::start(machine, ["--duration", "280", "--file-ops"])?;
    let away = LinkDown::of(NAMESPACE_AWAY)?;
    restart_server()?;
    let begun = Instant::now();
    let opened = File::create(Path::new(WORKS).join("new"));
    let took = begun.elapsed();
    let answer = trace.stop()?;
    drop(away);
    drop(held);
    opened.context("making a file after the server came back")?;

    let mut complaints = Complaints::default();
    let waited = took >= Duration::from_secs(GRACE_S) / 2;
    complaints.unless(waited, || format!("the server let the client in after {took:?}"));
    let row = answer.layers.iter().find(|row| row.mounts == [WORKS]);
    let verdict = row.map(|row| row.verdict.as_str());
    complaints.unless(verdict == Some("put-off"), || format!("the verdict is {verdict:?}: {row:?}"));
    let said = answer.findings.iter().any(|finding| finding.id == "nfs-layer" && finding.claim.contains(WORKS));
    complaints.unless(said, || format!("no finding is about it: {:?}", answer.findings));
    if machine::kernel_is_at_least(5, 11)? {
        let own = answer.file_ops.iter().filter(|row| row.mounts == [WORKS]);
        let own = own.flat_map(|row| &row.processes).filter(|own| own.pid == process::id());
        let inside: u64 = own.map(|own| own.sums.total_ns).sum();
        let took_ns = u64::try_from(took.as_nanos())?;
        complaints.unless_near("making the file", inside, took_ns, 0.02, 5_000_000);
    }
    complaints.settle_for(&answer)
}

/// The machine's NFS server ends and comes back, with the shortest time of grace.
fn restart_server() -> Result<()> {
    server::set_threads(0)?;
    for file in ["nfsv4leasetime", "nfsv4gracetime"] {
        let path = Path::new("/proc/fs/nfsd").join(file);
        fs::write(&path, GRACE_S.to_string()).with_context(|| format!("writing {}", path.display()))?;
    }
    server::set_threads(8)
}

/// The network of a client, cut until this is dropped.
struct LinkDown(&'static str);

impl LinkDown {
    fn of(namespace: &'static str) -> Result<Self> {
        set_link(namespace, "down")?;
        Ok(Self(namespace))
    }
}

impl Drop for LinkDown {
    fn drop(&mut self) {
        if let Err(error) = set_link(self.0, "up") {
            eprintln!("a client stays cut off: {error:#}");
        }
    }
}

fn set_link(namespace: &str, state: &str) -> Result<()> {
    let status = Command::new("ip").args(["-n", namespace, "link", "set", "eth0", state]).status()?;
    ensure!(status.success(), "setting the link of {namespace} {state}: {status}");
    Ok(())
}
