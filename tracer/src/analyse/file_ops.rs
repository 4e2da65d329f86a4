//! Operations on files of NFS mounts, as programs see them. What they wait for is more than the calls: a server that asks
//! to try again later, recovery, pages that others read or write back.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Serialize, Serializer};

use crate::model::{FileOp, FileOpSlice, Histogram, Recording};

/// Operations of one kind on one mount.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileOpRow {
    /// Mount points of the file system; empty if none is known.
    pub mounts: Vec<String>,
    /// The kind.
    pub op: FileOp,
    /// How many, how long.
    #[serde(flatten)]
    pub sums: FileOpTotals,
    /// Latencies of those in which the thread was blocked; `null` if none was.
    pub waited_ns: Option<FileOpLatency>,
    /// Latencies of the others, which found all they needed in the cache; `null` if there were none.
    pub cached_ns: Option<FileOpLatency>,
    /// By process, most time first.
    pub processes: Vec<FileOpProcess>,
}

/// Sums of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileOpTotals {
    /// Operations done.
    pub count: u64,
    /// Those in which the thread was blocked.
    pub waited: u64,
    /// Those that failed.
    pub failed: u64,
    /// Time from entry to return.
    pub total_ns: u64,
    /// The part of it in which the thread was blocked.
    pub blocked_ns: u64,
}

/// Latencies, within 0.8%.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileOpLatency {
    /// Operations.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Longest.
    pub max: u64,
    /// All values, as an HdrHistogram V2 in base64.
    #[serde(serialize_with = "base64")]
    pub histogram: Histogram,
}

fn base64<S: Serializer>(histogram: &Histogram, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&histogram.to_hdr_base64())
}

/// Operations of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileOpProcess {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How many, how long.
    #[serde(flatten)]
    pub sums: FileOpTotals,
}

/// An operation open when the window closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenFileOpRow {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Thread.
    pub tid: u32,
    /// Mount points of the file system.
    pub mounts: Vec<String>,
    /// Inode number.
    pub inode: u64,
    /// The kind.
    pub op: FileOp,
    /// Time since it began.
    pub age_ns: u64,
}

/// A file that threads were blocked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileRow {
    /// Mount points of the file system.
    pub mounts: Vec<String>,
    /// Inode number.
    pub inode: u64,
    /// Its name without the folder; empty if not known.
    pub name: String,
    /// Operations in which a thread was blocked.
    pub waited: u64,
    /// Time in which threads were blocked.
    pub blocked_ns: u64,
}

impl FileOpTotals {
    fn add(&mut self, ops: &FileOpSlice) {
        let sums = [
            (&mut self.count, ops.count),
            (&mut self.waited, ops.waited),
            (&mut self.failed, ops.failed),
            (&mut self.total_ns, ops.total_ns),
            (&mut self.blocked_ns, ops.blocked_ns),
        ];
        for (sum, added) in sums {
            *sum = sum.saturating_add(added);
        }
    }
}

impl FileOpLatency {
    fn of(histogram: Histogram) -> Option<Self> {
        let quantile = |q| histogram.quantile(q);
        let (p50, p90, p99, max) = (quantile(0.5)?, quantile(0.9)?, quantile(0.99)?, quantile(1.0)?);
        Some(Self { count: histogram.count(), p50, p90, p99, max, histogram })
    }
}

/// A file system, by its device number.
type Device = (u32, u32);

/// Those of the mount that was asked for, or of all.
struct Wanted<'a> {
    recording: &'a Recording,
}

impl Wanted<'_> {
    /// Mount points of a file system; `None` if it is not wanted.
    fn mounts(&self, device: Device) -> Option<Vec<String>> {
        let here = self.recording.mounts.iter().filter(|mount| (mount.dev_major, mount.dev_minor) == device);
        let here: Vec<_> = here.collect();
        let wanted = self.recording.options.mount.as_ref();
        let is_wanted = wanted.is_none_or(|wanted| here.iter().any(|mount| mount.mount_point == *wanted));
        is_wanted.then(|| here.iter().map(|mount| mount.name()).collect())
    }
}

/// Operations by mount and kind, most time first.
pub(super) fn rows(recording: &Recording) -> Vec<FileOpRow> {
    let wanted = Wanted { recording };
    let mut sums = BTreeMap::<(Device, FileOp), BTreeMap<u32, FileOpTotals>>::new();
    let mut times = BTreeMap::<(Device, FileOp, bool), Histogram>::new();
    for slice in &recording.slices {
        for ops in &slice.file_ops {
            let series = &recording.file_op_series[ops.series as usize];
            let key = ((series.dev_major, series.dev_minor), series.op);
            sums.entry(key).or_default().entry(series.pid).or_default().add(ops);
        }
        for added in &slice.file_op_times {
            let key = ((added.dev_major, added.dev_minor), added.op, added.waited);
            times.entry(key).or_default().merge(&added.histogram);
        }
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .filter_map(|((device, op), by_process)| {
            let mounts = wanted.mounts(device)?;
            let mut all = FileOpTotals::default();
            for sums in by_process.values() {
                let FileOpTotals { count, waited, failed, total_ns, blocked_ns } = *sums;
                all.add(&FileOpSlice { series: 0, count, waited, failed, total_ns, blocked_ns });
            }
            let mut processes: Vec<_> = by_process
                .into_iter()
                .map(|(pid, sums)| FileOpProcess { pid, comm: recording.comm_of(pid), sums })
                .collect();
            processes.sort_by_key(|process| (Reverse(process.sums.total_ns), process.pid));
            let mut latency = |waited| FileOpLatency::of(times.remove(&(device, op, waited)).unwrap_or_default());
            let (waited_ns, cached_ns) = (latency(true), latency(false));
            Some(FileOpRow { mounts, op, sums: all, waited_ns, cached_ns, processes })
        })
        .collect();
    rows.sort_by(|a, b| (b.sums.total_ns, &a.mounts, a.op).cmp(&(a.sums.total_ns, &b.mounts, b.op)));
    rows
}

/// Operations open when the window closed, oldest first.
pub(super) fn open(recording: &Recording) -> Vec<OpenFileOpRow> {
    let wanted = Wanted { recording };
    let row = |open: &crate::model::OpenFileOp| {
        Some(OpenFileOpRow {
            pid: open.pid,
            comm: recording.comm_of(open.pid),
            tid: open.tid,
            mounts: wanted.mounts((open.dev_major, open.dev_minor))?,
            inode: open.inode,
            op: open.op,
            age_ns: open.age_ns,
        })
    };
    recording.open_file_ops.iter().filter_map(row).collect()
}

/// Files that threads were blocked on, most time first.
pub(super) fn files(recording: &Recording) -> Vec<FileRow> {
    let wanted = Wanted { recording };
    let row = |file: &crate::model::WaitedFile| {
        Some(FileRow {
            mounts: wanted.mounts((file.dev_major, file.dev_minor))?,
            inode: file.inode,
            name: file.name.clone(),
            waited: file.waited,
            blocked_ns: file.blocked_ns,
        })
    };
    recording.waited_files.iter().filter_map(row).collect()
}
