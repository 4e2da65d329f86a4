//! NFS calls of two recordings, operation by operation.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde::Serialize;

use super::{
    Lacking,
    bootstrap::{Sample, Shift},
    gather::{Calls, Key, PARTS, calls},
};
use crate::model::Recording;

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Too few calls, or they vary too much, to say.
    #[default]
    NotEnoughData,
    /// The second takes longer.
    Slower,
    /// The first takes longer.
    Faster,
    /// If there is one it is too small to matter.
    None,
}

/// Fewer calls than this say nothing.
pub(super) const ENOUGH_CALLS: u64 = 50;

/// Nor do calls of fewer moments (seconds, in a short recording): what they have in common may be the moment.
const ENOUGH_MOMENTS: usize = 5;

/// Sizes of calls that differ by so many bytes, and by a factor of 2, are of other work.
const OTHER_SIZE: u64 = 16 << 10;

/// Differences matter from this length on.
const MATTERS_NS: f64 = 100_000.0;

/// And from this share of the shorter of the two on.
const MATTERS_SHARE: f64 = 0.1;

/// Calls of one operation on one export. Times are of calls that were transmitted once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallRow {
    /// Server and exported path, as mounted; and where, if that is not enough to tell it from others.
    pub source: String,
    /// Operation.
    pub op: String,
    /// Calls done in the first recording.
    pub a_count: u64,
    /// In the second.
    pub b_count: u64,
    /// Calls transmitted more than once in the first.
    pub a_resent: u64,
    /// In the second.
    pub b_resent: u64,
    /// Mean size of a call and its reply in the first, bytes.
    pub a_bytes: u64,
    /// In the second.
    pub b_bytes: u64,
    /// Median from the start of a call to its transmission; `null` where a recording has none. So with the others.
    pub backlog_p50: Option<Shift>,
    /// Median from there until the reply was seen.
    pub rtt_p50: Option<Shift>,
    /// Twentieth of calls with the fastest reply.
    pub rtt_p5: Option<Shift>,
    /// Median from the reply to the end of the call.
    pub tail_p50: Option<Shift>,
    /// Median of the whole.
    pub execute_p50: Option<Shift>,
    /// The same of the slowest tenth.
    pub execute_p90: Option<Shift>,
    /// What that comes to, by the median of the whole.
    pub verdict: Difference,
    /// True if there are calls enough, of moments enough, and of like sizes.
    #[serde(skip)]
    pub(super) is_comparable: bool,
}

impl CallRow {
    /// True if a call of one moves far more than one of the other: then a difference is the work's.
    pub(super) fn is_of_other_size(&self) -> bool {
        let (less, more) = (self.a_bytes.min(self.b_bytes), self.a_bytes.max(self.b_bytes));
        more >= less.saturating_mul(2) && more - less >= OTHER_SIZE
    }
}

/// Calls of a recording, and what its moments are drawn by.
pub(super) struct Gathered {
    calls: BTreeMap<Key, Calls>,
    seed: u64,
}

impl Gathered {
    pub(super) fn of(recording: &Recording, crowded: &BTreeSet<String>) -> Self {
        Self { calls: calls(recording, crowded), seed: seed(recording) }
    }
}

/// Operations that both recordings have, most calls first.
pub(super) fn rows(a: &Gathered, b: &Gathered) -> Vec<CallRow> {
    let common = a.calls.iter().filter_map(|(key, calls)| Some((key, calls, b.calls.get(key)?)));
    let mut rows: Vec<_> = common.map(|(key, first, second)| row(key, (first, a.seed), (second, b.seed))).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.a_count.saturating_add(row.b_count)));
    rows
}

/// Operations that one recording has and the other lacks.
pub(super) fn only_in_one(a: &Gathered, b: &Gathered) -> Vec<Lacking> {
    let lacking = |(source, op): &Key, a_count, b_count| {
        let (source, op) = (source.clone(), op.clone());
        Lacking { source, op, a_count, b_count }
    };
    let alone = |one: &'_ Gathered, other: &Gathered| -> Vec<(Key, u64)> {
        let calls = one.calls.iter().filter(|(key, _)| !other.calls.contains_key(*key));
        calls.map(|(key, calls)| (key.clone(), calls.count)).collect()
    };
    let first = alone(a, b).into_iter().map(|(key, count)| lacking(&key, count, 0)).collect::<Vec<_>>();
    let second = alone(b, a).into_iter().map(|(key, count)| lacking(&key, 0, count));
    first.into_iter().chain(second).collect()
}

/// Another one for each recording, and always the same for one: an answer can be repeated, and two recordings are not drawn
/// from alike.
fn seed(recording: &Recording) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&recording.host.boot_id, &recording.host.hostname, recording.window.start_mono_ns).hash(&mut hasher);
    hasher.finish()
}

fn row((source, op): &Key, (a, seed_a): (&Calls, u64), (b, seed_b): (&Calls, u64)) -> CallRow {
    let bytes = |calls: &Calls| calls.bytes / calls.count.saturating_add(calls.resent).max(1);
    let has_enough = |calls: &Calls| calls.count >= ENOUGH_CALLS && calls.used >= ENOUGH_MOMENTS;
    let enough = has_enough(a) && has_enough(b);
    // What is not enough is not drawn from: that costs most, and there may be many such operations.
    let shift = |part: usize, quantile: f64| {
        let first = enough.then(|| Sample::of(&a.parts[part], a.moments, quantile, seed_a)).flatten()?;
        Some(first.shift_to(&Sample::of(&b.parts[part], b.moments, quantile, seed_b)?))
    };
    let mut row = CallRow {
        source: source.clone(),
        op: op.clone(),
        a_count: a.count,
        b_count: b.count,
        a_resent: a.resent,
        b_resent: b.resent,
        a_bytes: bytes(a),
        b_bytes: bytes(b),
        backlog_p50: shift(0, 0.5),
        rtt_p50: shift(1, 0.5),
        rtt_p5: shift(1, 0.05),
        tail_p50: shift(2, 0.5),
        execute_p50: shift(PARTS - 1, 0.5),
        execute_p90: shift(PARTS - 1, 0.9),
        verdict: Difference::NotEnoughData,
        is_comparable: false,
    };
    row.is_comparable = enough && row.execute_p50.is_some() && !row.is_of_other_size();
    row.verdict = row.execute_p50.filter(|_| row.is_comparable).map_or(Difference::NotEnoughData, difference);
    row
}

/// What a shift comes to: it has to be certain, and large enough to matter.
pub(super) fn difference(shift: Shift) -> Difference {
    let matters = (shift.a_ns.min(shift.b_ns) as f64 * MATTERS_SHARE).max(MATTERS_NS);
    let (low, high) = (shift.low_ns as f64, shift.high_ns as f64);
    if low > 0.0 && shift.shift_ns as f64 >= matters {
        Difference::Slower
    } else if high < 0.0 && shift.shift_ns as f64 <= -matters {
        Difference::Faster
    } else if low > -matters && high < matters {
        Difference::None
    } else {
        Difference::NotEnoughData
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_to_be_certain_and_to_matter() {
        let of = |a_ns: u64, shift_ns: i64, low_ns: i64, high_ns: i64| {
            let b_ns = a_ns.saturating_add_signed(shift_ns);
            difference(Shift { a_ns, b_ns, shift_ns, low_ns, high_ns })
        };
        assert_eq!(of(1_000_000, 500_000, 400_000, 600_000), Difference::Slower);
        assert_eq!(of(1_000_000, -500_000, -600_000, -400_000), Difference::Faster);
        // Certain, but a twentieth.
        assert_eq!(of(10_000_000, 500_000, 400_000, 600_000), Difference::None);
        // Large, but uncertain.
        assert_eq!(of(1_000_000, 500_000, -100_000, 900_000), Difference::NotEnoughData);
        assert_eq!(of(20_000, 10_000, 9_000, 11_000), Difference::None);
    }
}
