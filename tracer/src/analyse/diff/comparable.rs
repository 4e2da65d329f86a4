//! What keeps two recordings from being compared, or weakens the comparison.

use super::{
    CallRow, Mode,
    places::{LOAD, PlaceRow, Which},
};
use crate::{
    analyse::{
        Answer,
        units::{count, duration},
    },
    model::Recording,
};

/// Windows whose lengths differ by more than this are not alike.
const LENGTHS: u64 = 3;

/// Shorter windows have too few moments.
const SHORT_NS: u64 = 5_000_000_000;

/// Why the two cannot be compared at all; `None` if they can.
pub(super) fn refusal(a: &Recording, b: &Recording) -> Option<String> {
    let (first, second) = (&a.options, &b.options);
    let limits = [
        ("process", first.pid.is_some(), second.pid.is_some()),
        ("thread name", first.comm.is_some(), second.comm.is_some()),
        ("cgroup", first.cgroup.is_some(), second.cgroup.is_some()),
        ("mount", first.mount.is_some(), second.mount.is_some()),
        ("command", !first.command.is_empty(), !second.command.is_empty()),
    ];
    let (what, limited, _) = limits.into_iter().find(|(_, first, second)| first != second)?;
    let one = if limited { "first" } else { "second" };
    Some(format!("only the {one} recording is limited to one {what}: record both in the same way"))
}

/// True if the windows of two machines are of the same time, for half of the shorter one at least.
pub(super) fn at_once(a: &Answer, b: &Answer, mode: Mode) -> bool {
    let end = |answer: &Answer| answer.window.start_unix_ns.saturating_add(answer.window.duration_ns);
    let overlap = end(a).min(end(b)).saturating_sub(a.window.start_unix_ns.max(b.window.start_unix_ns));
    mode == Mode::TwoHosts && overlap > 0 && overlap >= a.window.duration_ns.min(b.window.duration_ns) / 2
}

/// What weakens the comparison.
pub(super) fn warnings(a: &Answer, b: &Answer, mode: Mode, places: &[PlaceRow], calls: &[CallRow]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (answer, which) in [(a, "first"), (b, "second")] {
        if !answer.complete {
            let lost: Vec<_> = answer.losses.iter().map(|loss| loss.what.as_str()).collect();
            warnings.push(format!("the {which} recording is incomplete ({})", lost.join(", ")));
        }
        if answer.window.duration_ns < SHORT_NS {
            let length = duration(answer.window.duration_ns);
            warnings.push(format!("the {which} recording is only {length} long"));
        }
    }
    let (first, second) = (a.window.duration_ns, b.window.duration_ns);
    if first.max(second) > first.min(second).saturating_mul(LENGTHS) {
        warnings.push(format!("one is {} long, the other {}", duration(first), duration(second)));
    }
    if mode == Mode::TwoHosts && !at_once(a, b, mode) {
        warnings.push("they are not of the same time: the server and the network may have changed in between".into());
    }
    if mode == Mode::SameHost && a.window.start_unix_ns > b.window.start_unix_ns {
        warnings.push("the first recording is the later one: what is called before came after".into());
    }
    for row in calls.iter().filter(|row| row.is_of_other_size()) {
        let (a, b) = (count(row.a_bytes), count(row.b_bytes));
        warnings.push(format!("{} on {} is of {a} and {b} bytes a call: not compared", row.op, row.source));
    }
    if a.options.min_wait_ns != b.options.min_wait_ns {
        warnings.push("waits were looked at from different lengths on (--min-wait)".into());
    }
    for place in places {
        let (own, other) = match place.slower {
            Some(Which::A) => (place.a_rate, place.b_rate),
            Some(Which::B) => (place.b_rate, place.a_rate),
            None => (place.a_rate.max(place.b_rate), place.a_rate.min(place.b_rate)),
        };
        if own >= other * LOAD && own > 0.0 {
            let which = if place.slower.is_some() { "the slower one" } else { "one" };
            warnings.push(format!(
                "on {} {which} makes {own:.1} calls a second, the other {other:.1}: load makes calls slower by itself",
                place.source
            ));
        }
    }
    warnings
}
