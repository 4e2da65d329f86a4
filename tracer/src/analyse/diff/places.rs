//! What the calls of one export come to: by how much they are slower, and in which part.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Lacking,
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
    /// It makes far more calls, and its fastest take no longer: load may be all of it. Busy is not slow.
    Load,
    /// No part of its calls tells.
    Unknown,
}

/// One of the two recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The first.
    A,
    /// The second.
    B,
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
    /// Calls a second in the first, those that only it has included.
    pub a_rate: f64,
    /// In the second.
    pub b_rate: f64,
    /// Operations compared.
    pub operations: u64,
    /// Those of them that take longer in the first.
    pub a_slower: u64,
    /// Those that take longer in the second.
    pub b_slower: u64,
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
    /// The whole, of the slowest tenth.
    pub execute_slowest: Option<Shift>,
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
    /// The one that takes longer, or has trouble that the other has not; `null` if none.
    pub slower: Option<Which>,
    /// Where; `null` if none is slower.
    pub part: Option<Where>,
}

impl PlaceRow {
    /// True if the calls of this one take longer at the median.
    pub(super) fn is_slower(&self, which: Which) -> bool {
        matches!((self.verdict, which), (Difference::Slower, Which::B) | (Difference::Faster, Which::A))
    }
}

/// So many times the other's calls are another load.
pub(super) const LOAD: f64 = 2.0;

/// What the rows are made of besides the calls.
pub(super) struct Context<'a> {
    /// Exports that are mounted several times.
    pub(super) crowded: &'a BTreeSet<String>,
    /// The first recording's own answer.
    pub(super) a: &'a Answer,
    /// The second's.
    pub(super) b: &'a Answer,
    /// Calls that only one has.
    pub(super) only_in_one: &'a [Lacking],
    /// They are two machines at the same time. Then a server that answers one of them at once does not keep the other
    /// waiting for each call.
    pub(super) at_once: bool,
}

/// One row for each export that both have calls on, or one has trouble with.
pub(super) fn rows(calls: &[CallRow], context: &Context<'_>) -> Vec<PlaceRow> {
    let mut sources: BTreeSet<String> = calls.iter().map(|row| row.source.clone()).collect();
    for answer in [context.a, context.b] {
        let troubled = answer.layers.iter().filter(|row| trouble(row.verdict).is_some());
        let mounts = troubled.flat_map(|row| answer.mounts.iter().filter(|mount| row.mounts.contains(&mount.name())));
        sources.extend(mounts.map(|mount| place(mount, context.crowded)));
    }
    sources.iter().map(|source| row(source, calls, context)).collect()
}

fn row(source: &str, calls: &[CallRow], context: &Context<'_>) -> PlaceRow {
    let here: Vec<&CallRow> = calls.iter().filter(|row| row.source == source).collect();
    let compared: Vec<&CallRow> = here.iter().copied().filter(|row| row.is_comparable).collect();
    let of_verdict = |wanted: Difference| compared.iter().copied().filter(|row| row.verdict == wanted).collect();
    let (a_slow, b_slow): (Vec<&CallRow>, Vec<&CallRow>) =
        (of_verdict(Difference::Faster), of_verdict(Difference::Slower));
    let all = weighted(&compared, |row| row.execute_p50).map_or(Difference::NotEnoughData, difference);
    // Operations that are few may be slower without moving the mean of all; and what is slower on both sides evens out.
    let (basis, verdict) = match (all, a_slow.is_empty(), b_slow.is_empty()) {
        (Difference::None, false, true) => (&a_slow, Difference::Faster),
        (Difference::None, true, false) => (&b_slow, Difference::Slower),
        (Difference::None, false, false) => (&compared, Difference::NotEnoughData),
        _ => (&compared, all),
    };
    let mean = |part: fn(&CallRow) -> Option<Shift>| weighted(basis, part);
    let rate = |answer: &Answer, common: fn(&CallRow) -> u64, alone: fn(&Lacking) -> u64| {
        let alone = context.only_in_one.iter().filter(|row| row.source == source).map(alone);
        let calls = here.iter().map(|row| common(row)).chain(alone).fold(0, u64::saturating_add);
        calls as f64 / (answer.window.duration_ns.max(1) as f64 / 1e9)
    };
    let mount_of = |answer: &Answer| {
        let mount = answer.mounts.iter().find(|mount| place(mount, context.crowded) == source);
        mount.map(Mount::name).unwrap_or_default()
    };
    let (a_mount, b_mount) = (mount_of(context.a), mount_of(context.b));
    let (a_layers, b_layers) = (layers(context.a, &a_mount), layers(context.b, &b_mount));
    let mut row = PlaceRow {
        source: source.to_owned(),
        a_mount,
        b_mount,
        a_rate: rate(context.a, |row| row.a_count, |row| row.a_count),
        b_rate: rate(context.b, |row| row.b_count, |row| row.b_count),
        operations: compared.len() as u64,
        a_slower: a_slow.len() as u64,
        b_slower: b_slow.len() as u64,
        backlog: mean(|row| row.backlog_p50),
        rtt: mean(|row| row.rtt_p50),
        rtt_fastest: mean(|row| row.rtt_p5),
        tail: mean(|row| row.tail_p50),
        execute: mean(|row| row.execute_p50),
        execute_slowest: mean(|row| row.execute_p90),
        a_tcp_min_rtt_ns: a_layers.and_then(|row| row.tcp_min_rtt_ns),
        b_tcp_min_rtt_ns: b_layers.and_then(|row| row.tcp_min_rtt_ns),
        a_verdict: a_layers.map(|row| row.verdict).unwrap_or_default(),
        b_verdict: b_layers.map(|row| row.verdict).unwrap_or_default(),
        verdict,
        slower: None,
        part: None,
    };
    (row.slower, row.part) = blame(&row, &compared, context.at_once).unzip();
    row
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

/// What a machine's own answer finds that need not show in the median.
fn trouble(verdict: Verdict) -> Option<Where> {
    match verdict {
        Verdict::NoAnswer | Verdict::PutOff => Some(Where::Unanswered),
        Verdict::Loss => Some(Where::Loss),
        _ => None,
    }
}

/// The slower one of the two, or the one that alone has trouble, and where it takes longer.
fn blame(row: &PlaceRow, compared: &[&CallRow], at_once: bool) -> Option<(Which, Where)> {
    let troubled = match (trouble(row.a_verdict), trouble(row.b_verdict)) {
        (Some(part), None) | (Some(part @ Where::Unanswered), Some(Where::Loss)) => Some((Which::A, part)),
        (None, Some(part)) | (Some(Where::Loss), Some(part @ Where::Unanswered)) => Some((Which::B, part)),
        _ => None,
    };
    let slower = match row.verdict {
        Difference::Slower => Which::B,
        Difference::Faster => Which::A,
        Difference::None | Difference::NotEnoughData => return troubled,
    };
    match troubled {
        // Of a server that does not answer, the calls that were done are those that it did answer.
        Some((which, part)) if which == slower || part == Where::Unanswered => troubled,
        _ => Some((slower, part(row, compared, slower, at_once))),
    }
}

/// Where the slower one takes longer.
fn part(row: &PlaceRow, compared: &[&CallRow], slower: Which, at_once: bool) -> Where {
    let (sign, own_rate, other_rate) = match slower {
        Which::B => (1, row.b_rate, row.a_rate),
        Which::A => (-1, row.a_rate, row.b_rate),
    };
    let of = |shift: Option<Shift>| shift.map_or(0, |shift| sign * shift.shift_ns) as f64;
    let (backlog, rtt, tail) = (of(row.backlog), of(row.rtt), of(row.tail));
    if backlog.max(rtt).max(tail) <= 0.0 {
        return Where::Unknown;
    }
    if tail >= rtt && tail >= backlog {
        return Where::Receive;
    }
    let is_no_longer = |shift: Shift| {
        let fastest = difference(shift);
        fastest != Difference::NotEnoughData && fastest != row.verdict
    };
    if own_rate >= LOAD * other_rate && row.rtt_fastest.is_some_and(is_no_longer) {
        return Where::Load;
    }
    if backlog >= rtt {
        return Where::ClientQueue;
    }
    // A longer path is in the fastest calls of every operation.
    let fastest = compared.iter().filter_map(|row| Some(sign * row.rtt_p5?.shift_ns)).min().unwrap_or(0) as f64;
    let tcp = row.a_tcp_min_rtt_ns.zip(row.b_tcp_min_rtt_ns);
    let tcp = tcp.map(|(a, b)| sign as f64 * (b as f64 - a as f64));
    match tcp {
        Some(tcp) if tcp >= OF_THE_PATH * rtt => Where::NetworkPath,
        // TCP's shortest round trip may be older than what made the path longer.
        _ if fastest >= OF_THE_PATH * rtt && at_once => Where::NetworkPath,
        _ if fastest >= OF_THE_PATH * rtt => Where::NetworkOrServer,
        Some(_) => Where::Server,
        None => Where::NetworkOrServer,
    }
}

/// What the machine's own answer says of a mount; of several rows one with trouble, if there is one.
fn layers<'a>(answer: &'a Answer, mount: &str) -> Option<&'a LayersRow> {
    let here = answer.layers.iter().filter(|row| row.mounts.iter().any(|other| other == mount));
    here.min_by_key(|row| trouble(row.verdict).is_none())
}
