//! The sentence that a comparison comes to.

use serde::Serialize;

use super::{
    Mode,
    bootstrap::Shift,
    calls::{Difference, difference},
    places::{PlaceRow, Where, Which},
    stalls::StallRow,
};
use crate::analyse::{
    Answer,
    classify::Group,
    findings::Finding,
    units::{counted, duration},
};

/// What the comparison says, with what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    /// Where the slower machine takes longer: a part of NFS calls, or a group of stalls; `none`, or `unknown`.
    pub layer: String,
    /// The machine that is slower; `null` if none is.
    pub slower: Option<Which>,
    /// The statement.
    pub claim: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What, if seen, would show it to be wrong.
    pub refutes: Vec<String>,
    /// What to do next; empty if nothing.
    pub next: String,
}

/// What it is drawn from.
pub(super) struct Facts<'a> {
    pub(super) a: &'a Answer,
    pub(super) b: &'a Answer,
    pub(super) mode: Mode,
    pub(super) places: &'a [PlaceRow],
    pub(super) stalls: &'a [StallRow],
    pub(super) warnings: &'a [String],
}

impl Facts<'_> {
    pub(super) fn conclude(&self) -> Conclusion {
        // What costs most: how much longer a call takes, by how many there are.
        let cost = |row: &&PlaceRow| {
            let shift = row.execute.map_or(0, |shift| shift.shift_ns.unsigned_abs());
            (row.part == Some(Where::Unanswered), (shift as f64 * row.a_rate.min(row.b_rate)) as u64)
        };
        let blamed = self.places.iter().filter(|row| row.part.is_some_and(|part| part != Where::Load));
        if let Some(row) = blamed.max_by_key(cost)
            && let (Some(slower), Some(part)) = (row.slower, row.part)
        {
            return self.of_calls(row, slower, part);
        }
        // Who queues at a server that it keeps busy is stalled by that: it is no second difference.
        let is_of_load = |row: &StallRow| {
            let which = if row.sign() > 0 { Which::B } else { Which::A };
            let by_load = |place: &PlaceRow| place.part == Some(Where::Load) && place.slower == Some(which);
            row.group == Group::Storage && self.places.iter().any(by_load)
        };
        let most = |row: &&StallRow| ((row.b_at_once - row.a_at_once).abs() * 1e6) as u64;
        let stalled = self.stalls.iter().filter(|row| row.sign() != 0 && !is_of_load(row));
        if let Some(row) = stalled.max_by_key(most) {
            return self.of_stalls(row);
        }
        self.nothing()
    }

    fn name(&self, second: bool) -> String {
        let host = &if second { self.b } else { self.a }.host.hostname;
        match self.mode {
            Mode::SameHost if second => format!("{host} afterwards"),
            Mode::SameHost => format!("{host} before"),
            Mode::TwoHosts if self.a.host.hostname == self.b.host.hostname => {
                format!("{host} ({} recording)", if second { "second" } else { "first" })
            }
            Mode::TwoHosts => host.clone(),
        }
    }

    fn of_calls(&self, row: &PlaceRow, slower: Which, part: Where) -> Conclusion {
        let second = slower == Which::B;
        let (own, other) = (self.name(second), self.name(!second));
        let words = words(part);
        let mut evidence = Vec::new();
        if row.operations > 0 {
            let (more, less) = if second { (row.b_slower, row.a_slower) } else { (row.a_slower, row.b_slower) };
            let operations = counted(row.operations, "operation");
            evidence.push(format!("{more} of {operations} on {} take longer on {own}, {less} on {other}", row.source));
            evidence.push(parts(row, second));
        }
        if let Some((a, b)) = row.a_tcp_min_rtt_ns.zip(row.b_tcp_min_rtt_ns) {
            let (own_ns, other_ns) = if second { (b, a) } else { (a, b) };
            let (own_ns, other_ns) = (duration(own_ns), duration(other_ns));
            evidence.push(format!("TCP's shortest round trip: {own_ns} on {own}, {other_ns} on {other}"));
        }
        let answer = if second { self.b } else { self.a };
        if matches!(part, Where::Loss | Where::Unanswered) {
            let is_of_it = |finding: &&Finding| matches!(finding.id, "outstanding-calls" | "nfs-layer");
            let found = answer.findings.iter().find(is_of_it);
            evidence.extend(found.map(|finding| format!("{own} by itself: {}", finding.claim)));
        }
        evidence.extend(self.warnings.iter().cloned());
        let longer = match row.execute.filter(|_| row.is_slower(slower)) {
            Some(shift) => format!(" A call takes {} longer, at the median.", interval(towards(shift, second))),
            None => String::new(),
        };
        Conclusion {
            layer: layer(part).to_owned(),
            slower: Some(slower),
            claim: format!("{own} is slower than {other} on {}: {}.{longer}", row.source, words.what),
            evidence,
            refutes: words.refutes.iter().map(|&text| text.to_owned()).collect(),
            next: words.next.to_owned(),
        }
    }

    fn of_stalls(&self, row: &StallRow) -> Conclusion {
        let second = row.sign() > 0;
        let (own, other) = (self.name(second), self.name(!second));
        let (more, less) = if second { (row.b_at_once, row.a_at_once) } else { (row.a_at_once, row.b_at_once) };
        let mut evidence = vec![format!("threads stalled at once: {more:.2} on {own}, {less:.2} on {other}")];
        evidence.extend(self.calls_are_alike());
        evidence.extend(self.warnings.iter().cloned());
        Conclusion {
            layer: row.group.name().replace('_', "-"),
            slower: Some(if second { Which::B } else { Which::A }),
            claim: format!("{own} is stalled more than {other}, by {}.", row.group.title()),
            evidence,
            refutes: vec!["the two did not do the same work: then the difference is the work's".to_owned()],
            next: format!("nfslat report the recording of {own}: who waits, for which lock, and who holds it"),
        }
    }

    /// What is known of calls that do not differ, or only because there are more of them.
    fn calls_are_alike(&self) -> Vec<String> {
        let told = |row: &PlaceRow| {
            let median = interval(row.execute?);
            let slowest = row.execute_slowest.map(|shift| format!(", {} for the slowest tenth", interval(shift)));
            let what = match (row.part, row.verdict) {
                (Some(Where::Load), _) => "the busier of the two takes longer, but its fastest calls do not",
                (_, Difference::None) => "calls take as long",
                _ => return None,
            };
            Some(format!("on {} {what}: {median} of difference{}", row.source, slowest.unwrap_or_default()))
        };
        self.places.iter().filter_map(told).collect()
    }

    fn nothing(&self) -> Conclusion {
        let (own, other) = (self.name(true), self.name(false));
        let open: Vec<&str> = self
            .places
            .iter()
            .filter(|row| row.verdict == Difference::NotEnoughData)
            .map(|row| row.source.as_str())
            .collect();
        let differs = |shift: Shift| matches!(difference(shift), Difference::Slower | Difference::Faster);
        let alike = |row: &&PlaceRow| row.verdict == Difference::None;
        let tail = self.places.iter().filter(alike).any(|row| row.execute_slowest.is_some_and(differs));
        let busier = self.places.iter().any(|row| row.part == Some(Where::Load));
        let (layer, mut claim) = if self.places.is_empty() {
            let claim = "have no NFS operation in common, and none is stalled far more than the other";
            ("unknown", format!("{other} and {own} {claim}."))
        } else if !open.is_empty() {
            let places = open.join(", ");
            ("unknown", format!("Whether {own} differs from {other} cannot be said: not enough data on {places}."))
        } else if tail {
            (
                "unknown",
                format!("{other} and {own} do not differ at the median, but their slowest tenth of calls does."),
            )
        } else if busier {
            ("none", format!("One of {other} and {own} takes longer, but it is busier: load may be all of it."))
        } else {
            ("none", format!("No difference between {other} and {own} that matters."))
        };
        if !(self.a.complete && self.b.complete) {
            claim.push_str(" But the data is incomplete.");
        }
        let mut evidence = self.calls_are_alike();
        evidence.extend(self.warnings.iter().cloned());
        let next = match layer {
            "none" => "",
            _ => "record both for longer, while they do the same work",
        };
        Conclusion { layer: layer.into(), slower: None, claim, evidence, refutes: Vec::new(), next: next.into() }
    }
}

/// Which part of a call takes how much longer.
fn parts(row: &PlaceRow, second: bool) -> String {
    let of =
        |name: &str, shift: Option<Shift>| shift.map(|shift| format!("{name} {}", interval(towards(shift, second))));
    let parts = [
        of("before sending", row.backlog),
        of("to the reply", row.rtt),
        of("to the fastest replies", row.rtt_fastest),
        of("after the reply", row.tail),
        of("the whole of the slowest tenth", row.execute_slowest),
    ];
    format!("by part of a call: {}", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// A shift as seen from the slower one.
fn towards(shift: Shift, second: bool) -> Shift {
    if second {
        return shift;
    }
    Shift {
        a_ns: shift.b_ns,
        b_ns: shift.a_ns,
        shift_ns: -shift.shift_ns,
        low_ns: -shift.high_ns,
        high_ns: -shift.low_ns,
    }
}

/// A shift with its interval: `20.1 ms [19.8 ms to 20.4 ms]`.
pub fn interval(shift: Shift) -> String {
    let signed = |ns: i64| {
        let text = duration(ns.unsigned_abs());
        if ns < 0 { format!("-{text}") } else { text }
    };
    format!("{} [{} to {}]", signed(shift.shift_ns), signed(shift.low_ns), signed(shift.high_ns))
}

fn layer(part: Where) -> &'static str {
    match part {
        Where::NetworkPath => "network-path",
        Where::NetworkOrServer => "network-or-server",
        Where::Server => "server",
        Where::ClientQueue => "nfs-client",
        Where::Receive => "cpu",
        Where::Loss => "loss",
        Where::Unanswered => "server",
        Where::Load => "none",
        Where::Unknown => "unknown",
    }
}

struct Words {
    what: &'static str,
    refutes: &'static [&'static str],
    next: &'static str,
}

fn words(part: Where) -> Words {
    match part {
        Where::NetworkPath => Words {
            what: "the network path",
            refutes: &[
                "a ping of the server (or TCP's shortest round trip of a new connection, ss -ti) is as short as the other's",
                "the server treats the two in another way: other addresses or nodes of it, limits for each client",
            ],
            next: "give these numbers to whoever runs the network or the hypervisor: same server, same operations, a longer path",
        },
        Where::NetworkOrServer => Words {
            what: "the network path or the server",
            refutes: &["another client of the server became slower at the same time: then it is the server"],
            next: "record another client of the same server",
        },
        Where::Server => Words {
            what: "the server, or the transfer of data; the path is as short as the other's",
            refutes: &["the two work on different files, or on more data: then it is the work"],
            next: "look at the server: its disks, its CPUs, its NFS threads",
        },
        Where::ClientQueue => Words {
            what: "its calls wait before they are sent",
            refutes: &["it makes far more calls at once than the other: then it is the load"],
            next: "nfslat report its recording: which queue; then slots (tcp_slot_table_entries, the server's session slots) and \
                nconnect",
        },
        Where::Receive => Words {
            what: "replies wait for its CPUs",
            refutes: &["its threads that wait for CPUs are not those that wait for NFS"],
            next: "see who uses its CPUs (top), and the cgroup's cpu.max",
        },
        Where::Loss => Words {
            what: "packets are lost on its way",
            refutes: &["the connection was cut on purpose in the window (server restart, failover)"],
            next: "count drops along its path (ip -s link, ethtool -S, the switch ports, the hypervisor's)",
        },
        Where::Unknown => Words {
            what: "which part of a call it is does not show",
            refutes: &["the slower calls are of other work"],
            next: "record both for longer, while they do the same work",
        },
        Where::Load => Words {
            what: "it makes more calls",
            refutes: &["with as many calls as the other it still takes longer"],
            next: "record both at the same load",
        },
        Where::Unanswered => Words {
            what: "the server does not answer it, or asks it to try again later",
            refutes: &["the other one made no such calls"],
            next: "see whether the server knows this client (exports, leases), and its log",
        },
    }
}
