//! No NFS, NFS that comes late, a server that asks to wait, and one that goes away.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::NamedTempFile;

use crate::{
    answer::Rpc,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::NfsMount,
    machine::{self, Machine},
    nfslat::{Trace, answer_of, went_well},
    process::{PATIENCE, Process},
    server,
};

/// Where there is no NFS, the rest is measured, and the answer says what was not.
pub(super) const ABSENT: Check = Check { name: "nfs::absence_is_said", stage: Stage::WithoutNfs, run: absent };

/// A module that is loaded during the run was not there from its beginning, and the answer says so.
pub(super) const LOADED_LATE: Check =
    Check { name: "nfs::late_module_is_said", stage: Stage::WithoutNfs, run: loaded_late };

/// A dead server does not hold up the trace, and what it owes is listed.
pub(super) const DEAD_SERVER: Check = Check { name: "nfs::dead_server", stage: Stage::DeadServer, run: dead_server };

/// A call that the server asked to try again later is outstanding in the meantime, though an attempt at it is done.
pub(super) const ASKED_TO_WAIT: Check = Check { name: "nfs::asked_to_wait", stage: Stage::WithNfs, run: asked_to_wait };

/// How much later than asked a trace may end: what it takes to compute the answer on an emulated machine.
const LATE: Duration = Duration::from_secs(5);

fn absent(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    let text = Trace::start_text(machine, ["--duration", "2"])?.finish(PATIENCE)?;
    went_well(&text)?;
    complaints.unless(text.stdout.contains("no NFS"), || format!("it is not said: {}", text.stdout));
    let answer = Trace::start(machine, ["--duration", "2"])?.answer(PATIENCE)?;
    complaints.unless(answer.rpc.is_empty(), || format!("calls: {:?}", answer.rpc));
    complaints.unless(answer.threads.len() > 5, || format!("only {} threads", answer.threads.len()));
    complaints.settle()
}

fn loaded_late(machine: &Machine) -> Result<Outcome> {
    let trace = Trace::start_text(machine, ["--duration", "280"])?;
    let status = Command::new("modprobe").args(["-a", "nfs", "nfsv4"]).status()?;
    ensure!(status.success(), "loading the NFS client: {status}");
    // The tool looks once a second.
    thread::sleep(Duration::from_secs(3));
    trace.process().send(libc::SIGINT)?;
    let text = trace.finish(PATIENCE)?;
    let mut complaints = Complaints::default();
    let said = text.stdout.lines().any(|line| line.contains("sunrpc") && line.contains("loaded"));
    complaints.unless(said, || format!("it is not said: {}", text.stdout));
    // What came before is missing, or not: the tool cannot know, and must not call the data complete.
    complaints.unless(matches!(text.code(), Some(0 | 3)), || format!("it ended with {}", text.status));
    complaints.settle()
}

fn asked_to_wait(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::of_version("3")?;
    // Closed: nobody can lease a file that is open for writing.
    let leased = NamedTempFile::new_in("/export").context("making a file on the server")?.into_temp_path();
    let name = leased.file_name().context("the file has no name")?;
    // The server may not write until the lease is given back, and says so: try again, which the client does after 5 s
    // (`NFS_JUKEBOX_RETRY_TIME`).
    let lease = Lease::take(&leased)?;
    let mut file = OpenOptions::new().write(true).open(Path::new(mount.path()).join(name)).context("opening by NFS")?;
    let trace = Trace::start(machine, ["--duration", "120", "--file-ops"])?;
    let writer = thread::spawn(move || file.write_all(b"after").and_then(|()| file.sync_all()));
    thread::sleep(Duration::from_secs(2));
    let answer = trace.stop()?;
    let waited = !writer.is_finished();
    drop(lease);
    writer.join().map_err(|_| anyhow!("the writer panicked"))?.context("writing by NFS")?;

    let files_measured = machine::kernel_is_at_least(6, 0)?;
    let mut complaints = Complaints::default();
    complaints.unless(waited, || "the server did not ask the writer to wait".to_owned());
    let own = |rpc: &&Rpc| rpc.mount.as_deref() == Some(mount.path()) && rpc.op == "WRITE";
    let writes: Vec<_> = answer.rpc.iter().filter(own).map(|rpc| (rpc.count, rpc.in_flight)).collect();
    let verdict = answer.layers.iter().find(|row| row.mounts == [mount.path()]).map(|row| row.verdict.as_str());
    complaints.unless(verdict == Some("put-off"), || format!("the verdict is {verdict:?}: {:?}", answer.layers));
    let open = answer.open_file_ops.iter().find(|open| open.pid == std::process::id());
    complaints.unless(open.is_some_and(|open| open.age_ns > 1_000_000_000) || !files_measured, || {
        format!("the writer is said to be in {open:?}")
    });
    complaints.unless(writes == [(1, 1)], || format!("of WRITE (done, outstanding): {writes:?}, should be [(1, 1)]"));
    complaints.settle_for(&answer)
}

/// A lease for reading on a file: whoever writes to it has to wait until it is given back, for at most
/// `/proc/sys/fs/lease-break-time` seconds. Given back when dropped.
struct Lease(#[expect(dead_code, reason = "it is the open file's")] File);

impl Lease {
    fn take(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        // SAFETY: no memory is touched. Being asked to give it back would end this process otherwise.
        let taken = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)
        };
        ensure!(taken == 0, "taking a lease on {}: {}", path.display(), io::Error::last_os_error());
        Ok(Self(file))
    }
}

fn dead_server(machine: &Machine) -> Result<Outcome> {
    let mounts = [NfsMount::of_version("3")?, NfsMount::of_version("4.2")?];
    let trace = Trace::start(machine, ["--duration", "10"])?;
    let begun = Instant::now();
    let start = |mount: &NfsMount| {
        Process::start(Command::new(&machine.workload).args(["nfs-mixed", "--duration", "300", "--dir", mount.path()]))
    };
    let workloads = [start(&mounts[0])?, start(&mounts[1])?];
    thread::sleep(Duration::from_secs(3));
    let stopped = StoppedServer::stop()?;
    let hung = Duration::from_secs(10).saturating_sub(begun.elapsed());
    let finished = trace.finish(PATIENCE)?;
    let late = begun.elapsed().saturating_sub(Duration::from_secs(10));
    let answer = answer_of(&finished)?;
    let mut complaints = Complaints::default();
    complaints.unless(late < LATE, || format!("the trace ended {late:?} late"));
    let open: Vec<_> = answer.rpc.iter().filter(|rpc| rpc.in_flight > 0).map(|rpc| (&rpc.mount, &rpc.op)).collect();
    for (mount, workload) in mounts.iter().zip(workloads) {
        let own = open.iter().any(|(on, _)| on.as_deref() == Some(mount.path()));
        complaints.unless(own, || {
            let waits: Vec<_> = answer.waits.iter().filter(|wait| wait.pid == workload.pid()).collect();
            format!("{}: no call is said to be outstanding, but {open:?}; {waits:?}", mount.path())
        });
        let verdict = answer.layers.iter().find(|row| row.mounts == [mount.path()]).map(|row| row.verdict.as_str());
        complaints.unless(verdict == Some("no-answer"), || {
            format!("{}: the verdict is {verdict:?}: {:?}", mount.path(), answer.layers)
        });
        // Else there would be nothing outstanding to list.
        let ended = workload.finish(Duration::ZERO).map(|finished| finished.stderr);
        complaints.unless(ended.is_err(), || format!("{}: the workload has ended: {ended:?}", mount.path()));
    }
    // Those waits had not ended when the window closed.
    let storage = answer.some_thread.storage;
    complaints.unless(u128::from(storage.some_ns) >= hung.as_nanos() * 9 / 10, || {
        format!("some thread waited for storage in {storage:?}, and the server was away for {hung:?}")
    });
    drop(stopped);
    complaints.settle()
}

/// The machine's NFS server, stopped. It serves again when this is dropped: processes that wait for
/// it may not be killed, and the machine could not even be shut down.
struct StoppedServer;

impl StoppedServer {
    fn stop() -> Result<Self> {
        server::set_threads(0)?;
        Ok(Self)
    }
}

impl Drop for StoppedServer {
    fn drop(&mut self) {
        if let Err(error) = server::set_threads(8) {
            eprintln!("the NFS server stays away: {error:#}");
        }
    }
}
