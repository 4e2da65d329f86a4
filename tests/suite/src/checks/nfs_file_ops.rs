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
use nfslat_workload::schedstat::SchedStat;

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

/// How far sums of time may be apart. Each call over the network takes 400 ms here.
const ROOM: f64 = 0.02;

/// System calls of one kind.
#[derive(Clone, Copy, Default)]
struct Calls {
    count: u64,
    /// From before the first to after the last instruction.
    total_ns: u64,
    /// Of that, on a CPU or waiting for one, by schedstat. Part of it may lie outside the file system's function; what is
    /// left is waiting, which only the function does.
    ran_ns: u64,
}

/// What the suite did.
#[derive(Default)]
struct Diary(BTreeMap<&'static str, Calls>);

impl Diary {
    fn time<T>(&mut self, what: &'static str, call: impl FnOnce() -> T) -> Result<T> {
        let before = SchedStat::of_this_thread()?;
        let begun = Instant::now();
        let result = call();
        let total_ns = u64::try_from(begun.elapsed().as_nanos())?;
        let after = SchedStat::of_this_thread()?;
        let calls = self.0.entry(what).or_default();
        calls.count += 1;
        calls.total_ns += total_ns;
        calls.ran_ns += (after.on_cpu_ns - before.on_cpu_ns) + (after.run_delay_ns - before.run_delay_ns);
        Ok(result)
    }

    fn of(&self, what: &str) -> Calls {
        self.0.get(what).copied().unwrap_or_default()
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
    diary.time("mkdir", || fs::create_dir(&folder))??;
    let mut file = diary.time("open", || OpenOptions::new().read(true).write(true).create_new(true).open(&path))??;
    diary.time("write", || file.write_all(&[7; BYTES]))??;
    diary.time("fsync", || file.sync_all())??;
    diary.time("readdir", || fs::read_dir(&folder).map(Iterator::count))??;
    diary.time("close", || drop(file))?;
    // Nothing of it is left in the cache.
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the caches")?;
    let mut file = diary.time("open", || File::open(&path))??;
    let mut buffer = [0; BYTES];
    for what in ["read", "read again"] {
        file.rewind()?;
        let length = diary.time(what, || file.read(&mut buffer))??;
        ensure!(length == BYTES && buffer.iter().all(|&byte| byte == 7), "other bytes are read than were written");
    }
    diary.time("close", || drop(file))?;
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the caches")?;
    let file = diary.time("open", || File::open(&path))??;
    let page = FirstPage::of(&file)?;
    let byte = diary.time("fault", || page.byte())?;
    drop(page);
    ensure!(byte == 7, "another byte is mapped than was written");
    diary.time("close", || drop(file))?;
    diary.time("unlink", || fs::remove_file(&path))??;
    diary.time("rmdir", || fs::remove_dir(&folder))??;
    Ok(())
}

fn compare(complaints: &mut Complaints, version: &str, answer: &Answer, mount: &str, diary: &Diary) {
    let rows: Vec<&FileOp> = answer.file_ops.iter().filter(|row| row.mounts == [mount]).collect();
    let own = |row: &FileOp| row.processes.iter().find(|process| process.pid == process::id()).map(|own| own.sums);
    let of = |op: &str| rows.iter().find(|row| row.op == op).and_then(|row| own(row)).unwrap_or_default();
    let complain = |what: &str, sums: FileSums| format!("v{version} {what}: {sums:?}");
    // One call of the file system for each of the program's.
    for (op, calls) in [("write", "write"), ("fsync", "fsync"), ("mkdir", "mkdir"), ("unlink", "unlink")] {
        let (sums, Calls { count, .. }) = (of(op), diary.of(calls));
        complaints.unless(sums.count == count, || format!("{}, should be {count}", complain(op, sums)));
    }
    // The second of two reads has all it needs.
    let (read, cold, warm) = (of("read"), diary.of("read"), diary.of("read again"));
    complaints.unless((read.count, read.waited) == (cold.count + warm.count, cold.count), || complain("read", read));
    let (fault, faults) = (of("fault"), diary.of("fault"));
    complaints.unless(fault.waited >= faults.count, || complain("fault", fault));
    for (op, sums, calls) in [("fsync", of("fsync"), diary.of("fsync")), ("read", read, cold), ("fault", fault, faults)]
    {
        compare_times(complaints, &format!("v{version} {op}"), sums.total_ns, calls);
    }
    // Walking to a file is part of opening it, and so on: only the whole is the same.
    let inside_ns = rows.iter().filter_map(|row| own(row)).map(|sums| sums.total_ns).sum();
    let all = diary.0.values().fold(Calls::default(), |sum, calls| Calls {
        count: sum.count + calls.count,
        total_ns: sum.total_ns + calls.total_ns,
        ran_ns: sum.ran_ns + calls.ran_ns,
    });
    compare_times(complaints, &format!("v{version} all operations"), inside_ns, all);
    for row in &rows {
        let counted = row.waited_ns.as_ref().map_or(0, |times| times.count)
            + row.cached_ns.as_ref().map_or(0, |times| times.count);
        complaints.unless(counted == row.sums.count, || format!("v{version} {}: {counted} have a latency", row.op));
    }
    let named = answer.files.iter().any(|file| file.mounts == [mount] && file.name == "file" && file.waited > 0);
    complaints.unless(named, || format!("v{version}: the file is not named: {:?}", answer.files));
}

/// The file system's functions took as long as the system calls, but for what the thread ran outside of them.
fn compare_times(complaints: &mut Complaints, what: &str, inside_ns: u64, calls: Calls) {
    let Calls { total_ns, ran_ns, .. } = calls;
    let room_ns = (total_ns as f64 * ROOM) as u64;
    let right = total_ns.saturating_sub(ran_ns + room_ns)..=total_ns + room_ns;
    complaints.unless(right.contains(&inside_ns), || {
        format!("{what}: {inside_ns} ns, should be {total_ns} ns +- {room_ns}, less some of {ran_ns} ns that it ran")
    });
}

/// Modules without types: nothing is measured, and that is said.
fn not_measured(machine: &Machine, mut complaints: Complaints) -> Result<Outcome> {
    let answer = Trace::start(machine, ["--duration", "2", "--file-ops"])?.answer(crate::process::PATIENCE)?;
    complaints.unless(answer.file_ops.is_empty(), || format!("operations: {:?}", answer.file_ops));
    let said = answer.probes.iter().any(|probe| probe.hook == "functions of nfs" && probe.state == "fallback");
    complaints.unless(said, || format!("it is not said: {:?}", answer.probes));
    complaints.settle()
}
