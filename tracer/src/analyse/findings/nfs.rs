//! The NFS operation that took most time, and in which part of the call; calls sent again.

use super::{Effect, Finding, Layer, layer};
use crate::analyse::{
    answer::{Answer, Latency, RpcRow},
    by_operation,
    units::{count, counted, duration, percent},
};

/// Calls that add up to this share of the window are worth naming.
const SHARE_WORTH_NAMING: f64 = 0.01;

pub(super) fn find(answer: &Answer) -> Vec<Finding> {
    let operations = by_operation(&answer.rpc);
    let mut findings = Vec::new();
    findings.extend(most_time(answer, &operations));
    findings.extend(sent_again(&operations));
    findings
}

/// A part of a call's time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Backlog,
    Rtt,
    Tail,
}

impl Part {
    const ALL: [Self; 3] = [Self::Backlog, Self::Rtt, Self::Tail];

    fn of(self, row: &RpcRow) -> &Latency {
        match self {
            Self::Backlog => &row.backlog_ns,
            Self::Rtt => &row.rtt_ns,
            Self::Tail => &row.tail_ns,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::Rtt => "rtt",
            Self::Tail => "tail",
        }
    }

    /// Follows "... of it".
    const fn meaning(self, retransmitted: bool) -> &'static str {
        match self {
            Self::Backlog if retransmitted => {
                "before the last transmission (backlog), which holds earlier transmissions of calls \
                 that were sent again"
            }
            Self::Backlog => "before the call was sent (backlog)",
            Self::Rtt => "between sending the call and seeing its reply (rtt)",
            Self::Tail => "after the reply was seen (tail)",
        }
    }

    const fn layer(self, retransmitted: bool) -> Layer {
        match self {
            Self::Backlog if !retransmitted => Layer::NfsClient,
            Self::Backlog | Self::Rtt => Layer::NetworkOrServer,
            Self::Tail => Layer::NfsClient,
        }
    }

    const fn refutation(self) -> &'static str {
        match self {
            Self::Backlog => {
                "rtt is high as well: then calls queue because the calls before them are slow, and \
                 rtt is the first cause"
            }
            Self::Rtt => {
                "the client's receiving kernel threads lack CPU: the reply's arrival is stamped by \
                 them, so that shows as rtt"
            }
            Self::Tail => "replies are small: then there was nothing to receive after the first byte",
        }
    }

    const fn next(self) -> &'static str {
        match self {
            Self::Backlog => {
                "find the queue: session slots (NFSv4.1), transport slots, the connection; nconnect \
                 adds connections"
            }
            Self::Rtt => {
                "network path or server is not told apart by these times: trace another client of \
                 the same server and compare its rtt for this operation; higher on one client only \
                 means that client's path"
            }
            Self::Tail => {
                "compare the receive bandwidth with what the link can carry, and the run-queue time \
                 of kernel threads"
            }
        }
    }
}

fn most_time(answer: &Answer, operations: &[RpcRow]) -> Option<Finding> {
    let row = operations.first().filter(|row| row.count > 0 && !layer::is_said_of(answer, &row.mounts))?;
    let spent = positive(row.execute_ns.sum);
    if (spent as f64) < SHARE_WORTH_NAMING * answer.window.duration_ns as f64 {
        return None;
    }
    let part = Part::ALL.into_iter().max_by_key(|part| part.of(row).sum)?;
    let again = row.retransmitted > 0;
    let all = operations.iter().fold(0, |sum: u64, row| sum.saturating_add(positive(row.execute_ns.sum)));
    let mut evidence = vec![
        parts(row),
        format!("{} of all time in NFS calls ({}, calls that overlap added up)", percent(spent, all), duration(all)),
    ];
    if again {
        evidence.push(format!(
            "{} sent more than once: their backlog holds the earlier transmissions",
            counted(row.retransmitted, "call")
        ));
    }
    evidence.extend(transports(answer, row));
    Some(Finding {
        id: "nfs-most-time",
        claim: format!(
            "Most NFS time is {} on {}: {}, {} at the median and {} at p99, {} of it {}.",
            row.op,
            place(row),
            counted(row.count, "call"),
            duration(row.execute_ns.p50),
            duration(row.execute_ns.p99),
            percent(positive(part.of(row).sum), spent),
            part.meaning(again),
        ),
        layer: part.layer(again),
        subject: format!("{} on {}", row.op, place(row)),
        effect: Some(Effect::time(spent, answer)),
        evidence,
        refutes: vec![part.refutation().into()],
        next: part.next().into(),
    })
}

/// Calls sent more than once over all operations.
fn sent_again(operations: &[RpcRow]) -> Option<Finding> {
    let sum = |of: fn(&RpcRow) -> u64| operations.iter().fold(0_u64, |sum, row| sum.saturating_add(of(row)));
    let again = sum(|row| row.retransmitted);
    if again == 0 {
        return None;
    }
    let affected = operations.iter().filter(|row| row.retransmitted > 0);
    Some(Finding {
        id: "nfs-retransmitted",
        claim: format!(
            "{} of {} had to be sent more than once.",
            count(again),
            counted(sum(|row| row.count), "NFS call")
        ),
        layer: Layer::NetworkOrServer,
        subject: "NFS".into(),
        effect: Some(Effect::number(again, "calls")),
        evidence: affected
            .map(|row| {
                format!(
                    "{} on {}: {} of {}, {}",
                    row.op,
                    place(row),
                    count(row.retransmitted),
                    counted(row.count, "call"),
                    counted(row.timeouts, "major timeout")
                )
            })
            .collect(),
        refutes: vec!["the connection was closed on purpose in the window (server restart, failover)".into()],
        next: "see the kernel log for \"nfs: server ... not responding\" and the connection's state (ss -ti)".into(),
    })
}

fn positive(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or_default()
}

/// `/mnt/a`, or what is known instead.
fn place(row: &RpcRow) -> String {
    match (&row.mount, row.mounts.as_slice()) {
        (Some(mount), _) => mount.clone(),
        (None, []) if row.server.is_empty() => "a mount that was not identified".into(),
        (None, []) => row.server.clone(),
        (None, mounts) => format!("{} (shared by {})", row.server, mounts.join(", ")),
    }
}

fn parts(row: &RpcRow) -> String {
    let spent = positive(row.execute_ns.sum);
    let part = |part: Part| {
        let latency = part.of(row);
        format!(
            "{} {} (p50 {}, p99 {}, max {})",
            part.name(),
            percent(positive(latency.sum), spent),
            duration(latency.p50),
            duration(latency.p99),
            duration(latency.max)
        )
    };
    Part::ALL.map(part).join(", ")
}

/// How the transports differ, if there are several.
fn transports(answer: &Answer, row: &RpcRow) -> Option<String> {
    let mut medians: Vec<_> = answer
        .rpc
        .iter()
        .filter(|other| {
            (&other.mounts, &other.server, other.version, &other.op) == (&row.mounts, &row.server, row.version, &row.op)
                && other.count > 0
        })
        .filter_map(|other| Some((other.rtt_ns.p50, other.xprt?)))
        .collect();
    medians.sort_unstable();
    let (fastest, slowest) = (medians.first()?, medians.last()?);
    (medians.len() > 1).then(|| {
        format!(
            "{} transports: median rtt from {} (xprt {}) to {} (xprt {})",
            medians.len(),
            duration(fastest.0),
            fastest.1,
            duration(slowest.0),
            slowest.1
        )
    })
}
