//! Accounting: where every thread's time went, summed by thread, process, class and group.
//!
//! A thread's blocked time is split exactly: waits by class, `short` for those too short for a
//! stack, and `unattributed` for what the wait table had no room for.

use std::collections::{BTreeMap, HashMap};

use nfslat_common::sched::wait_flags;

use super::{
    answer::{ClassRow, Evidence, FileSystemTime, GroupTimes, ProcessRow, ThreadRow, WaitDetail, WaitRow},
    classify::{Class, Group, Verdict, classify},
    identity::identify,
    units::duration,
};
use crate::model::{FileSystem, Histogram, Recording, Thread, WaitSeries};

/// Where the time of threads went.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) groups: GroupTimes,
    pub(super) classes: Vec<ClassRow>,
    pub(super) processes: Vec<ProcessRow>,
    pub(super) waits: Vec<WaitRow>,
    pub(super) threads: Vec<ThreadRow>,
    /// Threads whose states do not add up to the time they were traced.
    pub(super) gaps: Vec<String>,
}

/// What is known of the waits of one process in one class.
#[derive(Default)]
struct Waits<'r> {
    count: u64,
    total_ns: u64,
    max_ns: u64,
    histogram: Histogram,
    evidence: BTreeMap<Verdict, (u64, u64, u64)>,
    /// Time by mount point and type of the file system that was waited for.
    systems: BTreeMap<(&'r str, &'r str), u64>,
    detail: WaitDetail,
}

impl Waits<'_> {
    fn add(&mut self, count: u64, total_ns: u64, max_ns: u64) {
        self.count = self.count.saturating_add(count);
        self.total_ns = self.total_ns.saturating_add(total_ns);
        self.max_ns = self.max_ns.max(max_ns);
    }

    fn merge(&mut self, other: &Self) {
        self.add(other.count, other.total_ns, other.max_ns);
        self.histogram.merge(&other.histogram);
    }

    /// No percentile can be above the longest wait.
    fn quantile(&self, quantile: f64) -> Option<u64> {
        self.histogram.quantile(quantile).map(|ns| ns.min(self.max_ns))
    }
}

/// Verdicts, one per distinct stack and flags.
pub(super) struct Verdicts<'r> {
    recording: &'r Recording,
    known: HashMap<(Option<u32>, u32), Verdict>,
}

impl<'r> Verdicts<'r> {
    pub(super) fn new(recording: &'r Recording) -> Self {
        Self { recording, known: HashMap::new() }
    }

    /// The verdict on a series of waits.
    pub(super) fn of_series(&mut self, series: &WaitSeries) -> Verdict {
        let system = self.fault_on(series);
        let verdict = self.of(series.stack, series.flags).clone();
        match system {
            Some(system) => Verdict { class: Class::of_fault_on(&system.kind), ..verdict },
            None => verdict,
        }
    }

    /// The file system that a series of page faults on mapped files waited for, if it is known.
    fn fault_on(&mut self, series: &WaitSeries) -> Option<&'r FileSystem> {
        let device = series.device?;
        let is_fault = self.of(series.stack, series.flags).class == Class::FileFault;
        self.recording.file_systems.iter().find(|system| is_fault && system.device == device)
    }

    /// The verdict on a stack alone.
    pub(super) fn of(&mut self, stack: Option<u32>, flags: u32) -> &Verdict {
        // Only these flags can change the verdict.
        let flags = flags
            & (wait_flags::KERNEL_THREAD
                | wait_flags::IOWAIT
                | wait_flags::MEMSTALL
                | wait_flags::LOCK
                | wait_flags::MMAP_LOCK);
        let stacks = &self.recording.stacks;
        self.known
            .entry((stack, flags))
            .or_insert_with(|| classify(stack.map(|stack| stacks[stack as usize].frames.as_slice()), flags))
    }
}

/// Accounts for the time of all threads of a (validated) recording.
pub(super) fn account(recording: &Recording) -> Account {
    let mut verdicts = Verdicts::new(recording);
    let mut thread_classes = vec![BTreeMap::<Class, u64>::new(); recording.threads.len()];
    let mut waits = BTreeMap::<(u32, Class), Waits<'_>>::new();
    let mut by_stack = HashMap::new();

    for (series, (count, total_ns)) in recording.waits.iter().zip(wait_sums(recording)) {
        if count == 0 {
            continue;
        }
        let (verdict, system) = (verdicts.of_series(series), verdicts.fault_on(series));
        let process = recording.threads[series.thread as usize].process;
        let most = by_stack.entry((process, series.stack, series.flags)).or_insert((total_ns, verdict.class));
        *most = (*most).max((total_ns, verdict.class));
        add_ns(&mut thread_classes[series.thread as usize], verdict.class, total_ns);
        let row = waits.entry((process, verdict.class)).or_default();
        row.add(count, total_ns, series.max_ns);
        let (evidence_count, evidence_ns, evidence_max) = row.evidence.entry(verdict).or_default();
        *evidence_count = evidence_count.saturating_add(count);
        *evidence_ns = evidence_ns.saturating_add(total_ns);
        *evidence_max = series.max_ns.max(*evidence_max);
        note_flags(&mut row.detail, series.flags, count, total_ns);
        if let Some(system) = system {
            let sum = row.systems.entry((system.mount_point.as_str(), system.kind.as_str())).or_default();
            *sum = sum.saturating_add(total_ns);
        }
    }
    for slice in &recording.slices {
        for part in &slice.wait_histograms {
            // A histogram knows no device. If one stack waited for several, it counts for the worst.
            let class = match by_stack.get(&(part.process, part.stack, part.flags)) {
                Some((_, class)) => *class,
                None => verdicts.of(part.stack, part.flags).class,
            };
            if let Some(row) = waits.get_mut(&(part.process, class)) {
                row.histogram.merge(&part.histogram);
            }
        }
    }

    let mut account = Account::default();
    for (thread, classes) in recording.threads.iter().zip(&mut thread_classes) {
        let times = &thread.times;
        if times.short_ns > 0 {
            add_ns(classes, Class::Short, times.short_ns);
            let row = waits.entry((thread.process, Class::Short)).or_default();
            row.add(times.short_count, times.short_ns, 0);
        }
        let classified = classes.values().fold(0_u64, |sum, &ns| sum.saturating_add(ns));
        let rest = times.blocked_ns.saturating_sub(classified);
        if rest > 0 {
            add_ns(classes, Class::Unattributed, rest);
            waits.entry((thread.process, Class::Unattributed)).or_default().add(0, rest, 0);
        }
        if let Some(gap_ns) = gap(thread, classified) {
            account.gaps.push(format!("{} {} by {}", thread.comm, thread.tid, duration(gap_ns)));
        }
    }
    account.threads = thread_rows(recording, thread_classes);
    account.processes = process_rows(recording, &waits);
    account.classes = class_rows(&waits);
    account.waits = wait_rows(recording, waits);
    for process in &account.processes {
        for group in Group::ALL {
            account.groups.add(group, process.groups.get(group));
        }
    }
    account
}

/// Count and sum of every wait series over all slices.
pub(super) fn wait_sums(recording: &Recording) -> Vec<(u64, u64)> {
    let mut sums = vec![(0_u64, 0_u64); recording.waits.len()];
    for part in recording.slices.iter().flat_map(|slice| &slice.waits) {
        let (count, total_ns) = &mut sums[part.wait as usize];
        *count = count.saturating_add(part.count);
        *total_ns = total_ns.saturating_add(part.total_ns);
    }
    sums
}

fn add_ns(classes: &mut BTreeMap<Class, u64>, class: Class, ns: u64) {
    let sum = classes.entry(class).or_default();
    *sum = sum.saturating_add(ns);
}

fn note_flags(detail: &mut WaitDetail, flags: u32, count: u64, total_ns: u64) {
    let add = |sum: &mut u64, flag: u32, value: u64| {
        if flags & flag != 0 {
            *sum = sum.saturating_add(value);
        }
    };
    add(&mut detail.iowait_ns, wait_flags::IOWAIT, total_ns);
    add(&mut detail.memstall_ns, wait_flags::MEMSTALL, total_ns);
    add(&mut detail.pressure_ns, wait_flags::IOWAIT | wait_flags::MEMSTALL, total_ns);
    add(&mut detail.uninterruptible_ns, wait_flags::UNINTERRUPTIBLE, total_ns);
    add(&mut detail.open_at_start, wait_flags::OPEN_AT_START, count);
    add(&mut detail.open_at_end, wait_flags::OPEN_AT_END, count);
}

/// By how much a thread's states do not add up to the time it was traced, or its classes exceed its
/// blocked time, if that is more than the maps' reading at slightly different times explains.
fn gap(thread: &Thread, classified_ns: u64) -> Option<u64> {
    let lived = thread.last_ns.saturating_sub(thread.first_ns);
    let tolerance = lived / 1000 + 2_000_000;
    let times = &thread.times;
    let states = times.on_cpu_ns.saturating_add(times.runnable_ns).saturating_add(times.blocked_ns);
    let gap = states.abs_diff(lived).max(classified_ns.saturating_sub(times.blocked_ns));
    (gap > tolerance).then_some(gap)
}

fn thread_rows(recording: &Recording, classes: Vec<BTreeMap<Class, u64>>) -> Vec<ThreadRow> {
    let mut rows: Vec<_> = recording
        .threads
        .iter()
        .zip(classes)
        .map(|(thread, classes)| ThreadRow {
            pid: recording.processes[thread.process as usize].pid,
            tid: thread.tid,
            comm: thread.comm.clone(),
            window_ns: thread.last_ns.saturating_sub(thread.first_ns),
            on_cpu_ns: thread.times.on_cpu_ns,
            runnable_ns: thread.times.runnable_ns,
            blocked_ns: thread.times.blocked_ns,
            classes,
        })
        .collect();
    rows.sort_by_key(|row| (row.pid, row.tid));
    rows
}

fn process_rows(recording: &Recording, waits: &BTreeMap<(u32, Class), Waits<'_>>) -> Vec<ProcessRow> {
    let mut rows: Vec<_> = recording
        .processes
        .iter()
        .map(|process| ProcessRow {
            pid: process.pid,
            comm: process.comm.clone(),
            exe: process.exe.clone(),
            cgroup: process.cgroup.clone(),
            kernel: process.kernel,
            identity: process.identity.as_ref().map(|identity| identify(&process.comm, process.pid, identity)),
            threads: 0,
            window_ns: 0,
            on_cpu_ns: 0,
            runnable_ns: 0,
            blocked_ns: 0,
            groups: GroupTimes::default(),
        })
        .collect();
    for thread in &recording.threads {
        let row = &mut rows[thread.process as usize];
        let lived = thread.last_ns.saturating_sub(thread.first_ns);
        row.threads += 1;
        row.window_ns = row.window_ns.saturating_add(lived);
        row.on_cpu_ns = row.on_cpu_ns.saturating_add(thread.times.on_cpu_ns);
        row.runnable_ns = row.runnable_ns.saturating_add(thread.times.runnable_ns);
        row.blocked_ns = row.blocked_ns.saturating_add(thread.times.blocked_ns);
        row.groups.add(Group::Cpu, thread.times.runnable_ns);
    }
    for (&(process, class), sum) in waits {
        rows[process as usize].groups.add(class.group(), sum.total_ns);
    }
    rows.sort_by_key(|row| (std::cmp::Reverse(row.groups.stalled()), row.pid));
    rows
}

fn class_rows(waits: &BTreeMap<(u32, Class), Waits<'_>>) -> Vec<ClassRow> {
    let mut classes = BTreeMap::<Class, Waits<'_>>::new();
    for (&(_, class), sum) in waits {
        classes.entry(class).or_default().merge(sum);
    }
    let mut rows: Vec<_> = classes
        .into_iter()
        .map(|(class, sum)| ClassRow {
            class,
            group: class.group(),
            count: sum.count,
            total_ns: sum.total_ns,
            p50: sum.quantile(0.5),
            p99: sum.quantile(0.99),
            max: sum.max_ns,
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.total_ns), row.class));
    rows
}

fn wait_rows(recording: &Recording, waits: BTreeMap<(u32, Class), Waits<'_>>) -> Vec<WaitRow> {
    let mut rows: Vec<_> = waits
        .into_iter()
        .map(|((process, class), mut sum)| {
            let process = &recording.processes[process as usize];
            let mut detail = std::mem::take(&mut sum.detail);
            detail.evidence = evidence_rows(std::mem::take(&mut sum.evidence));
            detail.file_systems = system_rows(std::mem::take(&mut sum.systems));
            WaitRow {
                pid: process.pid,
                comm: process.comm.clone(),
                class,
                group: class.group(),
                count: sum.count,
                total_ns: sum.total_ns,
                p50: sum.quantile(0.5),
                p99: sum.quantile(0.99),
                max: sum.max_ns,
                detail,
            }
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.total_ns), row.pid, row.class));
    rows
}

fn system_rows(systems: BTreeMap<(&str, &str), u64>) -> Vec<FileSystemTime> {
    let row = |((mount_point, kind), total_ns): ((&str, &str), u64)| FileSystemTime {
        mount_point: mount_point.to_owned(),
        kind: kind.to_owned(),
        total_ns,
    };
    let mut rows: Vec<_> = systems.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.total_ns));
    rows.truncate(WaitDetail::MAX_EVIDENCE);
    rows
}

fn evidence_rows(evidence: BTreeMap<Verdict, (u64, u64, u64)>) -> Vec<Evidence> {
    let mut rows: Vec<_> = evidence
        .into_iter()
        .map(|(verdict, (count, total_ns, max_ns))| Evidence {
            mode: verdict.mode,
            lock_seen: verdict.lock_seen,
            frame: verdict.frame,
            caller: verdict.caller,
            context: verdict.context,
            count,
            total_ns,
            max_ns,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.total_ns));
    rows.truncate(WaitDetail::MAX_EVIDENCE);
    rows
}
