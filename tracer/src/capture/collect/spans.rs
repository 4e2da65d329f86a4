//! When the longer waits were: taken from the kernel side one by one, kept as stretches of time.
//!
//! What is kept is bounded. Of too many the longest stay, and no other figure suffers: the analysis knows from the sums
//! how long the rest was, and says how much it could add.

use std::collections::BTreeMap;

use nfslat_common::sched::{WaitSpan, wait_flags};

use crate::model::SpanSlice;

/// Stretches kept of one slice: in a file they take about 7 bytes each.
const MAX_IN_SLICE: usize = 20_000;

/// Stretches of a run from which on less is kept of each slice: in memory they take 16 bytes each.
const MANY_IN_RUN: usize = 1_000_000;

/// As much as that.
const MAX_IN_LATER_SLICE: usize = 500;

/// What makes waits one series: process, stack and flags.
pub(super) type Series = (u32, Option<u32>, u32);

/// Flags that are about the window, not about the wait.
const EDGES: u32 = wait_flags::OPEN_AT_START | wait_flags::OPEN_AT_END;

/// The stretches of a run.
#[derive(Default)]
pub(super) struct Spans {
    kept: usize,
}

/// A stretch of time in which there was always a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    begin_ns: u64,
    end_ns: u64,
    /// Waits in it.
    count: u64,
    /// Their sum.
    total_ns: u64,
}

impl Spans {
    /// Makes the waits of one slice into series of stretches. `start_ns`: of the window.
    pub(super) fn pack(
        &mut self,
        waits: &[WaitSpan],
        start_ns: u64,
        mut series: impl FnMut(&WaitSpan) -> Series,
    ) -> Vec<SpanSlice> {
        let mut by_series: BTreeMap<Series, Vec<Stretch>> = BTreeMap::new();
        for wait in waits {
            let (process, stack, flags) = series(wait);
            by_series.entry((process, stack, flags & !EDGES)).or_default().push(Stretch {
                begin_ns: wait.begin_ns.saturating_sub(start_ns),
                end_ns: wait.end_ns.saturating_sub(start_ns),
                count: 1,
                total_ns: wait.end_ns.saturating_sub(wait.begin_ns),
            });
        }
        for stretches in by_series.values_mut() {
            join(stretches);
        }
        self.limit(&mut by_series);
        by_series.into_iter().filter(|(_, stretches)| !stretches.is_empty()).map(packed).collect()
    }

    /// Leaves out the shortest if there are too many.
    fn limit(&mut self, by_series: &mut BTreeMap<Series, Vec<Stretch>>) {
        let room = if self.kept < MANY_IN_RUN { MAX_IN_SLICE } else { MAX_IN_LATER_SLICE };
        let length = |stretch: &Stretch| stretch.end_ns.saturating_sub(stretch.begin_ns);
        let mut lengths: Vec<u64> = by_series.values().flatten().map(length).collect();
        let mut excess = lengths.len().saturating_sub(room);
        self.kept += lengths.len() - excess;
        if excess == 0 {
            return;
        }
        let (_, &mut longest_out, _) = lengths.select_nth_unstable(excess - 1);
        // Of those just as long as the limit, as many go as have to.
        for at_limit in [false, true] {
            for stretches in by_series.values_mut() {
                stretches.retain(|stretch| {
                    let ns = length(stretch);
                    let goes = if at_limit { ns == longest_out && excess > 0 } else { ns < longest_out };
                    excess -= usize::from(goes);
                    !goes
                });
            }
        }
    }
}

/// Sorts, and makes one of those that overlap or touch.
fn join(stretches: &mut Vec<Stretch>) {
    stretches.sort_unstable_by_key(|stretch| (stretch.begin_ns, stretch.end_ns));
    stretches.dedup_by(|next, last| {
        let together = next.begin_ns <= last.end_ns;
        if together {
            last.end_ns = last.end_ns.max(next.end_ns);
            last.count += next.count;
            last.total_ns = last.total_ns.saturating_add(next.total_ns);
        }
        together
    });
}

fn packed(((process, stack, flags), stretches): (Series, Vec<Stretch>)) -> SpanSlice {
    let mut slice = SpanSlice { process, stack, flags, ..SpanSlice::default() };
    let mut last_end_ns = 0;
    for stretch in stretches {
        slice.push(last_end_ns, (stretch.begin_ns, stretch.end_ns));
        last_end_ns = stretch.end_ns;
        slice.count += stretch.count;
        slice.total_ns = slice.total_ns.saturating_add(stretch.total_ns);
    }
    slice
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START_NS: u64 = 1_000_000;

    fn wait(tgid: u32, begin_ns: u64, length_ns: u64) -> WaitSpan {
        let begin_ns = START_NS + begin_ns;
        WaitSpan { begin_ns, end_ns: begin_ns + length_ns, stack: 1, tgid, flags: wait_flags::UNINTERRUPTIBLE }
    }

    fn pack(spans: &mut Spans, waits: &[WaitSpan]) -> Vec<SpanSlice> {
        spans.pack(waits, START_NS, |wait| (wait.tgid, Some(0), wait.flags))
    }

    #[test]
    fn waits_at_the_same_time_are_one_stretch_of_their_process() {
        let mut edge = wait(1, 0, 3);
        edge.flags |= wait_flags::OPEN_AT_START;
        let waits = [wait(1, 10, 5), wait(2, 11, 5), wait(1, 12, 8), edge, wait(1, 20, 1), wait(1, 30, 2)];
        let slices = pack(&mut Spans::default(), &waits);
        assert_eq!(slices.len(), 2);
        assert_eq!(slices[0].spans().collect::<Vec<_>>(), [(0, 3), (10, 21), (30, 32)]);
        assert_eq!((slices[0].count, slices[0].total_ns), (5, 19));
        assert_eq!(slices[1].spans().collect::<Vec<_>>(), [(11, 16)]);
    }

    #[test]
    fn the_longest_stay() {
        let many = MAX_IN_SLICE as u64 + 3;
        let mut waits: Vec<_> = (0..many).map(|n| wait(n as u32 % 7, n * 1000, 100)).collect();
        waits[5] = wait(5, 5000, 50);
        waits[9] = wait(2, 9000, 60);
        waits[11] = wait(4, 11_000, 900);
        let mut spans = Spans::default();
        let slices = pack(&mut spans, &waits);
        assert_eq!(slices.iter().map(|slice| slice.lengths_ns.len()).sum::<usize>(), MAX_IN_SLICE);
        assert_eq!(spans.kept, MAX_IN_SLICE);
        let lengths: Vec<_> = slices.iter().flat_map(|slice| &slice.lengths_ns).collect();
        assert!(lengths.contains(&&900) && !lengths.contains(&&50) && !lengths.contains(&&60));
        assert_eq!(slices.iter().map(|slice| slice.count).sum::<u64>(), many - 3);
        // Of a long run less is kept.
        spans.kept = MANY_IN_RUN;
        let slices = pack(&mut spans, &waits);
        assert_eq!(slices.iter().map(|slice| slice.lengths_ns.len()).sum::<usize>(), MAX_IN_LATER_SLICE);
        assert!(slices.iter().any(|slice| slice.lengths_ns.contains(&900)));
    }

    proptest! {
        #[test]
        fn the_time_covered_stays_the_same(waits in prop::collection::vec((0..3_u32, 0..200_u64, 1..20_u64), 0..40)) {
            let covered = |process: u32| {
                let of_process = waits.iter().filter(|(tgid, ..)| *tgid == process);
                (0..300).filter(|at| of_process.clone().any(|(_, begin, length)| (*begin..begin + length).contains(at))).count()
            };
            let spans: Vec<_> = waits.iter().map(|&(tgid, begin, length)| wait(tgid, begin, length)).collect();
            let slices = pack(&mut Spans::default(), &spans);
            for process in 0..3 {
                let slice = slices.iter().find(|slice| slice.process == process);
                let stretches: Vec<_> = slice.iter().flat_map(|slice| slice.spans()).collect();
                prop_assert_eq!(stretches.iter().map(|(begin, end)| end - begin).sum::<u64>(), covered(process) as u64);
                prop_assert!(stretches.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
            let total: u64 = slices.iter().map(|slice| slice.total_ns).sum();
            prop_assert_eq!(total, waits.iter().map(|(_, _, length)| length).sum::<u64>());
        }
    }
}
