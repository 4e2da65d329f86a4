//! Time summed by thread name and by cgroup.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    answer::{GroupTimes, ProcessRow, ThreadRow},
    classify::Group,
};

/// Time of the threads that have something in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TotalRow {
    /// What they have in common; empty if it is not known.
    pub name: String,
    /// Number of threads.
    pub threads: u64,
    /// Sum of the time each was traced.
    pub window_ns: u64,
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time ready to run, waiting for a CPU.
    pub runnable_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// Time by group; `cpu` is `runnable_ns`.
    pub groups: GroupTimes,
}

/// By thread name; most stalled first.
pub(super) fn by_comm(threads: &[ThreadRow]) -> Vec<TotalRow> {
    totals(threads.iter().map(|thread| (thread.comm.as_str(), thread)))
}

/// By cgroup; most stalled first.
pub(super) fn by_cgroup(threads: &[ThreadRow], processes: &[ProcessRow]) -> Vec<TotalRow> {
    let cgroups: HashMap<u32, &str> = processes.iter().map(|row| (row.pid, row.cgroup.as_str())).collect();
    totals(threads.iter().map(|thread| (cgroups.get(&thread.pid).copied().unwrap_or_default(), thread)))
}

fn totals<'a>(threads: impl Iterator<Item = (&'a str, &'a ThreadRow)>) -> Vec<TotalRow> {
    let mut rows = BTreeMap::<&str, TotalRow>::new();
    for (name, thread) in threads {
        let row = rows.entry(name).or_insert_with(|| TotalRow { name: name.to_owned(), ..TotalRow::default() });
        row.threads += 1;
        row.window_ns = row.window_ns.saturating_add(thread.window_ns);
        row.on_cpu_ns = row.on_cpu_ns.saturating_add(thread.on_cpu_ns);
        row.runnable_ns = row.runnable_ns.saturating_add(thread.runnable_ns);
        row.blocked_ns = row.blocked_ns.saturating_add(thread.blocked_ns);
        row.groups.add(Group::Cpu, thread.runnable_ns);
        for (class, &ns) in &thread.classes {
            row.groups.add(class.group(), ns);
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.groups.stalled()));
    rows
}
