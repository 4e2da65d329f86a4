//! The sentence that a comparison comes to.

use serde::Serialize;

use super::{
    Mode,
    bootstrap::Shift,
    calls::Difference,
    places::{PlaceRow, Where},
    stalls::StallRow,
};
use crate::analyse::{
    Answer,
    classify::Group,
    units::{counted, duration},
};

/// What the comparison says, with what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    /// Where the slower machine takes longer: a part of NFS calls, or a group of stalls; `none`, or `unknown`.
    pub layer: String,
    /// The machine that is slower: `a` or `b`; `null` if none is.
    pub slower: Option<char>,
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
            (shift as f64 * row.a_rate.min(row.b_rate)) as u64
        };
        let slower = self.places.iter().filter(|row| row.part.is_some()).max_by_key(cost);
        if let Some((row, part)) = slower.and_then(|row| Some((row, row.part?))) {
            return self.of_calls(row, part);
        }
        let stalled = self.stalls.iter().filter(|row| row.sign() != 0 && row.group != Group::Storage);
        let most = |row: &&&StallRow| ((row.b_at_once - row.a_at_once).abs() * 1e6) as u64;
        if let Some(row) = stalled.collect::<Vec<_>>().iter().max_by_key(most) {
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

    fn of_calls(&self, row: &PlaceRow, part: Where) -> Conclusion {
        let second = row.verdict == Difference::Slower;
        let (own, other) = (self.name(second), self.name(!second));
        let shift = row.execute.map(|shift| towards(shift, second)).unwrap_or_default();
        let words = words(part);
        let mut evidence = vec![
            format!(
                "{} of {} on {} take longer, {} take less; the median by {}, in all",
                if second { row.slower } else { row.faster },
                counted(row.operations, "operation"),
                row.source,
                if second { row.faster } else { row.slower },
                interval(shift),
            ),
            parts(row, second),
        ];
        if let Some((a, b)) = row.a_tcp_min_rtt_ns.zip(row.b_tcp_min_rtt_ns) {
            let (own_ns, other_ns) = if second { (b, a) } else { (a, b) };
            evidence.push(format!(
                "TCP's shortest round trip: {} on {own}, {} on {other}",
                duration(own_ns),
                duration(other_ns)
            ));
        }
        evidence.extend(self.warnings.iter().cloned());
        Conclusion {
            layer: layer(part).to_owned(),
            slower: Some(if second { 'b' } else { 'a' }),
            claim: format!(
                "{own} is slower than {other} on {}: {}. A call takes {} longer, at the median.",
                row.source,
                words.what,
                interval(shift)
            ),
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
            slower: Some(if second { 'b' } else { 'a' }),
            claim: format!("{own} is stalled more than {other}, by {}.", row.group.title()),
            evidence,
            refutes: vec!["the two did not do the same work: then the difference is the work's".to_owned()],
            next: format!("nfslat report the recording of {own}: who waits, for which lock, and who holds it"),
        }
    }

    fn calls_are_alike(&self) -> Vec<String> {
        let alike = self.places.iter().filter(|row| row.verdict == Difference::None);
        alike
            .filter_map(|row| {
                Some(format!("NFS calls on {} take as long: {} of difference", row.source, interval(row.execute?)))
            })
            .collect()
    }

    fn nothing(&self) -> Conclusion {
        let open = self.places.iter().any(|row| row.verdict == Difference::NotEnoughData) || self.places.is_empty();
        let (own, other) = (self.name(true), self.name(false));
        let complete = self.a.complete && self.b.complete;
        let claim = match (open, complete) {
            (true, _) if self.places.is_empty() => format!("{other} and {own} have no NFS operation in common."),
            (true, _) => format!("Whether {own} differs from {other} cannot be said: not enough data."),
            (false, true) => format!("No difference between {other} and {own} that matters."),
            (false, false) => {
                format!("No difference between {other} and {own} was seen, but the data is incomplete.")
            }
        };
        let mut evidence = self.calls_are_alike();
        evidence.extend(self.warnings.iter().cloned());
        Conclusion {
            layer: if open { "unknown" } else { "none" }.to_owned(),
            slower: None,
            claim,
            evidence,
            refutes: Vec::new(),
            next: if open { "record both for longer, while they do the same work" } else { "" }.to_owned(),
        }
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
        Where::Unanswered => Words {
            what: "the server does not answer it, or asks it to try again later",
            refutes: &["the other one made no such calls"],
            next: "see whether the server knows this client (exports, leases), and its log",
        },
    }
}
