//! Operations on NFS files as programs see them: what the suite does itself and times.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::Path,
    process,
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::{
    answer::{Answer, FileOp, FileSums},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{NfsMount, SlowLoopback},
    machine::{self, Machine},
    mapped::FirstPage,
    nfslat::Trace,
    starve::First,
};

/// Each process's time in each kind of operation is what it measures itself; what the cache had is told apart.
pub(super) const TIMES: Check = Check { name: "files::operations", stage: Stage::WithNfs, run: times };

/// Bytes written to a file, and read from it.
const BYTES: usize = 16 << 10;

/// How far sums of time may be apart. A system call is a little more than the file system's function. Each call over the
/// network takes 400 ms here.
const ROOM: f64 = 0.02;

/// What the suite did: number of system calls of a kind, and their time.
#[derive(Default)]
struct Diary(BTreeMap<&'static str, (u64, u64)>);

impl Diary {
    fn time<T>(&mut self, what: &'static str, call: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = call();
        let entry = self.0.entry(what).or_default();
        entry.0 += 1;
        entry.1 += u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        result
    }
}

fn times(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    if !machine::kernel_is_at_least(6, 0)? {
        return not_measured(machine, complaints);
    }
    for version in ["3", "4.2"] {
        let slow = SlowLoopback::by("200ms")?;
        let mount = NfsMount::of_version(version)?;
        let mut diary = Diary::default();
        let trace = Trace::start(machine, ["--duration", "120", "--file-ops"])?;
        // On its way back from a call it would lose its CPU to those that worked for it, which is no part of an operation.
        let first = First::in_line()?;
        work(Path::new(mount.path()), &mut diary).with_context(|| format!("working on NFS version {version}"))?;
        drop(first);
        let answer = trace.stop()?;
        drop(slow);
        compare(&mut complaints, version, &answer, mount.path(), &diary);
    }
    complaints.settle()
}

/// A file is made, written, synced, read twice, mapped, looked at and removed, in a folder that is made for it.
fn work(mount: &Path, diary: &mut Diary) -> Result<()> {
    let folder = mount.join("folder");
    let path = folder.join("file");
    diary.time("mkdir", || fs::create_dir(&folder))?;
    let mut file = diary.time("open", || OpenOptions::new().read(true).write(true).create_new(true).open(&path))?;
    diary.time("write", || file.write_all(&[7; BYTES]))?;
    diary.time("fsync", || file.sync_all())?;
    diary.time("readdir", || fs::read_dir(&folder).map(Iterator::count))?;
    diary.time("close", || drop(file));
    // Nothing of it is left in the cache.
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the caches")?;
    let mut file = diary.time("open", || File::open(&path))?;
    let mut buffer = [0; BYTES];
    for what in ["read", "read again"] {
        file.rewind()?;
        let length = diary.time(what, || file.read(&mut buffer))?;
        ensure!(length == BYTES && buffer.iter().all(|&byte| byte == 7), "other bytes are read than were written");
    }
    diary.time("close", || drop(file));
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the caches")?;
    let file = diary.time("open", || File::open(&path))?;
    let page = FirstPage::of(&file)?;
    let byte = diary.time("fault", || page.byte());
    drop(page);
    ensure!(byte == 7, "another byte is mapped than was written");
    diary.time("close", || drop(file));
    diary.time("unlink", || fs::remove_file(&path))?;
    diary.time("rmdir", || fs::remove_dir(&folder))?;
    Ok(())
}

fn compare(complaints: &mut Complaints, version: &str, answer: &Answer, mount: &str, diary: &Diary) {
    let rows: Vec<&FileOp> = answer.file_ops.iter().filter(|row| row.mounts == [mount]).collect();
    let own = |row: &FileOp| row.processes.iter().find(|process| process.pid == process::id()).map(|own| own.sums);
    let of = |op: &str| rows.iter().find(|row| row.op == op).and_then(|row| own(row)).unwrap_or_default();
    let said = |what: &str| diary.0.get(what).copied().unwrap_or_default();
    let complain = |what: &str, sums: FileSums| format!("v{version} {what}: {sums:?}");
    // One call of the file system for each of the program's.
    for (op, calls) in [("write", "write"), ("fsync", "fsync"), ("mkdir", "mkdir"), ("unlink", "unlink")] {
        let (sums, (count, _)) = (of(op), said(calls));
        complaints.unless(sums.count == count, || format!("{}, should be {count}", complain(op, sums)));
    }
    // The second of two reads has all it needs.
    let (read, (cold, cold_ns), (warm, _)) = (of("read"), said("read"), said("read again"));
    complaints.unless((read.count, read.waited) == (cold + warm, cold), || complain("read", read));
    let (fault, (faults, fault_ns)) = (of("fault"), said("fault"));
    complaints.unless(fault.waited >= faults, || complain("fault", fault));
    for (op, sums, said_ns) in
        [("fsync", of("fsync"), said("fsync").1), ("read", read, cold_ns), ("fault", fault, fault_ns)]
    {
        complaints.unless_near(format!("v{version} {op}"), sums.total_ns, said_ns, ROOM, 1_000_000);
    }
    // Walking to a file is part of opening it, and so on: only the whole is the same.
    let all_ns = rows.iter().filter_map(|row| own(row)).map(|sums| sums.total_ns).sum();
    let said_ns = diary.0.values().map(|(_, ns)| ns).sum();
    complaints.unless_near(format!("v{version} all operations"), all_ns, said_ns, ROOM, 1_000_000);
    for row in &rows {
        let counted = row.waited_ns.as_ref().map_or(0, |times| times.count)
            + row.cached_ns.as_ref().map_or(0, |times| times.count);
        complaints.unless(counted == row.sums.count, || format!("v{version} {}: {counted} have a latency", row.op));
    }
    let named = answer.files.iter().any(|file| file.mounts == [mount] && file.name == "file" && file.waited > 0);
    complaints.unless(named, || format!("v{version}: the file is not named: {:?}", answer.files));
}

/// Modules without types: nothing is measured, and that is said.
fn not_measured(machine: &Machine, mut complaints: Complaints) -> Result<Outcome> {
    let answer = Trace::start(machine, ["--duration", "2", "--file-ops"])?.answer(crate::process::PATIENCE)?;
    complaints.unless(answer.file_ops.is_empty(), || format!("operations: {:?}", answer.file_ops));
    let said = answer.probes.iter().any(|probe| probe.hook == "functions of nfs" && probe.state == "fallback");
    complaints.unless(said, || format!("it is not said: {:?}", answer.probes));
    complaints.settle()
}
