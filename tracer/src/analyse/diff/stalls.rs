//! Time in which threads were stalled, by group of causes: for a second of wall time, and for an NFS call. Who does more is
//! stalled more, without being slower.

use serde::Serialize;

use super::calls::ENOUGH_CALLS;
use crate::analyse::{Answer, classify::Group};

/// A difference of this many threads at once is worth naming.
const MATTERS: f64 = 0.05;

/// And if one has so many times the other's, for a call as well.
const TIMES: f64 = 2.0;

/// One group of causes in both recordings. How many threads at once, on average, were stalled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StallRow {
    /// The group.
    #[serde(serialize_with = "name_of")]
    pub group: Group,
    /// In the first.
    pub a_at_once: f64,
    /// In the second.
    pub b_at_once: f64,
    /// Stalled for each NFS call in the first; `null` if it made too few to tell how much it did. So with the second.
    pub a_ns_per_call: Option<f64>,
    /// In the second.
    pub b_ns_per_call: Option<f64>,
}

impl StallRow {
    /// 1 if the second is stalled far more, -1 if the first is, else 0.
    pub(super) fn sign(self) -> i32 {
        let far = |a: f64, b: f64| a.max(b) >= TIMES * a.min(b);
        let (a, b) = (self.a_at_once, self.b_at_once);
        let for_calls = self.a_ns_per_call.zip(self.b_ns_per_call);
        let of_the_work = for_calls.is_some_and(|(for_a, for_b)| !far(for_a, for_b) || (for_a < for_b) != (a < b));
        match (b - a).abs() >= MATTERS && far(a, b) && !of_the_work {
            false => 0,
            true if b > a => 1,
            true => -1,
        }
    }
}

fn name_of<S: serde::Serializer>(group: &Group, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(group.name())
}

/// Groups that are stalls, and any of the two has time in.
pub(super) fn rows(a: &Answer, b: &Answer) -> Vec<StallRow> {
    let at_once = |answer: &Answer, group| answer.groups.get(group) as f64 / answer.window.duration_ns.max(1) as f64;
    // Of fewer calls it is not known how much was done.
    let per_call = |answer: &Answer, group| {
        let calls = answer.rpc.iter().filter(|row| row.is_nfs()).fold(0_u64, |sum, row| sum.saturating_add(row.count));
        (calls >= ENOUGH_CALLS).then(|| answer.groups.get(group) as f64 / calls as f64)
    };
    Group::ALL
        .into_iter()
        .filter(|group| group.is_stall())
        .map(|group| StallRow {
            group,
            a_at_once: at_once(a, group),
            b_at_once: at_once(b, group),
            a_ns_per_call: per_call(a, group),
            b_ns_per_call: per_call(b, group),
        })
        .filter(|row| row.a_at_once + row.b_at_once > 0.0)
        .collect()
}
