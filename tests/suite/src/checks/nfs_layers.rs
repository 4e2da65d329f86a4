//! Which layer held up NFS calls: causes made one at a time. Each has to be named, and none where there is none.
//!
//! Each check mounts for itself: TCP remembers the shortest round trip of a connection.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    answer::{Answer, Layers},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{NfsMount, Parameter, SlowLoopback},
    machine::{self, Machine},
    nfslat::Trace,
    process::{PATIENCE, Process},
    starve::{Squeezed, Starved},
};

/// Nothing is slow, and nothing is said to be.
pub(super) const HEALTHY: Check = Check { name: "layers::healthy", stage: Stage::WithNfs, run: healthy };

/// A long way to the server.
pub(super) const PATH: Check = Check { name: "layers::network_path", stage: Stage::WithNfs, run: path };

/// Packets that get lost.
pub(super) const LOSS: Check = Check { name: "layers::loss", stage: Stage::WithNfs, run: loss };

/// A server with a slow disk.
pub(super) const DISK: Check = Check { name: "layers::server_disk", stage: Stage::WithNfs, run: disk };

/// A server without CPU.
pub(super) const CPU: Check = Check { name: "layers::server_cpu", stage: Stage::WithNfs, run: cpu };

/// A session with few slots.
pub(super) const SESSION: Check = Check { name: "layers::session_slots", stage: Stage::WithNfs, run: session };

/// A transport with few slots.
pub(super) const SLOTS: Check = Check { name: "layers::transport_slots", stage: Stage::WithNfs, run: slots };

/// One slow connection of four.
pub(super) const FLOW: Check = Check { name: "layers::one_connection", stage: Stage::WithNfs, run: flow };

/// What a program does.
const WORK: &[&str] = &["nfs-meta", "--duration", "4"];

/// As many programs at once as queue for two slots.
const CROWD: usize = 8;

fn healthy(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    for version in ["3", "4.2"] {
        let mount = new_mount(version)?;
        let (_, row) = traced(machine, &mount, WORK, 1)?;
        expect(&mut complaints, &row, "healthy");
        adds_up(&mut complaints, &row);
    }
    complaints.settle()
}

fn path(machine: &Machine) -> Result<Outcome> {
    let _slow = SlowLoopback::by("10ms")?;
    let mount = new_mount("4.2")?;
    let (answer, row) = traced(machine, &mount, WORK, 1)?;
    let mut complaints = Complaints::default();
    expect(&mut complaints, &row, "network-path");
    // Both ways.
    let least_ns = row.tcp_min_rtt_ns.unwrap_or(0);
    complaints.unless(least_ns >= 20_000_000, || format!("TCP's shortest round trip is {least_ns} ns"));
    says(&mut complaints, &answer, "network path");
    adds_up(&mut complaints, &row);
    complaints.settle()
}

fn loss(machine: &Machine) -> Result<Outcome> {
    let mount = new_mount("3")?;
    let _lossy = SlowLoopback::losing("10%")?;
    let (answer, row) = traced(machine, &mount, WORK, 1)?;
    let mut complaints = Complaints::default();
    expect(&mut complaints, &row, "loss");
    says(&mut complaints, &answer, "lost");
    complaints.settle()
}

fn disk(machine: &Machine) -> Result<Outcome> {
    NfsMount::wait_for_none()?;
    let mount = NfsMount::of_export("/slow", "")?;
    let (answer, row) = traced(machine, &mount, WORK, 1)?;
    let mut complaints = Complaints::default();
    expect(&mut complaints, &row, "server");
    // What changes the folder waits for the disk, what looks at it does not.
    let named = |op: &str| row.operations.iter().any(|operation| operation == op);
    complaints.unless(named("CREATE") && named("REMOVE"), || format!("slow are {:?}", row.operations));
    complaints.unless(!named("LOOKUP") && !named("GETATTR"), || format!("slow are {:?}", row.operations));
    says(&mut complaints, &answer, "CREATE");
    complaints.settle()
}

fn cpu(machine: &Machine) -> Result<Outcome> {
    let mount = new_mount("4.2")?;
    let starved = Starved::threads_of("nfsd")?;
    let (_, row) = traced(machine, &mount, WORK, 1)?;
    drop(starved);
    let mut complaints = Complaints::default();
    // Where not one call was fast, the path may have become longer for all that can be known from here.
    let verdict = row.verdict.as_str();
    complaints
        .unless(["server", "network-or-server"].contains(&verdict), || format!("it should be the server: {row:?}"));
    complaints.settle()
}

fn session(machine: &Machine) -> Result<Outcome> {
    let _few = Parameter::set("nfs", "max_session_slots", "2")?;
    let mount = new_mount("4.2")?;
    // Since 6.14 the server hands out more slots to a session that uses all it has, if there is memory.
    let _squeezed = machine::kernel_is_at_least(6, 14)?.then(Squeezed::kernel);
    crowded(machine, &mount, "session-slot")
}

fn slots(machine: &Machine) -> Result<Outcome> {
    let _few = [
        Parameter::set("sunrpc", "tcp_slot_table_entries", "2")?,
        Parameter::set("sunrpc", "tcp_max_slot_table_entries", "2")?,
    ];
    let mount = new_mount("3")?;
    crowded(machine, &mount, "xprt-slot")
}

fn crowded(machine: &Machine, mount: &NfsMount, queue: &str) -> Result<Outcome> {
    let (answer, row) = traced(machine, mount, WORK, CROWD)?;
    let mut complaints = Complaints::default();
    expect(&mut complaints, &row, "client-queue");
    complaints
        .unless(row.queue.as_deref() == Some(queue), || format!("the queue is {:?}, should be {queue}", row.queue));
    says(&mut complaints, &answer, "slot");
    adds_up(&mut complaints, &row);
    complaints.settle()
}

fn flow(machine: &Machine) -> Result<Outcome> {
    NfsMount::wait_for_none()?;
    let mount = NfsMount::of_export("/export", ",nconnect=4")?;
    let port = first_port(mount.path())?;
    let _slow = SlowLoopback::from_port(port, "40ms")?;
    let (answer, row) = traced(machine, &mount, WORK, 1)?;
    let mut complaints = Complaints::default();
    if machine::kernel_is_at_least(5, 18)? {
        expect(&mut complaints, &row, "one-transport");
        says(&mut complaints, &answer, &format!("port {port}"));
    } else {
        // Calls do not tell over which transport they went, and three of four are fast.
        expect(&mut complaints, &row, "healthy");
    }
    complaints.settle()
}

/// Port on this side of a mount's first transport.
fn first_port(mount: &str) -> Result<u16> {
    let statistics = fs::read_to_string("/proc/self/mountstats").context("reading /proc/self/mountstats")?;
    let mut lines = statistics.lines().skip_while(|line| !line.contains(&format!(" mounted on {mount} ")));
    let transport = lines.find_map(|line| line.trim().strip_prefix("xprt:")).context("the mount has no transport")?;
    // xprt: tcp PORT ...
    let port = transport.split_whitespace().nth(1).and_then(|port| port.parse().ok());
    port.with_context(|| format!("no port in {transport:?}"))
}

/// A mount with a connection of its own.
fn new_mount(version: &str) -> Result<NfsMount> {
    NfsMount::wait_for_none()?;
    NfsMount::of_version(version)
}

/// Traces programs that work on a mount, and takes the row about it.
fn traced(machine: &Machine, mount: &NfsMount, work: &[&str], programs: usize) -> Result<(Answer, Layers)> {
    let folders: Vec<PathBuf> =
        (0..programs).map(|number| Path::new(mount.path()).join(format!("program-{number}"))).collect();
    for folder in &folders {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let trace = Trace::start(machine, ["--duration", "120"])?;
    let start = |folder: &PathBuf| Process::start(Command::new(&machine.workload).args(work).arg("--dir").arg(folder));
    let programs = folders.iter().map(start).collect::<Result<Vec<_>>>()?;
    for program in programs {
        let finished = program.finish(2 * PATIENCE)?;
        ensure!(finished.code() == Some(0), "the workload ended with {}: {}", finished.status, finished.stderr);
    }
    let answer = trace.stop()?;
    let of_mount = |row: &&Layers| row.mounts == [mount.path()];
    let row = answer.layers.iter().find(of_mount).with_context(|| format!("nothing is said of {}", mount.path()))?;
    let row = row.clone();
    Ok((answer, row))
}

fn expect(complaints: &mut Complaints, row: &Layers, verdict: &str) {
    complaints.unless(row.verdict == verdict, || format!("the verdict should be {verdict}: {row:?}"));
}

/// The finding of the verdict has a word.
fn says(complaints: &mut Complaints, answer: &Answer, word: &str) {
    let findings: Vec<_> = answer.findings.iter().filter(|finding| finding.id == "nfs-layer").collect();
    complaints.unless(findings.iter().any(|finding| format!("{finding:?}").contains(word)), || {
        format!("it does not say {word:?}: {findings:?}")
    });
}

/// The parts make up the whole.
fn adds_up(complaints: &mut Complaints, row: &Layers) {
    let before = row.queues_ns + row.preparing_ns;
    let parts = before + row.path_ns.unwrap_or(0) + row.server_ns + row.receive_ns + row.wake_ns + row.resent_ns;
    complaints.unless_near("the parts of all calls", parts, row.spent_ns, 0.001, 100_000);
}
