//! For how much of the window at least one thread waited for storage, and for a memory lock.
//!
//! That is what the pressure files call *some*, for what they cannot show: they know no locks, and no waits for
//! an answer of an NFS server. It is not quite the same figure: a file averages over CPUs, each weighted by the time
//! it was not idle (`collect_percpu_times` in `kernel/sched/psi.c`), and this is time on the clock.

use serde::Serialize;

use super::{account::Verdicts, answer::GroupTimes, classify::Group};
use crate::model::{Recording, Span};

/// For how much of the window at least one traced thread waited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SomeThread {
    /// Waits from this length on are in it.
    pub min_wait_ns: u64,
    /// Waits for storage.
    pub storage: SomeTime,
    /// Waits for a memory lock.
    pub memory_lock: SomeTime,
}

/// For how much of the window at least one traced thread waited for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SomeTime {
    /// Time during which at least one did, as far as the longer waits tell.
    pub some_ns: u64,
    /// The same as a share of the window, 0 to 1.
    pub share_of_wall: f64,
    /// Number of waits that this rests on.
    pub waits: u64,
    /// Sum of those.
    pub summed_ns: u64,
    /// Waits of the group that are not in it, summed: too short, not in uninterruptible sleep, lost,
    /// or the shortest of very many.
    pub left_out_ns: u64,
    /// With those it can be this much at most: as if they were never at the same time as any other.
    pub at_most_ns: u64,
}

impl SomeTime {
    fn of(spans: Vec<Span>, (waits, summed_ns): (u64, u64), window_ns: u64, group_ns: u64) -> Self {
        let some_ns = union_ns(spans, window_ns);
        let left_out_ns = group_ns.saturating_sub(summed_ns);
        Self {
            some_ns,
            share_of_wall: if window_ns == 0 { 0.0 } else { some_ns as f64 / window_ns as f64 },
            waits,
            summed_ns,
            left_out_ns,
            at_most_ns: some_ns.saturating_add(left_out_ns).min(window_ns),
        }
    }
}

/// Puts the waits of all threads on one line of time; `None` if the recording does not say when they were.
pub(super) fn some_thread(recording: &Recording, groups: &GroupTimes) -> Option<SomeThread> {
    let min_wait_ns = recording.span_min_ns?;
    let mut verdicts = Verdicts::new(recording);
    let mut of_group = |group: Group| {
        let (mut spans, mut waits, mut summed_ns) = (Vec::new(), 0_u64, 0_u64);
        for part in recording.slices.iter().flat_map(|slice| &slice.spans) {
            if verdicts.of(part.stack, part.flags).class.group() == group {
                spans.extend(part.spans());
                waits = waits.saturating_add(part.count);
                summed_ns = summed_ns.saturating_add(part.total_ns);
            }
        }
        SomeTime::of(spans, (waits, summed_ns), recording.window.duration_ns, groups.get(group))
    };
    Some(SomeThread { min_wait_ns, storage: of_group(Group::Storage), memory_lock: of_group(Group::MemoryLock) })
}

/// Time within the window that at least one of the stretches covers.
fn union_ns(mut spans: Vec<Span>, window_ns: u64) -> u64 {
    spans.sort_unstable();
    let (mut covered_ns, mut until_ns) = (0, 0);
    for (begin_ns, end_ns) in spans {
        let (begin_ns, end_ns) = (begin_ns.max(until_ns), end_ns.min(window_ns));
        if begin_ns < end_ns {
            covered_ns += end_ns - begin_ns;
            until_ns = end_ns;
        }
    }
    covered_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: u64 = 1_000;

    #[test]
    fn what_overlaps_counts_once_and_what_lies_outside_not_at_all() {
        assert_eq!(union_ns(vec![], WINDOW), 0);
        assert_eq!(union_ns(vec![(10, 20), (15, 30), (12, 13), (40, 50)], WINDOW), 30);
        assert_eq!(union_ns(vec![(10, 20), (20, 30)], WINDOW), 20);
        assert_eq!(union_ns(vec![(990, 1_100), (2_000, 3_000), (30, 30), (9, 4)], WINDOW), 10);
        assert_eq!(union_ns(vec![(0, u64::MAX); 2], u64::MAX), u64::MAX);
    }

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0..1_200_u64, 0..400_u64).prop_map(|(begin, length)| (begin, begin + length)), 0..30)
    }

    proptest! {
        #[test]
        fn it_is_every_moment_at_which_one_waits(spans in spans()) {
            let moments = (0..WINDOW).filter(|at| spans.iter().any(|(begin, end)| (begin..end).contains(&at))).count();
            prop_assert_eq!(union_ns(spans, WINDOW), moments as u64);
        }

        #[test]
        fn it_lies_between_the_longest_and_the_sum(spans in spans()) {
            let inside = |(begin, end): &Span| (*end).min(WINDOW).saturating_sub(*begin);
            let longest = spans.iter().map(inside).max().unwrap_or(0);
            let sum: u64 = spans.iter().map(inside).sum();
            let union = union_ns(spans, WINDOW);
            prop_assert!(longest <= union && union <= sum.min(WINDOW));
        }

        #[test]
        fn order_and_doubles_change_nothing(spans in spans(), seed in any::<prop::sample::Index>()) {
            let union = union_ns(spans.clone(), WINDOW);
            let mut other = [spans.clone(), spans].concat();
            let at = seed.index(other.len() + 1);
            other.rotate_left(at);
            other.reverse();
            prop_assert_eq!(union_ns(other, WINDOW), union);
        }

        #[test]
        fn one_more_never_makes_it_less(spans in spans(), more in (0..WINDOW, 0..WINDOW)) {
            let before = union_ns(spans.clone(), WINDOW);
            let after = union_ns([spans, vec![more]].concat(), WINDOW);
            prop_assert!(after >= before);
        }
    }
}
