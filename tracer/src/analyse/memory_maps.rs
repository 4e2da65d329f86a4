//! Waits for the mmap_lock of each process, by whose memory map it is rather than by who waited.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    classify::{Class, LockMode},
    locks::LockRow,
};
use crate::model::{Histogram, HolderKind, Recording};

/// Waits for the mmap_lock of one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryMapRow {
    /// Process whose memory map it is.
    pub pid: u32,
    /// Name of its first thread; empty if it is not traced.
    pub comm: String,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Median (within 3.2%) of those in the histogram; `null` if there is none.
    pub p50: Option<u64>,
    /// See `p50`.
    pub p99: Option<u64>,
    /// The longest, exact.
    pub max_ns: u64,
    /// Number of waits in the histogram. Less than `count` where threads waited with the same stack for the locks of
    /// several processes (a reader of `/proc`).
    pub histogram_count: u64,
    /// Part of the sum that wanted to read.
    pub read_ns: u64,
    /// Part that wanted to write.
    pub write_ns: u64,
    /// Part waited by other processes.
    pub by_others_ns: u64,
    /// Part by how the lock was held when the wait began: `writer`, `reader`, `nobody`, `unknown`.
    pub held_ns: BTreeMap<HolderKind, u64>,
    /// Of the part behind writers: what these did meanwhile, where they are traced. Time on a CPU.
    pub writers_on_cpu_ns: u64,
    /// Time waiting for a CPU.
    pub writers_runnable_ns: u64,
    /// Time blocked.
    pub writers_blocked_ns: u64,
    /// The writers that were waited for longest, at most [`MemoryMapRow::MAX_WRITERS`].
    pub writers: Vec<Writer>,
}

/// A thread that held an mmap_lock for writing while others waited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Writer {
    /// Thread id.
    pub tid: u32,
    /// Name of the thread.
    pub comm: String,
    /// The call it was in; empty if not known.
    pub call: String,
    /// What it waited for itself meanwhile; `null` if it hardly did.
    pub class: Option<Class>,
    /// Time waited behind it.
    pub waited_ns: u64,
}

impl MemoryMapRow {
    /// Most writers listed.
    pub const MAX_WRITERS: usize = 5;

    fn add(&mut self, row: &LockRow) {
        let add = |sum: &mut u64, ns: u64| *sum = sum.saturating_add(ns);
        add(&mut self.count, row.count);
        add(&mut self.total_ns, row.total_ns);
        self.max_ns = self.max_ns.max(row.max_ns);
        match row.mode {
            Some(LockMode::Read) => add(&mut self.read_ns, row.total_ns),
            Some(LockMode::Write) => add(&mut self.write_ns, row.total_ns),
            None => {}
        }
        if row.pid != self.pid {
            add(&mut self.by_others_ns, row.total_ns);
        }
        add(self.held_ns.entry(row.holder_kind).or_default(), row.total_ns);
        if row.holder_kind != HolderKind::Writer {
            return;
        }
        add(&mut self.writers_on_cpu_ns, row.holder_on_cpu_ns);
        add(&mut self.writers_runnable_ns, row.holder_runnable_ns);
        add(&mut self.writers_blocked_ns, row.holder_blocked_ns);
        let same = |writer: &&mut Writer| {
            (writer.tid, writer.call.as_str(), writer.class)
                == (row.holder_tid, row.holder_call.as_str(), row.holder_class)
        };
        match self.writers.iter_mut().find(same) {
            Some(writer) => add(&mut writer.waited_ns, row.total_ns),
            None => self.writers.push(Writer {
                tid: row.holder_tid,
                comm: row.holder_comm.clone(),
                call: row.holder_call.clone(),
                class: row.holder_class,
                waited_ns: row.total_ns,
            }),
        }
    }
}

/// Rows, most time first.
pub(super) fn rows(recording: &Recording, locks: &[LockRow]) -> Vec<MemoryMapRow> {
    let mut maps = BTreeMap::<u32, MemoryMapRow>::new();
    for row in locks {
        if let Some(pid) = row.mm_pid {
            maps.entry(pid).or_insert_with(|| MemoryMapRow { pid, ..MemoryMapRow::default() }).add(row);
        }
    }
    for (pid, histogram) in histograms(recording) {
        let Some(map) = maps.get_mut(&pid) else { continue };
        let quantile = |quantile| histogram.quantile(quantile).map(|ns| ns.min(map.max_ns));
        (map.p50, map.p99) = (quantile(0.5), quantile(0.99));
        map.histogram_count = histogram.count();
    }
    let mut rows: Vec<_> = maps.into_values().collect();
    for row in &mut rows {
        // Locks are given the same name.
        row.comm = recording.comm_of(row.pid);
        row.writers.sort_by(|a, b| (b.waited_ns, a.tid, &a.call, a.class).cmp(&(a.waited_ns, b.tid, &b.call, b.class)));
        row.writers.truncate(MemoryMapRow::MAX_WRITERS);
    }
    rows.sort_by_key(|row| (std::cmp::Reverse(row.total_ns), row.pid));
    rows
}

/// Wait histograms by whose memory map it is. A histogram is of one process's waits with one stack: if those were for
/// the locks of several processes it belongs to none.
fn histograms(recording: &Recording) -> BTreeMap<u32, Histogram> {
    let mut owners = HashMap::<(u32, Option<u32>, u32), Option<u32>>::new();
    for series in &recording.locks {
        let owner = owners.entry((series.process, series.stack, series.flags)).or_insert(series.mm_pid);
        if *owner != series.mm_pid {
            *owner = None;
        }
    }
    let mut histograms = BTreeMap::<u32, Histogram>::new();
    for part in recording.slices.iter().flat_map(|slice| &slice.wait_histograms) {
        if let Some(Some(pid)) = owners.get(&(part.process, part.stack, part.flags)) {
            histograms.entry(*pid).or_default().merge(&part.histogram);
        }
    }
    histograms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Holder, LockSeries, Process, Slice, WaitHistogramSlice};

    fn series(process: u32, flags: u32, mm_pid: u32, kind: HolderKind, total_ns: u64) -> LockSeries {
        let holder = Holder { kind, tid: 7, ..Holder::default() };
        let (count, max_ns) = (2, total_ns / 2);
        LockSeries { process, flags, mm_pid: Some(mm_pid), holder, count, total_ns, max_ns, ..LockSeries::default() }
    }

    fn histogram(process: u32, flags: u32, value: u64, count: u64) -> WaitHistogramSlice {
        let mut histogram = Histogram::default();
        histogram.record(value, count);
        WaitHistogramSlice { process, flags, histogram, ..WaitHistogramSlice::default() }
    }

    fn row_of(recording: &Recording, pid: u32) -> MemoryMapRow {
        let rows = rows(recording, &super::super::locks::rows(recording));
        rows.into_iter().find(|row| row.pid == pid).expect("it has waits")
    }

    fn recording(locks: Vec<LockSeries>, wait_histograms: Vec<WaitHistogramSlice>) -> Recording {
        let process = |pid| Process { pid, comm: format!("p{pid}"), ..Process::default() };
        Recording {
            processes: vec![process(10), process(20)],
            locks,
            slices: vec![Slice { wait_histograms, ..Slice::default() }],
            ..Recording::default()
        }
    }

    #[test]
    fn waits_belong_to_the_memory_map_and_not_to_who_waited() {
        let own = series(0, 1, 10, HolderKind::Writer, 100);
        let foreign = series(1, 1, 10, HolderKind::Reader, 40);
        let row = row_of(&recording(vec![own, foreign], vec![histogram(0, 1, 50, 2), histogram(1, 1, 20, 2)]), 10);
        assert_eq!((row.comm.as_str(), row.count, row.total_ns, row.by_others_ns), ("p10", 4, 140, 40));
        assert_eq!(row.held_ns, BTreeMap::from([(HolderKind::Writer, 100), (HolderKind::Reader, 40)]));
        assert_eq!((row.histogram_count, row.max_ns), (4, 50));
        assert_eq!(row.writers.iter().map(|writer| (writer.tid, writer.waited_ns)).collect::<Vec<_>>(), [(7, 100)]);
    }

    #[test]
    fn a_process_id_used_again_has_the_last_name() {
        let mut recording = recording(vec![series(0, 1, 10, HolderKind::Writer, 100)], Vec::new());
        recording.processes.push(Process { pid: 10, comm: "later".into(), ..Process::default() });
        assert_eq!(row_of(&recording, 10).comm, "later");
    }

    #[test]
    fn a_histogram_of_waits_for_several_memory_maps_belongs_to_none() {
        let locks = vec![series(1, 1, 10, HolderKind::Writer, 100), series(1, 1, 30, HolderKind::Writer, 60)];
        let row = row_of(&recording(locks, vec![histogram(1, 1, 50, 4)]), 10);
        assert_eq!((row.count, row.histogram_count, row.p50), (2, 0, None));
    }
}
