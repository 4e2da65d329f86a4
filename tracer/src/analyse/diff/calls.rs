//! NFS calls of two recordings, operation by operation.

use std::{
    collections::BTreeSet,
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
const ENOUGH_CALLS: u64 = 50;

/// Nor do calls of fewer slices (about seconds): what they have in common may be the moment.
const ENOUGH_SLICES: usize = 5;

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
}

/// Operations that both recordings have, most calls first.
pub(super) fn rows(a: &Recording, b: &Recording, crowded: &BTreeSet<String>) -> Vec<CallRow> {
    let (seed_a, seed_b) = (seed(a), seed(b));
    let others = calls(b, crowded);
    let mut rows: Vec<_> = calls(a, crowded)
        .into_iter()
        .filter_map(|(key, a)| {
            let b = others.get(&key)?;
            Some(row(key, (&a, seed_a), (b, seed_b)))
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.a_count.saturating_add(row.b_count)));
    rows
}

/// Operations that one recording has and the other lacks.
pub(super) fn only_in_one(a: &Recording, b: &Recording, crowded: &BTreeSet<String>) -> Vec<Lacking> {
    let (a, b) = (calls(a, crowded), calls(b, crowded));
    let lacking =
        |(source, op): &Key, a_count, b_count| Lacking { source: source.clone(), op: op.clone(), a_count, b_count };
    let first = a.iter().filter(|(key, _)| !b.contains_key(*key)).map(|(key, calls)| lacking(key, calls.count, 0));
    let second = b.iter().filter(|(key, _)| !a.contains_key(*key)).map(|(key, calls)| lacking(key, 0, calls.count));
    first.chain(second).collect()
}

/// Another one for each recording, and always the same for one: an answer can be repeated, and two recordings are not drawn
/// from alike.
fn seed(recording: &Recording) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&recording.host.boot_id, &recording.host.hostname, recording.window.start_mono_ns).hash(&mut hasher);
    hasher.finish()
}

fn row((source, op): Key, (a, seed_a): (&Calls, u64), (b, seed_b): (&Calls, u64)) -> CallRow {
    let shift = |part: usize, quantile: f64| {
        let first = Sample::of(&a.parts[part], quantile, seed_a)?;
        Some(first.shift_to(&Sample::of(&b.parts[part], quantile, seed_b)?))
    };
    let bytes = |calls: &Calls| calls.bytes / calls.count.saturating_add(calls.resent).max(1);
    let execute_p50 = shift(PARTS - 1, 0.5);
    let enough = |calls: &Calls| calls.count >= ENOUGH_CALLS && calls.slices >= ENOUGH_SLICES;
    let verdict = execute_p50.filter(|_| enough(a) && enough(b)).map_or(Difference::NotEnoughData, difference);
    CallRow {
        source,
        op,
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
        execute_p50,
        execute_p90: shift(PARTS - 1, 0.9),
        verdict,
    }
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
