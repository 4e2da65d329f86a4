//! Which waits to show.

use std::collections::BTreeMap;

use super::{frames::named, gather::Wait};
use crate::analyse::classify::{Class, Group};

/// What to show. Filters of one kind widen each other, those of different kinds narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these processes.
    pub pids: Vec<u32>,
    /// Only these threads.
    pub tids: Vec<u32>,
    /// Only threads of these names, and processes of these names.
    pub comms: Vec<String>,
    /// Only these classes, and those of `groups`.
    pub classes: Vec<Class>,
    /// Only classes of these groups, and `classes`.
    pub groups: Vec<Group>,
    /// Show idle classes too, where neither `classes` nor `groups` decide.
    pub idle: bool,
    /// Add a level for the thread.
    pub threads: bool,
    /// Long waits, with who ended them.
    pub wakers: bool,
}

/// Why there is nothing to show. What there is instead comes with its blocked time, most first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Empty {
    /// No thread was blocked at all.
    NothingBlocked,
    /// The recording names no wakers.
    NoWakers,
    /// None of the processes, threads or names was blocked; these processes were.
    NoSuchProcess(Vec<(String, u64)>),
    /// Nothing waited in the classes asked for; these are the classes there are.
    NoSuchClass(Vec<(String, u64)>),
    /// All of it is idle.
    OnlyIdle(u64),
    /// The sum is beyond what a clock can show: the recording was not made by measuring.
    Impossible,
}

/// Keeps what is selected; gives the time in idle classes that was left out with it.
pub(super) fn select<'r>(waits: Vec<Wait<'r>>, selection: &Selection) -> Result<(Vec<Wait<'r>>, u64), Empty> {
    let waits = keep(
        waits,
        |wait| selection.has_thread(wait),
        |there| Empty::NoSuchProcess(sums(there, |wait| named(&wait.process.comm, wait.process.pid))),
    )?;
    if selection.names_classes() {
        let no_class = |there: &[Wait<'_>]| Empty::NoSuchClass(sums(there, |wait| wait.class.name().into()));
        return Ok((keep(waits, |wait| selection.has_class(wait.class), no_class)?, 0));
    }
    if selection.idle {
        return Ok((waits, 0));
    }
    let is_idle = |wait: &Wait<'_>| wait.class.group() == Group::Idle;
    let idle_ns = total(waits.iter().filter(|wait| is_idle(wait)));
    let waits = keep(waits, |wait| !is_idle(wait), |_| Empty::OnlyIdle(idle_ns))?;
    Ok((waits, idle_ns))
}

impl Selection {
    /// True if classes or groups are asked for by name: then these decide, also about idle ones.
    #[must_use]
    pub fn names_classes(&self) -> bool {
        !self.classes.is_empty() || !self.groups.is_empty()
    }

    fn has_class(&self, class: Class) -> bool {
        self.classes.contains(&class) || self.groups.contains(&class.group())
    }

    fn has_thread(&self, wait: &Wait<'_>) -> bool {
        let is_named =
            |name: &String| *name == wait.process.comm || wait.thread.is_some_and(|thread| thread.comm == *name);
        (self.pids.is_empty() || self.pids.contains(&wait.process.pid))
            && (self.tids.is_empty() || wait.thread.is_some_and(|thread| self.tids.contains(&thread.tid)))
            && (self.comms.is_empty() || self.comms.iter().any(is_named))
    }
}

fn keep<'r>(
    mut waits: Vec<Wait<'r>>,
    wanted: impl Fn(&Wait<'r>) -> bool,
    empty: impl Fn(&[Wait<'r>]) -> Empty,
) -> Result<Vec<Wait<'r>>, Empty> {
    if !waits.iter().any(&wanted) {
        return Err(empty(&waits));
    }
    waits.retain(wanted);
    Ok(waits)
}

fn total<'a, 'r: 'a>(waits: impl Iterator<Item = &'a Wait<'r>>) -> u64 {
    waits.fold(0, |sum, wait| sum.saturating_add(wait.waits.total_ns))
}

/// Blocked time by name, most first.
fn sums(waits: &[Wait<'_>], name: impl Fn(&Wait<'_>) -> String) -> Vec<(String, u64)> {
    let mut sums = BTreeMap::<String, u64>::new();
    for wait in waits {
        let sum = sums.entry(name(wait)).or_default();
        *sum = sum.saturating_add(wait.waits.total_ns);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
    sums
}
