//! What happened beneath the threads: CPU time stolen, CPUs that stood still, direct reclaim. Said
//! only where it is large enough to matter.

use super::{Effect, Finding, Layer};
use crate::{
    analyse::{
        answer::Answer,
        classify::{Class, Group},
        units::{count, counted, duration, percent},
    },
    model::{CpuTimes, Machine, Pause, Virtualisation},
};

/// Share of the CPUs' time from which steal matters.
const STEAL_SHARE: f64 = 0.01;
/// Share of the time on the run queue from which it does, if that is worth naming itself.
const STEAL_SHARE_OF_QUEUE: f64 = 0.1;
/// Share of the window from which time on the run queue, reclaim or pauses matter.
const SHARE_OF_WALL: f64 = 0.01;
/// A pause of this length matters whatever its share.
const PAUSE_NS: u64 = 100_000_000;

pub(super) fn find(answer: &Answer) -> Vec<Finding> {
    let Some(machine) = &answer.machine else { return Vec::new() };
    [steal(answer, machine), pauses(answer, machine), reclaim(answer, machine)].into_iter().flatten().collect()
}

fn is_share(part: u64, share: f64, whole: u64) -> bool {
    part > 0 && part as f64 >= share * whole as f64
}

fn steal(answer: &Answer, machine: &Machine) -> Option<Finding> {
    let sum = |part: fn(&CpuTimes) -> u64| machine.cpus.iter().map(part).fold(0_u64, u64::saturating_add);
    let (stolen, all) = (sum(|cpu| cpu.steal_ns), sum(CpuTimes::total_ns));
    let queued = answer.groups.get(Group::Cpu);
    let worth_naming = is_share(stolen, STEAL_SHARE, all)
        || (is_share(queued, SHARE_OF_WALL, answer.window.duration_ns)
            && is_share(stolen, STEAL_SHARE_OF_QUEUE, queued));
    let worst = machine.cpus.iter().max_by_key(|cpu| cpu.steal_ns).filter(|_| worth_naming)?;
    Some(Finding {
        id: "steal",
        claim: format!(
            "The hypervisor kept this guest from its CPUs for {}: steal was {} of CPU time.",
            duration(stolen),
            percent(stolen, all)
        ),
        layer: Layer::Cpu,
        subject: hypervisor(&machine.virtualisation),
        effect: Some(Effect::time(stolen, answer)),
        evidence: vec![
            format!("/proc/stat: CPU {} lost most, {}", worst.cpu, duration(worst.steal_ns)),
            format!("all traced threads together waited {} for a CPU of the guest", duration(queued)),
            "a thread whose CPU is stolen counts as on CPU here: steal is not part of the stalls above".into(),
        ],
        refutes: vec!["the host's own accounting shows these virtual CPUs without run-queue delay".into()],
        next: "ask who runs the host about its load and about CPU limits of this guest".into(),
    })
}

fn hypervisor(virtualisation: &Virtualisation) -> String {
    let known: Vec<_> = [&virtualisation.vendor, &virtualisation.product, &virtualisation.hypervisor]
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(String::as_str)
        .collect();
    if known.is_empty() { "hypervisor".into() } else { known.join(", ") }
}

/// Time during which CPUs did not run at all. A pause between two instants is not seen, so these
/// are lower bounds.
fn pauses(answer: &Answer, machine: &Machine) -> Option<Finding> {
    let watched = machine.pauses.as_ref()?;
    let (whole, single): (Vec<&Pause>, Vec<&Pause>) = watched.seen.iter().partition(|pause| pause.cpus == watched.cpus);
    // One CPU that is late may be all there are.
    let all = watched.cpus > 1 && !whole.is_empty();
    let (seen, length): (_, fn(&Pause) -> u64) =
        if all { (whole, |pause| pause.shortest_ns) } else { ([whole, single].concat(), |pause| pause.longest_ns) };
    let sum = seen.iter().map(|pause| length(pause)).fold(0_u64, u64::saturating_add);
    let longest = seen.iter().max_by_key(|pause| length(pause))?;
    if length(longest) < PAUSE_NS && !is_share(sum, SHARE_OF_WALL, answer.window.duration_ns) {
        return None;
    }
    let who = if all { "All watched CPUs" } else { "Single CPUs" };
    let cause = if all {
        "the machine was paused by its hypervisor or firmware, or the kernel stopped every CPU"
    } else {
        "interrupts were off on them, or they were not run by the hypervisor"
    };
    Some(Finding {
        id: if all { "machine-paused" } else { "cpu-paused" },
        claim: format!(
            "{who} stood still, {} seen, {} in all, the longest {} at least: {cause}.",
            counted(seen.len() as u64, "pause"),
            duration(sum),
            duration(length(longest))
        ),
        layer: Layer::Cpu,
        subject: if all { "machine".into() } else { "CPUs".into() },
        effect: Some(Effect::time(sum, answer)),
        evidence: vec![
            format!(
                "a timer on each of {} fired late, and neither the run queue nor steal time explains it",
                counted(watched.cpus.into(), "watched CPU")
            ),
            format!("the longest began before {} into the window", duration(longest.at_ns)),
        ],
        refutes: vec![
            "the machine's log and its clock source show a jump of the clock at that time (clocksource, NTP step)"
                .into(),
            "the kernel's hardware latency tracer (hwlat) or its irqsoff tracer sees nothing while this is seen again"
                .into(),
        ],
        next: "every wait that was open at that time is longer by the pause; ask who runs the host about \
               snapshots, migration and overcommitment"
            .into(),
    })
}

/// Whether reclaim that threads waited for was the machine's lack of memory, or the limit of a
/// cgroup: of both, `allocstall_*` counts only the first (`do_try_to_free_pages` in `mm/vmscan.c`).
/// `pgscan_direct` did, too, until it became a statistic of memory nodes (7.x).
fn reclaim(answer: &Answer, machine: &Machine) -> Option<Finding> {
    let waited = answer
        .waits
        .iter()
        .filter(|row| matches!(row.class, Class::Reclaim | Class::MemcgThrottle))
        .fold(0_u64, |sum, row| sum.saturating_add(row.total_ns));
    if !is_share(waited, SHARE_OF_WALL, answer.window.duration_ns) {
        return None;
    }
    let of = |name| machine.vm(name).unwrap_or(0);
    let stalls = machine
        .vm
        .iter()
        .filter(|counter| counter.name.starts_with("allocstall_"))
        .map(|counter| counter.added)
        .reduce(u64::saturating_add)?;
    let (id, claim, refutes, next) = if stalls > 0 {
        (
            "direct-reclaim",
            format!(
                "The machine was short of memory: allocations had to reclaim pages themselves {}, while threads \
                 waited {} for reclaim.",
                counted(stalls, "time"),
                duration(waited)
            ),
            "memory.events of the cgroup counts as many limit hits (high, max) as there were waits: then its limit \
             is the larger part",
            "see what fills the memory (free, /proc/meminfo) and vm.min_free_kbytes",
        )
    } else {
        (
            "reclaim-in-cgroup",
            format!(
                "The {} that threads waited for reclaim were not for lack of memory in the machine: the kernel counts \
                 no direct reclaim outside of cgroup limits.",
                duration(waited)
            ),
            "memory.events of the cgroup counts no limit hit (high, max) over the same time: then a program asks for \
             reclaim (memory.reclaim, madvise)",
            "see memory.max, memory.high and memory.events of the process's cgroup",
        )
    };
    Some(Finding {
        id,
        claim,
        layer: Layer::Memory,
        subject: "memory".into(),
        effect: Some(Effect::time(waited, answer)),
        evidence: vec![format!(
            "/proc/vmstat: allocstall {}, pgscan_direct {}, pgsteal_direct {}, pgsteal_kswapd {}",
            count(stalls),
            count(of("pgscan_direct")),
            count(of("pgsteal_direct")),
            count(of("pgsteal_kswapd"))
        )],
        refutes: vec![refutes.into()],
        next: next.into(),
    })
}
