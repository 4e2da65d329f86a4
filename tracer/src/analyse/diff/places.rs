//! What the calls of one export come to: by how much they are slower, and in which part.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    bootstrap::Shift,
    calls::{CallRow, Difference, difference},
    gather::place,
};
use crate::{
    analyse::{
        Answer,
        layers::{LayersRow, Verdict},
    },
    model::Mount,
};

/// The network path is it if at least this share of the shift of replies is in TCP's round trip, or in the fastest calls.
const OF_THE_PATH: f64 = 0.5;

/// Where a machine's calls take longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// Between this machine and the server.
    NetworkPath,
    /// The path or the server: not told apart by what was measured.
    NetworkOrServer,
    /// The server, or the transfer of data: the path is as short as the other's.
    Server,
    /// Before calls are sent.
    ClientQueue,
    /// After their replies.
    Receive,
    /// Packets are lost.
    Loss,
    /// The server gave no answer, or asked to try again later.
    Unanswered,
}

/// Calls on one export. Shifts are means of the operations' medians, weighted by the calls that both have; the intervals
/// are means likewise, which makes them wider than need be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlaceRow {
    /// Server and exported path, as mounted; and where, if that is not enough to tell it from others.
    pub source: String,
    /// Mount point in the first recording.
    pub a_mount: String,
    /// In the second.
    pub b_mount: String,
    /// Calls a second in the first, of operations that both have.
    pub a_rate: f64,
    /// In the second.
    pub b_rate: f64,
    /// Operations compared.
    pub operations: u64,
    /// Those of them that take longer in the second.
    pub slower: u64,
    /// Those that take longer in the first.
    pub faster: u64,
    /// From the start of a call to its transmission.
    pub backlog: Option<Shift>,
    /// From there until the reply was seen.
    pub rtt: Option<Shift>,
    /// The fastest twentieth of that.
    pub rtt_fastest: Option<Shift>,
    /// From the reply to the end of the call.
    pub tail: Option<Shift>,
    /// The whole.
    pub execute: Option<Shift>,
    /// TCP's shortest round trip in the first.
    pub a_tcp_min_rtt_ns: Option<u64>,
    /// In the second.
    pub b_tcp_min_rtt_ns: Option<u64>,
    /// What the first recording's own answer says of the mount.
    pub a_verdict: Verdict,
    /// What the second's says.
    pub b_verdict: Verdict,
    /// What that comes to.
    pub verdict: Difference,
    /// Where the slower machine takes longer; `null` if none is slower.
    pub part: Option<Where>,
}

/// One row for each export that both have calls on.
///
/// `at_once`: they are two machines at the same time. Then a server that answers one of them at once does not keep the
/// other waiting for each call.
pub(super) fn rows(
    calls: &[CallRow],
    crowded: &BTreeSet<String>,
    (a, b): (&Answer, &Answer),
    at_once: bool,
) -> Vec<PlaceRow> {
    let mut sources: Vec<&str> = calls.iter().map(|row| row.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    sources.into_iter().map(|source| row(source, calls, crowded, (a, b), at_once)).collect()
}

fn row(
    source: &str,
    calls: &[CallRow],
    crowded: &BTreeSet<String>,
    (a, b): (&Answer, &Answer),
    at_once: bool,
) -> PlaceRow {
    let here: Vec<&CallRow> = calls.iter().filter(|row| row.source == source).collect();
    let compared: Vec<&CallRow> =
        here.iter().copied().filter(|row| row.verdict != Difference::NotEnoughData || has_calls(row)).collect();
    let mean = |part: fn(&CallRow) -> Option<Shift>| weighted(&compared, part);
    let of_verdict = |wanted| compared.iter().filter(|row| row.verdict == wanted).count() as u64;
    let rate = |answer: &Answer, count: fn(&CallRow) -> u64| {
        here.iter().map(|row| count(row)).sum::<u64>() as f64 / (answer.window.duration_ns.max(1) as f64 / 1e9)
    };
    let mount_of = |answer: &Answer| {
        let mount = answer.mounts.iter().find(|mount| place(mount, crowded) == source);
        mount.map(Mount::name).unwrap_or_default()
    };
    let (a_mount, b_mount) = (mount_of(a), mount_of(b));
    let (a_layers, b_layers) = (layers(a, &a_mount), layers(b, &b_mount));
    let mut row = PlaceRow {
        source: source.to_owned(),
        a_mount,
        b_mount,
        a_rate: rate(a, |row| row.a_count),
        b_rate: rate(b, |row| row.b_count),
        operations: compared.len() as u64,
        slower: of_verdict(Difference::Slower),
        faster: of_verdict(Difference::Faster),
        backlog: mean(|row| row.backlog_p50),
        rtt: mean(|row| row.rtt_p50),
        rtt_fastest: mean(|row| row.rtt_p5),
        tail: mean(|row| row.tail_p50),
        execute: mean(|row| row.execute_p50),
        a_tcp_min_rtt_ns: a_layers.and_then(|row| row.tcp_min_rtt_ns),
        b_tcp_min_rtt_ns: b_layers.and_then(|row| row.tcp_min_rtt_ns),
        a_verdict: a_layers.map(|row| row.verdict).unwrap_or_default(),
        b_verdict: b_layers.map(|row| row.verdict).unwrap_or_default(),
        verdict: Difference::NotEnoughData,
        part: None,
    };
    row.verdict = match (compared.is_empty(), row.execute) {
        (false, Some(shift)) => difference(shift),
        _ => Difference::NotEnoughData,
    };
    row.part = part(&row, at_once);
    row
}

/// True if there are calls enough; then it was their variance that left the question open.
fn has_calls(row: &CallRow) -> bool {
    row.execute_p50.is_some() && row.a_count.min(row.b_count) >= 50
}

/// The mean of a shift over operations, each by the calls that both recordings have of it.
fn weighted(rows: &[&CallRow], part: fn(&CallRow) -> Option<Shift>) -> Option<Shift> {
    let shifts: Vec<(f64, Shift)> =
        rows.iter().filter_map(|row| Some((row.a_count.min(row.b_count) as f64, part(row)?))).collect();
    let all: f64 = shifts.iter().map(|(weight, _)| weight).sum();
    if all <= 0.0 {
        return None;
    }
    let mean = |value: fn(&Shift) -> f64| shifts.iter().map(|(weight, shift)| weight * value(shift)).sum::<f64>() / all;
    Some(Shift {
        a_ns: mean(|shift| shift.a_ns as f64).round() as u64,
        b_ns: mean(|shift| shift.b_ns as f64).round() as u64,
        shift_ns: mean(|shift| shift.shift_ns as f64).round() as i64,
        low_ns: mean(|shift| shift.low_ns as f64).round() as i64,
        high_ns: mean(|shift| shift.high_ns as f64).round() as i64,
    })
}

/// Where the slower one of the two takes longer.
fn part(row: &PlaceRow, at_once: bool) -> Option<Where> {
    let sign = match row.verdict {
        Difference::Slower => 1.0,
        Difference::Faster => -1.0,
        _ => return None,
    };
    let (own, other) = if sign > 0.0 { (row.b_verdict, row.a_verdict) } else { (row.a_verdict, row.b_verdict) };
    match own {
        Verdict::NoAnswer | Verdict::PutOff if own != other => return Some(Where::Unanswered),
        Verdict::Loss if own != other => return Some(Where::Loss),
        _ => {}
    }
    let of = |shift: Option<Shift>| shift.map_or(0.0, |shift| sign * shift.shift_ns as f64);
    let (backlog, rtt, tail) = (of(row.backlog), of(row.rtt), of(row.tail));
    if backlog >= rtt && backlog >= tail {
        return Some(Where::ClientQueue);
    }
    if tail >= rtt {
        return Some(Where::Receive);
    }
    let tcp = row.a_tcp_min_rtt_ns.zip(row.b_tcp_min_rtt_ns).map(|(a, b)| sign * (b as f64 - a as f64));
    Some(match tcp {
        Some(tcp) if tcp >= OF_THE_PATH * rtt => Where::NetworkPath,
        // TCP's shortest round trip may be older than what made the path longer; then even the fastest calls take longer.
        _ if of(row.rtt_fastest) >= OF_THE_PATH * rtt && at_once => Where::NetworkPath,
        _ if of(row.rtt_fastest) >= OF_THE_PATH * rtt => Where::NetworkOrServer,
        Some(_) => Where::Server,
        None => Where::NetworkOrServer,
    })
}

fn layers<'a>(answer: &'a Answer, mount: &str) -> Option<&'a LayersRow> {
    answer.layers.iter().find(|row| row.mounts.iter().any(|other| other == mount))
}
