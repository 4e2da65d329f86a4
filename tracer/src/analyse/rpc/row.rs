//! Rows of the answer about NFS calls.

use nfslat_common::rpc::NFS_PROGRAM;
use serde::{Serialize, Serializer};

use super::{errors, steps};
use crate::model::{Histogram, RpcStep};

/// Calls of one operation over one transport.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RpcRow {
    /// Mount point; `null` if the calls belong to several mounts (`mounts` says which) or to none
    /// that was found.
    pub mount: Option<String>,
    /// All mount points the calls may belong to.
    pub mounts: Vec<String>,
    /// Server; empty if not known.
    pub server: String,
    /// Transport number; `null` if the kernel has none, and for calls in flight over one of
    /// several transports.
    pub xprt: Option<u32>,
    /// Protocol and address of the transport; empty if not known.
    pub xprt_address: String,
    /// RPC program; 100003 is NFS.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// Operation.
    pub op: String,
    /// Calls done.
    pub count: u64,
    /// Calls that ended in an error (a file that is not there is one).
    pub errors: u64,
    /// Calls that were transmitted more than once.
    pub retransmitted: u64,
    /// Calls that ended without being transmitted: only `execute_ns` counts them.
    pub unsent: u64,
    /// Major timeouts.
    pub timeouts: u64,
    /// Calls open when the window closed; not in `count`.
    pub in_flight: u64,
    /// Bytes sent, RPC headers included.
    pub bytes_sent: u64,
    /// Bytes received, RPC headers included.
    pub bytes_received: u64,
    /// From the start of the call to its transmission. This and the other parts are of calls that were transmitted once.
    pub backlog_ns: Latency,
    /// From the transmission until the reply was seen.
    pub rtt_ns: Latency,
    /// From there until the call was done: rest of the reply, decoding, scheduling.
    pub tail_ns: Latency,
    /// The whole.
    pub execute_ns: Latency,
    /// The parts of calls that were transmitted more than once; `null` if none was.
    pub resent: Option<ResentRow>,
    /// What the time before sending and after the reply was spent in, of all calls; in the order in which they pass.
    pub steps: Vec<StepRow>,
    /// Errors by name, most first.
    pub errors_by_name: Vec<ErrorRow>,
}

impl RpcRow {
    /// True for NFS itself; false for the programs around it (rpcbind, mount, lock manager).
    #[must_use]
    pub fn is_nfs(&self) -> bool {
        self.program == NFS_PROGRAM
    }

    /// Time that the calls took from begin to end, added up.
    #[must_use]
    pub fn spent_ns(&self) -> u64 {
        let resent = self.resent.as_ref().map_or(0, |resent| resent.execute_ns.sum);
        u64::try_from(self.execute_ns.sum.saturating_add(resent)).unwrap_or_default()
    }

    /// True if the other is of the same operation of the same mount, over whichever transport.
    pub(super) fn is_same_operation(&self, other: &Self) -> bool {
        (&self.mounts, &self.server, self.program, self.version, &self.op)
            == (&other.mounts, &other.server, other.program, other.version, &other.op)
    }

    /// Adds calls of the same operation.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.xprt != other.xprt {
            self.xprt = None;
            self.xprt_address.clear();
        }
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        add(&mut self.count, other.count);
        add(&mut self.errors, other.errors);
        add(&mut self.retransmitted, other.retransmitted);
        add(&mut self.unsent, other.unsent);
        add(&mut self.timeouts, other.timeouts);
        add(&mut self.in_flight, other.in_flight);
        add(&mut self.bytes_sent, other.bytes_sent);
        add(&mut self.bytes_received, other.bytes_received);
        self.backlog_ns.merge(&other.backlog_ns);
        self.rtt_ns.merge(&other.rtt_ns);
        self.tail_ns.merge(&other.tail_ns);
        self.execute_ns.merge(&other.execute_ns);
        match (&mut self.resent, &other.resent) {
            (Some(resent), Some(other)) => resent.merge(other),
            (resent @ None, other) => resent.clone_from(other),
            (Some(_), None) => {}
        }
        steps::merge(&mut self.steps, &other.steps);
        errors::merge(&mut self.errors_by_name, &other.errors_by_name);
    }
}

/// Calls that were transmitted more than once. Their backlog holds the earlier transmissions, so they are kept apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ResentRow {
    /// Number of calls.
    pub count: u64,
    /// From the start of the call to its last transmission.
    pub backlog_ns: Latency,
    /// From the last transmission until the reply was seen.
    pub rtt_ns: Latency,
    /// From there until the call was done.
    pub tail_ns: Latency,
    /// The whole.
    pub execute_ns: Latency,
}

impl ResentRow {
    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.backlog_ns.merge(&other.backlog_ns);
        self.rtt_ns.merge(&other.rtt_ns);
        self.tail_ns.merge(&other.tail_ns);
        self.execute_ns.merge(&other.execute_ns);
    }
}

/// Time that calls spent in one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// The step.
    pub step: RpcStep,
    /// Calls that spent time in it.
    pub count: u64,
    /// The time.
    pub total_ns: u64,
    /// Percentiles over those calls (within 1%); `null` if none was counted.
    pub p50: Option<u64>,
    /// See `p50`.
    pub p99: Option<u64>,
    /// All values.
    #[serde(skip)]
    pub histogram: Histogram,
}

/// Calls that ended with one error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorRow {
    /// Name, such as `ENOENT` or `NFS4ERR_DELAY`; the number if it has none.
    pub name: String,
    /// The number: an error number of the kernel, or above 10000 one of NFSv4.
    pub number: u32,
    /// Calls.
    pub count: u64,
}

/// Latencies of one part of calls. Percentiles are within 1%, sums and extremes exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Number of values.
    pub count: u64,
    /// Sum as the kernel's own statistics have it (signed).
    pub sum: i64,
    /// Values below zero, counted as 0 in everything but `sum`.
    pub negative: u64,
    /// Smallest.
    pub min: u64,
    /// Percentile.
    pub p50: u64,
    /// Percentile.
    pub p90: u64,
    /// Percentile.
    pub p99: u64,
    /// Largest.
    pub max: u64,
    /// All values, as HdrHistogram V2 (deflate) in base64.
    #[serde(rename = "hdr", serialize_with = "hdr")]
    pub histogram: Histogram,
}

fn hdr<S: Serializer>(histogram: &Histogram, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&histogram.to_hdr_base64())
}

/// A call open when the window closed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InFlightRow {
    /// See [`RpcRow::mount`].
    pub mount: Option<String>,
    /// See [`RpcRow::mounts`].
    pub mounts: Vec<String>,
    /// See [`RpcRow::server`].
    pub server: String,
    /// See [`RpcRow::program`].
    pub program: u32,
    /// See [`RpcRow::version`].
    pub version: u32,
    /// Operation.
    pub op: String,
    /// Time since it began; if `open_at_start`, at least this.
    pub age_ns: u64,
    /// True if it was open before the window began.
    pub open_at_start: bool,
    /// Process that made it; 0 if not known.
    pub pid: u32,
    /// Name of the thread that made it.
    pub comm: String,
    /// RPC queue it sleeps on; empty if not known.
    pub waiting_in: String,
    /// What it waits for before it is sent; `null` if it waits for its reply, does not wait, or that is not known.
    pub step: Option<RpcStep>,
}
