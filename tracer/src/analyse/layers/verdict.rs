//! The rules by which a layer is named. The first that holds counts: an earlier one is a cause of what the later ones look
//! at (a long path fills slots, and calls queue for them).

use std::cmp::Reverse;

use serde::Serialize;

use super::{Facts, LayersRow};
use crate::analyse::{
    answer::{ErrorRow, InFlightRow, RpcRow},
    transports::TransportRow,
};
use crate::model::{Histogram, RpcStep};

/// Fewer calls say nothing.
const ENOUGH_CALLS: u64 = 20;
/// Fewer calls of one operation, or over one transport, say nothing of it.
const ENOUGH_OF_ONE: u64 = 5;

/// A call open for this long, or for half of a shorter window, has no answer.
const UNANSWERED_NS: u64 = 1_000_000_000;

/// From this median on, from sending to the reply less the path, an operation is slow: longer than a disk takes to seek
/// and write, twice.
const SLOW_NS: u64 = 20_000_000;
/// Replies that take this long are stalls of the server ...
const STALL_NS: u64 = 200_000_000;
/// ... if this share of all the time from sending to the reply is spent in them.
const MOST: f64 = 0.5;

/// A path is long from this round trip on: what crosses a region; a data centre's own are below 1 ms.
const LONG_PATH_NS: u64 = 2_000_000;

/// Segments sent again that are loss, as a share of those sent: TCP keeps its speed below about 0.1%; and as a number.
const LOSS: f64 = 0.005;
const LOSS_SEGMENTS: u64 = 5;

/// A transport is slow by itself if its median is so many times that of the next, and so much more.
const SLOWER: u64 = 3;
const SLOWER_BY_NS: u64 = 5_000_000;

/// Waiting because a server put calls off counts from this share of the window on.
const PUT_OFF: f64 = 0.05;

/// A mean time per call in queues, or after the reply, from which on it is worth naming.
const WORTH_NAMING_NS: u64 = 1_000_000;

/// Which layer held up calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Too few calls to say.
    #[default]
    NotEnoughCalls,
    /// No layer took long.
    Healthy,
    /// No layer that can be seen took long, or only one that is not known well enough: errors, queues, calls sent again and
    /// what a reply waits for after it came are not known.
    PartlyKnown,
    /// Calls got no answer: the server or the path is gone.
    NoAnswer,
    /// The server asked to try again later, was in its grace period, or had lost its state.
    PutOff,
    /// Segments or calls had to be sent again.
    Loss,
    /// One of several connections is slow.
    OneTransport,
    /// The network path.
    NetworkPath,
    /// The server, or the transfer of data to and from it.
    Server,
    /// Either of them: TCP's round trips are not known, or the shortest may be from before the path became longer.
    NetworkOrServer,
    /// Queues of the client.
    ClientQueue,
    /// Receiving replies.
    Receive,
    /// Waking the threads that wait for replies: the client's CPUs.
    Wake,
}

impl Verdict {
    /// What is left of it if calls were counted without errors, queues, and whether they were sent again.
    pub(super) fn of_times_alone(self) -> Self {
        match self {
            Self::Healthy | Self::ClientQueue | Self::Receive | Self::Wake => Self::PartlyKnown,
            other => other,
        }
    }
}

/// Calls open for so long that their server seems silent: those that were sent or find no connection, as far as is known.
pub(super) fn unanswered(open: &[&InFlightRow], window_ns: u64) -> u64 {
    let limit_ns = UNANSWERED_NS.min(window_ns / 2).max(1);
    let is_out = |call: &InFlightRow| match call.step {
        Some(step) => step == RpcStep::Connect,
        None => matches!(call.waiting_in.as_str(), "" | "xprt_pending" | "xprt_binding" | "delayq"),
    };
    open.iter().filter(|call| call.age_ns >= limit_ns && is_out(call)).count() as u64
}

/// Calls that ended with an error that means: not now.
pub(super) fn put_off(errors: &[ErrorRow]) -> u64 {
    const NOT_NOW: [&str; 8] = [
        "EJUKEBOX",
        "NFS4ERR_DELAY",
        "NFS4ERR_GRACE",
        "NFS4ERR_STALE_CLIENTID",
        "NFS4ERR_STALE_STATEID",
        "NFS4ERR_BADSESSION",
        "NFS4ERR_DEADSESSION",
        "NFS4ERR_EXPIRED",
    ];
    errors
        .iter()
        .filter(|error| NOT_NOW.contains(&error.name.as_str()))
        .fold(0, |sum, error| sum.saturating_add(error.count))
}

impl Facts<'_> {
    /// Fills in the verdict and what it is about.
    pub(super) fn judge(&self, row: &mut LayersRow) {
        let once = row.calls.saturating_sub(row.resent).max(1);
        let share = |part: u64| part as f64 / row.spent_ns.max(1) as f64;
        let named = |part: u64| share(part) >= MOST && part / once >= WORTH_NAMING_NS;
        let slow = self.slow_operations(row.tcp_min_rtt_ns, row.spent_ns);
        let slow_ns = slow.iter().fold(0_u64, |sum, op| sum.saturating_add(op.spent_ns()));
        let slow_transport = self.slow_transport();
        row.verdict = if row.unanswered > 0 {
            Verdict::NoAnswer
        } else if row.put_off > 0 && self.put_off_share() >= PUT_OFF {
            Verdict::PutOff
        } else if row.calls < ENOUGH_CALLS {
            Verdict::NotEnoughCalls
        } else if is_lossy(row) {
            Verdict::Loss
        } else if slow_transport.is_some() {
            row.slow_transport = slow_transport;
            Verdict::OneTransport
        } else if row
            .tcp_min_rtt_ns
            .is_some_and(|least| least >= LONG_PATH_NS && least >= row.rtt_p50_ns.unwrap_or(0) / 2)
        {
            Verdict::NetworkPath
        } else if share(slow_ns) >= MOST {
            row.operations = slow.iter().map(|op| op.op.clone()).collect();
            if row.tcp_min_rtt_ns.is_some() && !path_may_have_grown(row) {
                Verdict::Server
            } else {
                Verdict::NetworkOrServer
            }
        } else if named(row.queues_ns.saturating_add(row.preparing_ns)) {
            Verdict::ClientQueue
        } else if named(row.receive_ns) {
            Verdict::Receive
        } else if named(row.wake_ns) {
            Verdict::Wake
        } else {
            Verdict::Healthy
        };
    }

    /// What share of the window was waited for a server that put calls off.
    fn put_off_share(&self) -> f64 {
        let in_queues = self
            .operations
            .iter()
            .flat_map(|op| &op.steps)
            .filter(|step| matches!(step.step, RpcStep::Delay | RpcStep::Recovery))
            .fold(0_u64, |sum, step| sum.saturating_add(step.total_ns));
        let waited = self.put_off_ns.max(in_queues).max(self.open_and_put_off());
        waited as f64 / self.window_ns.max(1) as f64
    }

    /// Age of the oldest call that is open because it was put off.
    fn open_and_put_off(&self) -> u64 {
        let put_off = |call: &&&InFlightRow| matches!(call.step, Some(RpcStep::Delay | RpcStep::Recovery));
        self.open.iter().filter(put_off).map(|call| call.age_ns).max().unwrap_or(0)
    }

    /// Operations whose replies take long, beyond what the path takes; most time first. Those of few calls are with them if
    /// the others do not make up most of the time, and they are not few together.
    fn slow_operations(&self, least_ns: Option<u64>, spent_ns: u64) -> Vec<&RpcRow> {
        let is_slow = |op: &&RpcRow| {
            let values = &op.rtt_ns.histogram;
            let beyond = op.rtt_ns.p50.saturating_sub(least_ns.unwrap_or(0));
            !values.is_empty() && (beyond >= SLOW_NS || stalls(values))
        };
        let calls = |op: &RpcRow| op.rtt_ns.histogram.count();
        let slow = self.operations.iter().copied().filter(is_slow);
        let (mut slow, seldom): (Vec<_>, Vec<_>) = slow.partition(|op| calls(op) >= ENOUGH_OF_ONE);
        let time = |ops: &[&RpcRow]| ops.iter().fold(0_u64, |sum, op| sum.saturating_add(op.spent_ns())) as f64;
        let enough = seldom.iter().fold(0_u64, |sum, op| sum.saturating_add(calls(op))) >= ENOUGH_OF_ONE;
        if enough && time(&slow) < MOST * spent_ns as f64 {
            slow.extend(seldom);
            slow.sort_by_key(|op| Reverse(op.spent_ns()));
        }
        slow
    }

    /// The transport that is slower than all others by far.
    fn slow_transport(&self) -> Option<u32> {
        let median = |transport: &&&TransportRow| {
            let calls = transport.calls.as_ref().filter(|calls| calls.count >= ENOUGH_OF_ONE)?;
            Some((calls.rtt_p50_ns?, transport.id?))
        };
        let mut medians: Vec<_> = self.transports.iter().filter_map(|transport| median(&transport)).collect();
        medians.sort_unstable();
        let [.., (next_ns, _), (slowest_ns, id)] = medians[..] else { return None };
        let by_far = slowest_ns >= next_ns.saturating_mul(SLOWER) && slowest_ns - next_ns >= SLOWER_BY_NS;
        by_far.then_some(id)
    }
}

/// True if not even the fastest call came near TCP's shortest round trip, which may be 5 minutes old
/// (`tcp_min_rtt_wlen`): the path may be longer by now.
fn path_may_have_grown(row: &LayersRow) -> bool {
    let fastest_ns = row.rtt_min_ns.unwrap_or(0);
    fastest_ns >= LONG_PATH_NS && row.tcp_srtt_ns.is_some_and(|smoothed| smoothed >= fastest_ns / 2)
}

fn is_lossy(row: &LayersRow) -> bool {
    let of = |part: u64, whole: u64| part as f64 >= LOSS * whole as f64;
    let lost = row.tcp_retransmitted.saturating_sub(row.tcp_late);
    let segments = lost >= LOSS_SEGMENTS && row.tcp_segments.is_some_and(|all| of(lost, all));
    let calls = row.resent >= LOSS_SEGMENTS && of(row.resent, row.calls);
    segments || calls
}

/// True if most of the time is in few values that are very long.
fn stalls(values: &Histogram) -> bool {
    let time = |from_ns: u64| {
        let from = values.iter().filter(|(ns, _)| *ns >= from_ns);
        from.fold(0_u64, |sum, (ns, count)| sum.saturating_add(ns.saturating_mul(count)))
    };
    time(STALL_NS) as f64 >= MOST * time(0) as f64 && time(STALL_NS) > 0
}
