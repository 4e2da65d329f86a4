//! Where stalled time went: one finding for each group in which a process lost time worth naming.

use super::{Effect, Finding, Layer, holders::Holders, named};
use crate::analyse::{
    answer::{Answer, Evidence, ProcessRow, WaitRow},
    classify::{Class, Group},
    units::{count, counted, duration, percent},
};

/// A process's stall in one group is worth naming from this share of the window on.
const SHARE_WORTH_NAMING: f64 = 0.01;

/// Waiting for a CPU is a part of normal life on a busy machine: this share is worth naming.
const CPU_SHARE_WORTH_NAMING: f64 = 0.05;

/// A single wait of this length is worth naming whatever its share.
const WAIT_WORTH_NAMING_NS: u64 = 100_000_000;

/// Evidence rows in a finding.
const LISTED: usize = 3;

pub(super) fn find(answer: &Answer) -> Vec<Finding> {
    let mut findings: Vec<_> =
        Group::ALL.into_iter().filter(|group| group.is_stall()).filter_map(|group| stall(answer, group)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.effect.map(|effect| effect.value)));
    findings
}

/// The finding for one group, about the process that lost most in it. A kernel thread is named
/// only if no process is: it works on behalf of others, who are seen waiting for it.
fn stall(answer: &Answer, group: Group) -> Option<Finding> {
    let mut stalled: Vec<_> =
        answer.processes.iter().filter(|process| is_worth_naming(answer, process, group)).collect();
    if stalled.iter().any(|process| !process.kernel) {
        stalled.retain(|process| !process.kernel);
    }
    stalled.sort_by_key(|process| std::cmp::Reverse(process.groups.get(group)));
    let (worst, others) = stalled.split_first()?;
    let waits: Vec<_> = answer.waits.iter().filter(|row| row.pid == worst.pid && row.group == group).collect();
    let main = waits.first().copied();
    let mut evidence = Vec::new();
    for row in waits.iter().take(LISTED) {
        evidence.push(describe(row));
    }
    let holders = Holders::of(answer, worst.pid, group);
    evidence.extend(holders.evidence());
    if group == Group::Cpu {
        evidence.push(format!(
            "{}: ready to run for {}, on a CPU for {}",
            counted(worst.threads, "thread"),
            duration(worst.runnable_ns),
            duration(worst.on_cpu_ns)
        ));
    }
    evidence.push(split(answer));
    if !others.is_empty() {
        evidence.push(also(others, group));
    }
    if holders.are_behind_storage() {
        return Some(holders.finding(answer, worst, group, evidence));
    }
    Some(Finding {
        id: match group {
            Group::Storage => "stall-storage",
            Group::MemoryLock => "stall-memory-lock",
            Group::Memory => "stall-memory",
            Group::Cpu => "stall-cpu",
            _ => "stall-kernel-lock",
        },
        claim: claim(answer, worst, group, main),
        layer: match group {
            Group::Storage => Layer::Storage,
            Group::MemoryLock => Layer::MemoryLock,
            Group::Memory => Layer::Memory,
            Group::Cpu => Layer::Cpu,
            _ => Layer::KernelLock,
        },
        subject: named(&worst.comm, worst.pid),
        effect: Some(Effect::time(worst.groups.get(group), answer)),
        evidence,
        refutes: vec![refutation(group, main, &holders).into()],
        next: next_step(group, main).into(),
    })
}

/// The tracer itself never is: what it costs is said where the cost is.
fn is_worth_naming(answer: &Answer, process: &ProcessRow, group: Group) -> bool {
    if process.pid == answer.cost.pid {
        return false;
    }
    let share = if group == Group::Cpu { CPU_SHARE_WORTH_NAMING } else { SHARE_WORTH_NAMING };
    let total = process.groups.get(group);
    (total > 0 && total as f64 >= share * answer.window.duration_ns as f64)
        || answer
            .waits
            .iter()
            .any(|row| row.pid == process.pid && row.group == group && row.max >= WAIT_WORTH_NAMING_NS)
}

fn claim(answer: &Answer, process: &ProcessRow, group: Group, main: Option<&WaitRow>) -> String {
    let total = process.groups.get(group);
    let wall = answer.window.duration_ns;
    let who = named(&process.comm, process.pid);
    let (waiter, spent) = if process.threads == 1 {
        ("it".into(), format!("{} of {} ({})", duration(total), duration(wall), percent(total, wall)))
    } else {
        let at_once = total as f64 / wall.max(1) as f64;
        (
            format!("its {}", counted(process.threads, "thread")),
            format!("{} in {} ({at_once:.2} of them at once)", duration(total), duration(wall)),
        )
    };
    let Some(main) = main else {
        return format!("CPUs are short for {who}: ready to run, {waiter} waited {spent} for one.");
    };
    let lead = match group {
        Group::Storage => "Storage holds up",
        Group::MemoryLock => "A memory lock holds up",
        Group::Memory => "Memory shortage holds up",
        _ => "A kernel lock holds up",
    };
    let class_share = percent(main.total_ns, total);
    let of_it = if main.total_ns == total { String::new() } else { format!(", {class_share} of that") };
    let by_stack = if is_told_by_stack(main) { ", as its stack tells" } else { "" };
    format!("{lead} {who}: {waiter} waited {spent}{of_it} for {}{by_stack}.", main.class.waits_for())
}

/// True if the lock was recognised by the stack only, for most of the time.
fn is_told_by_stack(row: &WaitRow) -> bool {
    let by_stack: u64 = row.detail.evidence.iter().filter(|evidence| !evidence.lock_seen).map(|e| e.total_ns).sum();
    row.group == Group::MemoryLock && by_stack > row.total_ns / 2
}

fn describe(row: &WaitRow) -> String {
    let quantiles = match (row.p50, row.p99) {
        (Some(p50), Some(p99)) => format!(", p50 {}, p99 {}", duration(p50), duration(p99)),
        _ => String::new(),
    };
    let stacks: Vec<_> = row.detail.evidence.iter().take(LISTED).map(stack).collect();
    let open = match row.detail.open_at_end {
        0 => String::new(),
        open => format!(" ({} still open at the end)", count(open)),
    };
    let systems: Vec<_> = row
        .detail
        .file_systems
        .iter()
        .take(LISTED)
        .map(|system| format!("; on {} ({}) {}", system.mount_point, system.kind, duration(system.total_ns)))
        .collect();
    format!(
        "{}: {} in {}{open}{quantiles}, longest {}; {}{}",
        row.class.name(),
        duration(row.total_ns),
        counted(row.count, "wait"),
        duration(row.max),
        stacks.join("; "),
        systems.concat()
    )
}

fn stack(evidence: &Evidence) -> String {
    let mode = evidence.mode.map_or_else(String::new, |mode| format!(", to {}", mode.name()));
    format!("{}{mode} ({})", evidence.frames(), duration(evidence.total_ns))
}

/// How the stalled time of everything traced splits: the question the tool is asked.
fn split(answer: &Answer) -> String {
    let stalled = answer.groups.stalled();
    let shares: Vec<_> = Group::ALL
        .into_iter()
        .filter(|&group| {
            group.is_stall() && (answer.groups.get(group) > 0 || matches!(group, Group::Storage | Group::MemoryLock))
        })
        .map(|group| format!("{} {}", group.title(), percent(answer.groups.get(group), stalled)))
        .collect();
    format!("of {} stalled in all: {}", duration(stalled), shares.join(", "))
}

fn also(others: &[&ProcessRow], group: Group) -> String {
    let listed: Vec<_> = others
        .iter()
        .take(LISTED)
        .map(|other| format!("{} {}", named(&other.comm, other.pid), duration(other.groups.get(group))))
        .collect();
    let more = match others.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("also {}{more}", listed.join(", "))
}

fn refutation(group: Group, main: Option<&WaitRow>, holders: &Holders<'_>) -> &'static str {
    match (group, main.map(|row| row.class)) {
        (Group::Storage, Some(class)) if class.is_nfs() => {
            "the NFS table shows no calls, or short ones only, for the same time: then the time is \
             lost inside the client"
        }
        (Group::Storage, _) => "the device answers fast over the same time (iostat -x): then the time is lost above it",
        (Group::MemoryLock, _) if main.is_some_and(is_told_by_stack) => {
            "the lock waited for is another one: a stack names who asked for a lock, not which"
        }
        (Group::MemoryLock | Group::OtherLock, _) if holders.are_known() => {
            "another run shows the holders themselves blocked for most of the time: then what they wait for is the cause"
        }
        (Group::Memory, _) => "/proc/pressure/memory stands still over the same time",
        (Group::Cpu, _) => "the second number of /proc/PID/schedstat does not grow alike",
        _ => "the holder of the lock waits for storage or memory: then that is the cause",
    }
}

fn next_step(group: Group, main: Option<&WaitRow>) -> &'static str {
    match (group, main.map(|row| row.class)) {
        (Group::Storage, Some(Class::NfsDelay)) => {
            "see the server's log: it holds its clients off (grace period after a restart, \
             delegation recall, busy file)"
        }
        (Group::Storage, Some(class)) if class.is_nfs() => {
            "see the NFS table for the operation and the part of the call that takes the time"
        }
        (Group::Storage, _) => "see which device or filesystem it is, and its own latency",
        (Group::MemoryLock, _) => {
            "see the evidence for the calls that ask for the lock; those that ask to write hold up \
             all others of the process"
        }
        (Group::Memory, _) => "see the memory and the cgroup limits of the machine (free, memory.events)",
        (Group::Cpu, _) => "see who uses the CPUs (top), the cgroup's cpu.max, and, in a guest, steal time",
        _ => "see the evidence for the function that asks for the lock",
    }
}
