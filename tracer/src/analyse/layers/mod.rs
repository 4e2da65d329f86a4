//! Which layer held up the NFS calls of each mount: the client's queues, the network path, the server, the receiving
//! side. The time of all calls is taken apart into what each layer took at least.

#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    account::Account,
    answer::{InFlightRow, RpcRow},
    classify::Class,
    transports::TransportRow,
};
use crate::model::{Histogram, RpcStep};
pub use verdict::Verdict;

/// The NFS calls of one mount, or of several that share their calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayersRow {
    /// Mount points.
    pub mounts: Vec<String>,
    /// Server; empty if not known.
    pub server: String,
    /// Which layer it is.
    pub verdict: Verdict,
    /// Operations that are slow, most time first; empty if it is not about single operations.
    pub operations: Vec<String>,
    /// The queue with most time; `null` if no call waited in one.
    pub queue: Option<RpcStep>,
    /// The transport that is slower than the others; `null` if none is.
    pub slow_transport: Option<u32>,
    /// Calls done.
    pub calls: u64,
    /// Calls open at the end for so long that their server seems silent.
    pub unanswered: u64,
    /// Calls that were transmitted more than once.
    pub resent: u64,
    /// Calls that ended because the server asked to try again later, was in its grace period, or had lost its state.
    pub put_off: u64,
    /// Time of all calls from begin to end, added up. The parts below are of those transmitted once, and add up to it
    /// with `resent_ns`, but for what a clamped negative value takes away.
    pub spent_ns: u64,
    /// In queues before sending.
    pub queues_ns: u64,
    /// Before sending, in no queue: the client's own work, or its threads waiting for a CPU.
    pub preparing_ns: u64,
    /// On the network path: for each call the shortest round trip that TCP saw, or the call's own if that is shorter.
    /// `null` if TCP's is not known; then `server_ns` holds it.
    pub path_ns: Option<u64>,
    /// The rest of the time from sending to the reply: the server, queues in the network, and the transfer of data.
    pub server_ns: u64,
    /// Receiving the rest of replies.
    pub receive_ns: u64,
    /// From there to the end of the call: waking the waiter, decoding; and what of the tail could not be told apart.
    pub wake_ns: u64,
    /// Calls that were transmitted more than once, from begin to end.
    pub resent_ns: u64,
    /// Median time from sending to the reply, over all operations; `null` if no call was sent.
    pub rtt_p50_ns: Option<u64>,
    /// See `rtt_p50_ns`.
    pub rtt_p99_ns: Option<u64>,
    /// The shortest.
    pub rtt_min_ns: Option<u64>,
    /// The shortest round trip that TCP saw on the connections of these calls.
    pub tcp_min_rtt_ns: Option<u64>,
    /// TCP's smoothed round trip at the end, the largest of these connections. It may hold the server's time: what
    /// acknowledges a call may wait for the reply.
    pub tcp_srtt_ns: Option<u64>,
    /// Segments sent on these connections; `null` where the kernel does not count them.
    pub tcp_segments: Option<u64>,
    /// Segments sent again.
    pub tcp_retransmitted: u64,
    /// Those of them that had not been lost, but were only late, as far as the server says so.
    pub tcp_late: u64,
    /// Connections that took the place of others.
    pub reconnects: u64,
}

/// What the rules look at besides the row itself.
struct Facts<'a> {
    operations: Vec<&'a RpcRow>,
    transports: Vec<&'a TransportRow>,
    open: Vec<&'a InFlightRow>,
    /// Time in which threads waited because a server asked to try again, or for the recovery of client state, on any mount.
    put_off_ns: u64,
    window_ns: u64,
}

/// Weakens the verdicts of rows of which only the times of calls are known.
pub(super) fn of_times_alone(mut rows: Vec<LayersRow>) -> Vec<LayersRow> {
    rows.iter_mut().for_each(|row| row.verdict = row.verdict.of_times_alone());
    rows
}

/// The rows, most time first.
pub(super) fn rows(
    operations: &[RpcRow],
    in_flight: &[InFlightRow],
    transports: &[TransportRow],
    account: &Account,
    window_ns: u64,
) -> Vec<LayersRow> {
    let mut places: BTreeMap<(&[String], &str), Vec<&RpcRow>> = BTreeMap::new();
    for row in operations.iter().filter(|row| !row.mounts.is_empty()) {
        places.entry((&row.mounts, &row.server)).or_default().push(row);
    }
    let put_off_ns = account
        .waits
        .iter()
        .filter(|wait| matches!(wait.class, Class::NfsDelay | Class::NfsRecovery))
        .fold(0_u64, |sum, wait| sum.saturating_add(wait.total_ns));
    let mut rows: Vec<_> = places
        .into_iter()
        .map(|((mounts, server), operations)| {
            let facts = Facts {
                operations,
                transports: transports
                    .iter()
                    .filter(|transport| transport.mounts.iter().any(|mount| mounts.contains(mount)))
                    .collect(),
                open: in_flight.iter().filter(|call| call.mounts == mounts).collect(),
                put_off_ns,
                window_ns,
            };
            facts.row(mounts, server)
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.spent_ns));
    rows
}

impl Facts<'_> {
    fn row(&self, mounts: &[String], server: &str) -> LayersRow {
        let sum =
            |of: &dyn Fn(&RpcRow) -> u64| self.operations.iter().fold(0_u64, |sum, row| sum.saturating_add(of(row)));
        let positive = |sum: i64| u64::try_from(sum).unwrap_or_default();
        let step = |wanted: RpcStep| {
            sum(&|row| {
                row.steps
                    .iter()
                    .filter(|row| row.step == wanted)
                    .fold(0, |sum: u64, row| sum.saturating_add(row.total_ns))
            })
        };
        let connections = || self.transports.iter().filter_map(|transport| transport.tcp.as_ref());
        let tcp_min_rtt_ns = connections().filter_map(|tcp| tcp.min_rtt_ns).min();
        let rtt = self.rtt();
        let rtt_ns = sum(&|row| positive(row.rtt_ns.sum));
        let path_ns = tcp_min_rtt_ns.map(|least| {
            rtt.iter().fold(0_u64, |sum, (ns, count)| sum.saturating_add(ns.min(least).saturating_mul(count)))
        });
        let path_ns = path_ns.map(|path| path.min(rtt_ns));
        let queues = RpcStep::ALL.into_iter().filter(|step| step.is_queue());
        let queues: Vec<_> = queues.map(|queue| (step(queue), queue)).filter(|(ns, _)| *ns > 0).collect();
        let backlog_ns = sum(&|row| positive(row.backlog_ns.sum));
        let queues_ns = queues.iter().fold(0_u64, |sum, (ns, _)| sum.saturating_add(*ns)).min(backlog_ns);
        let tail_ns = sum(&|row| positive(row.tail_ns.sum));
        let receive_ns = step(RpcStep::Receive).min(tail_ns);
        let mut row = LayersRow {
            mounts: mounts.to_vec(),
            server: server.to_owned(),
            queue: queues.iter().max().map(|(_, queue)| *queue),
            calls: sum(&|row| row.count),
            unanswered: verdict::unanswered(&self.open, self.window_ns),
            resent: sum(&|row| row.retransmitted),
            put_off: sum(&|row| verdict::put_off(&row.errors_by_name)),
            spent_ns: sum(&RpcRow::spent_ns),
            queues_ns,
            preparing_ns: backlog_ns - queues_ns,
            path_ns,
            server_ns: rtt_ns - path_ns.unwrap_or(0),
            receive_ns,
            wake_ns: tail_ns - receive_ns,
            resent_ns: sum(&|row| row.resent.as_ref().map_or(0, |resent| positive(resent.execute_ns.sum))),
            rtt_p50_ns: rtt.quantile(0.5),
            rtt_p99_ns: rtt.quantile(0.99),
            rtt_min_ns: rtt.quantile(0.0),
            tcp_srtt_ns: connections().filter_map(|tcp| tcp.srtt_ns).max(),
            tcp_min_rtt_ns,
            tcp_segments: connections()
                .next()
                .and_then(|_| connections().try_fold(0_u64, |sum, tcp| Some(sum.saturating_add(tcp.sent_segments?)))),
            tcp_retransmitted: connections().fold(0, |sum, tcp| sum.saturating_add(tcp.retransmitted_segments)),
            tcp_late: connections().fold(0, |sum, tcp| sum.saturating_add(tcp.duplicate_segments.unwrap_or(0))),
            reconnects: connections().fold(0, |sum, tcp| sum.saturating_add(tcp.reconnects)),
            ..LayersRow::default()
        };
        self.judge(&mut row);
        row
    }

    /// Times from sending to the reply, over all operations.
    fn rtt(&self) -> Histogram {
        let mut all = Histogram::default();
        self.operations.iter().for_each(|row| all.merge(&row.rtt_ns.histogram));
        all
    }
}
