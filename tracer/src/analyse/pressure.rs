//! Which waits the pressure files can show, and which they cannot.
//!
//! The kernel feeds them from flags of a thread, not from what it waits for (`kernel/sched/psi.c`,
//! 5.10 to 7.x): io from waits in iowait, memory from memory stalls, cpu from threads that are ready
//! to run and have no CPU. A wait without a flag shows in none, however long it is.
//!
//! What a file says cannot be computed from these sums: it is an average over CPUs, each weighted by
//! the time it was not idle (`collect_percpu_times`), and two waits at once count once on a CPU.

use serde::Serialize;

use super::{
    answer::{GroupTimes, WaitRow},
    classify::{Class, Group},
};

/// What feeds the pressure files, and what none of them shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PressureExplained {
    /// Time of traced threads that feeds io.
    pub io: Fed,
    /// Time that feeds memory.
    pub memory: Fed,
    /// Time that feeds cpu: ready to run, without a CPU.
    pub runnable_ns: u64,
    /// Time blocked in stalls: the groups storage, memory lock, memory and other lock.
    pub stalled_ns: u64,
    /// The part of it that feeds io or memory.
    pub shown_ns: u64,
    /// The part that shows in no pressure file, and its classes.
    pub not_shown: Fed,
}

/// Time, and the classes it is in, most time first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fed {
    /// The sum.
    pub total_ns: u64,
    /// Its parts.
    pub classes: Vec<ClassTime>,
}

/// Time of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClassTime {
    /// The class.
    pub class: Class,
    /// Time in it.
    pub total_ns: u64,
}

impl Fed {
    fn from(waits: &[WaitRow], part: impl Fn(&WaitRow) -> u64) -> Self {
        let mut fed = Self::default();
        for row in waits {
            let ns = part(row);
            fed.total_ns = fed.total_ns.saturating_add(ns);
            match fed.classes.iter_mut().find(|time| time.class == row.class) {
                Some(time) => time.total_ns = time.total_ns.saturating_add(ns),
                None if ns > 0 => fed.classes.push(ClassTime { class: row.class, total_ns: ns }),
                None => {}
            }
        }
        fed.classes.sort_by_key(|time| (std::cmp::Reverse(time.total_ns), time.class));
        fed
    }
}

/// Sets the waits beside the pressure files.
pub(super) fn explain(waits: &[WaitRow], groups: &GroupTimes) -> PressureExplained {
    let is_blocked_stall = |row: &WaitRow| row.group.is_stall() && row.group != Group::Cpu;
    let stalled = |row: &WaitRow| if is_blocked_stall(row) { row.total_ns } else { 0 };
    let shown = |row: &WaitRow| if is_blocked_stall(row) { row.detail.pressure_ns.min(row.total_ns) } else { 0 };
    PressureExplained {
        io: Fed::from(waits, |row| row.detail.iowait_ns),
        memory: Fed::from(waits, |row| row.detail.memstall_ns),
        runnable_ns: groups.get(Group::Cpu),
        stalled_ns: Fed::from(waits, stalled).total_ns,
        shown_ns: Fed::from(waits, shown).total_ns,
        not_shown: Fed::from(waits, |row| stalled(row) - shown(row)),
    }
}
