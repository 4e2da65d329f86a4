//! Time in which threads were stalled, by group of causes, for a second of wall time.

use serde::Serialize;

use crate::analyse::{Answer, classify::Group};

/// A difference of this many threads at once is worth naming.
const MATTERS: f64 = 0.05;

/// And if one has so many times the other's.
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
}

impl StallRow {
    /// 1 if the second is stalled far more, -1 if the first is, else 0.
    pub(super) fn sign(self) -> i32 {
        let (low, high) = (self.a_at_once.min(self.b_at_once), self.a_at_once.max(self.b_at_once));
        match high - low >= MATTERS && high >= TIMES * low {
            false => 0,
            true if self.b_at_once > self.a_at_once => 1,
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
    Group::ALL
        .into_iter()
        .filter(|group| group.is_stall())
        .map(|group| StallRow { group, a_at_once: at_once(a, group), b_at_once: at_once(b, group) })
        .filter(|row| row.a_at_once + row.b_at_once > 0.0)
        .collect()
}
