//! Where the time of threads went, by group and class, and by process.

use super::{
    super::Style,
    table::{Table, cut},
};
use crate::analyse::{
    Answer,
    answer::{ClassRow, ProcessRow},
    classify::{Class, Group},
    units::{count, percent, short_duration},
};
use crate::render::escape::escape;

/// Classes shown for one group.
const CLASSES: usize = 4;

/// Processes shown.
const PROCESSES: usize = 6;

/// Columns a process's name may take.
const NAME_WIDTH: usize = 24;

/// Time by group, with the classes of each.
pub(super) fn groups(answer: &Answer, style: Style) -> String {
    if answer.threads.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["<TIME OF ALL THREADS", "total", "at once", "waits", "p50", "p99", "max", "<mostly"]);
    for group in Group::ALL {
        let total = answer.groups.get(group);
        // Whether it is storage or memory locks is what the tool is asked: a 0 answers it too.
        if total == 0 && !matches!(group, Group::Storage | Group::MemoryLock) {
            continue;
        }
        let classes: Vec<_> = answer.classes.iter().filter(|row| row.group == group).collect();
        let mut cells = vec![group.title().to_owned(), short_duration(total), average(total, answer)];
        match classes.as_slice() {
            // A group of one class needs no second line.
            [only] => {
                cells[0] = if only.class.name() == group.title() {
                    cells[0].clone()
                } else {
                    format!("{}: {}", group.title(), only.class.name())
                };
                cells.extend(waits(answer, only));
                table.row(cells);
            }
            several => {
                if group == Group::Cpu {
                    cells.extend([String::new(), String::new(), String::new(), String::new()]);
                    cells.push(longest_queue(answer));
                }
                table.row(cells);
                for row in several.iter().take(CLASSES) {
                    let mut cells = vec![
                        format!("  {}", row.class.name()),
                        short_duration(row.total_ns),
                        average(row.total_ns, answer),
                    ];
                    cells.extend(waits(answer, row));
                    table.row(cells);
                }
                let rest = several.iter().skip(CLASSES);
                let more = rest.clone().count();
                if more > 0 {
                    let total = rest.fold(0_u64, |sum, row| sum.saturating_add(row.total_ns));
                    table.row([format!("  {more} more"), short_duration(total), average(total, answer)]);
                }
            }
        }
    }
    let on_cpu = answer.threads.iter().fold(0_u64, |sum, row| sum.saturating_add(row.on_cpu_ns));
    table.row(["on cpu".into(), short_duration(on_cpu), average(on_cpu, answer)]);
    table.render(style)
}

/// How many threads were in a state at any time, on average.
fn average(total_ns: u64, answer: &Answer) -> String {
    let average = total_ns as f64 / answer.window.duration_ns.max(1) as f64;
    if total_ns == 0 {
        "0".into()
    } else if average < 0.005 {
        "<0.01".into()
    } else {
        format!("{average:.2}")
    }
}

fn waits(answer: &Answer, row: &ClassRow) -> [String; 5] {
    let quantile = |value: Option<u64>| value.map_or_else(String::new, short_duration);
    let max = if row.class == Class::Short { String::new() } else { short_duration(row.max) };
    [count(row.count), quantile(row.p50), quantile(row.p99), max, mostly(answer, row)]
}

/// The process with most of a class, and its share.
fn mostly(answer: &Answer, row: &ClassRow) -> String {
    answer.waits.iter().find(|wait| wait.class == row.class).map_or_else(String::new, |wait| {
        format!("{} {}", name(&wait.comm, wait.pid), percent(wait.total_ns, row.total_ns))
    })
}

fn longest_queue(answer: &Answer) -> String {
    answer.processes.iter().max_by_key(|process| process.runnable_ns).map_or_else(String::new, |process| {
        let share = percent(process.runnable_ns, answer.groups.get(Group::Cpu));
        format!("{} {share}", name(&process.comm, process.pid))
    })
}

fn name(comm: &str, pid: u32) -> String {
    format!("{comm} ({pid})")
}

/// The processes that stalled most.
pub(super) fn processes(answer: &Answer, style: Style) -> String {
    let stalled: Vec<_> = answer.processes.iter().filter(|process| process.groups.stalled() > 0).collect();
    if stalled.is_empty() {
        return String::new();
    }
    let shown = &stalled[..stalled.len().min(PROCESSES)];
    let groups: Vec<Group> = Group::ALL.into_iter().filter(|&group| worth_a_column(group, shown)).collect();
    let mut headings = vec!["<PROCESS (stalled most)"];
    headings.extend(groups.iter().map(|&group| heading(group)));
    headings.push("on cpu");
    let mut table = Table::new(&headings);
    for process in shown {
        table.row(process_cells(process, &groups));
    }
    let mut text = table.render(style);
    let more = stalled.len().saturating_sub(PROCESSES);
    if more > 0 {
        let rest = stalled.iter().skip(PROCESSES);
        let total = rest.fold(0_u64, |sum, process| sum.saturating_add(process.groups.stalled()));
        text.push_str(&format!("{more} more stalled for {}\n", short_duration(total)));
    }
    text
}

/// Idle time is no stall. Of the rest, only storage and memory locks are shown when nobody has any:
/// for them 0 is an answer.
fn worth_a_column(group: Group, shown: &[&ProcessRow]) -> bool {
    match group {
        Group::Idle => false,
        Group::Storage | Group::MemoryLock => true,
        _ => shown.iter().any(|process| process.groups.get(group) > 0),
    }
}

fn heading(group: Group) -> &'static str {
    match group {
        Group::Storage => "storage",
        Group::MemoryLock => "mem lock",
        Group::Memory => "memory",
        Group::Cpu => "cpu q",
        Group::OtherLock => "oth lock",
        Group::Futex => "futex",
        Group::Network => "network",
        Group::Idle => "idle",
        Group::Unknown => "unknown",
    }
}

fn process_cells(process: &ProcessRow, groups: &[Group]) -> Vec<String> {
    let pid = format!(" ({})", process.pid);
    let comm = cut(&escape(&process.comm), NAME_WIDTH.saturating_sub(pid.len()));
    let mut cells = vec![format!("{comm}{pid}")];
    for &group in groups {
        cells.push(short_duration(process.groups.get(group)));
    }
    cells.push(short_duration(process.on_cpu_ns));
    cells
}
