//! What the answer says of NFS calls, and of what they went over.

use serde::Deserialize;

use super::Distribution;

/// Calls of one maker.
#[derive(Clone, Debug, Deserialize)]
pub struct MadeBy {
    /// Who.
    pub maker: Maker,
    /// Number of calls.
    pub count: u64,
}

/// Who made calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// A process.
    Process(u32),
    /// The kernel itself.
    Kernel,
    /// Not known.
    Unknown,
}

/// Calls of one operation on one mount over one transport.
#[derive(Clone, Debug, Deserialize)]
pub struct Rpc {
    /// Mount point.
    pub mount: Option<String>,
    /// RPC program.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// Operation.
    pub op: String,
    /// Calls done.
    pub count: u64,
    /// Calls that ended in an error.
    pub errors: u64,
    /// Calls transmitted more than once.
    pub retransmitted: u64,
    /// Calls open at the end.
    pub in_flight: u64,
    /// Who made the calls.
    pub makers: Vec<MadeBy>,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Before the last transmit.
    pub backlog_ns: Distribution,
    /// Last transmit to reply seen.
    pub rtt_ns: Distribution,
    /// Reply seen to done.
    pub tail_ns: Distribution,
    /// The whole.
    pub execute_ns: Distribution,
    /// Those transmitted more than once, which the parts above leave out.
    pub resent: Option<Resent>,
    /// What they spent time in before sending and after the reply.
    pub steps: Vec<Step>,
    /// Errors.
    pub errors_by_name: Vec<NamedError>,
}

impl Rpc {
    /// Sum of a part over all calls, those transmitted more than once too.
    #[must_use]
    pub fn sum_ns(&self, once: fn(&Self) -> &Distribution, resent: fn(&Resent) -> &Distribution) -> i64 {
        once(self).sum + self.resent.as_ref().map_or(0, |calls| resent(calls).sum)
    }

    /// Time spent in a step.
    #[must_use]
    pub fn spent_in(&self, step: &str) -> u64 {
        self.steps.iter().filter(|part| part.step == step).map(|part| part.total_ns).sum()
    }
}

/// Which layer held up the calls of a mount.
#[derive(Clone, Debug, Deserialize)]
pub struct Layers {
    /// Mount points.
    pub mounts: Vec<String>,
    /// Which layer it is.
    pub verdict: String,
    /// Operations that are slow.
    pub operations: Vec<String>,
    /// The queue with most time.
    pub queue: Option<String>,
    /// The transport that is slower than the others.
    pub slow_transport: Option<u32>,
    /// Calls done.
    pub calls: u64,
    /// Time of all calls.
    pub spent_ns: u64,
    /// In queues before sending.
    pub queues_ns: u64,
    /// Before sending, in no queue.
    pub preparing_ns: u64,
    /// On the path.
    pub path_ns: Option<u64>,
    /// The server.
    pub server_ns: u64,
    /// Receiving.
    pub receive_ns: u64,
    /// Waking.
    pub wake_ns: u64,
    /// Calls sent again.
    pub resent_ns: u64,
    /// Median from sending to the reply.
    pub rtt_p50_ns: Option<u64>,
    /// TCP's shortest round trip.
    pub tcp_min_rtt_ns: Option<u64>,
    /// Segments sent again.
    pub tcp_retransmitted: u64,
}

/// Calls transmitted more than once.
#[derive(Clone, Debug, Deserialize)]
pub struct Resent {
    /// Calls.
    pub count: u64,
    /// Before the last transmit.
    pub backlog_ns: Distribution,
    /// Last transmit to reply seen.
    pub rtt_ns: Distribution,
    /// The whole.
    pub execute_ns: Distribution,
}

/// Time spent in one step of a call.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// Its name.
    pub step: String,
    /// Calls.
    pub count: u64,
    /// The time.
    pub total_ns: u64,
}

/// Calls that ended with one error.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedError {
    /// Its name.
    pub name: String,
    /// Calls.
    pub count: u64,
}

/// A transport of NFS calls.
#[derive(Clone, Debug, Deserialize)]
pub struct Transport {
    /// Its number, where the kernel has any.
    pub id: Option<u32>,
    /// Address of the server.
    pub address: String,
    /// Port of the server.
    pub port: u16,
    /// Mount points that use it.
    pub mounts: Vec<String>,
    /// What went over it, where the kernel tells.
    pub calls: Option<TransportCalls>,
    /// Its connection.
    pub tcp: Option<Tcp>,
}

/// Calls over one transport.
#[derive(Clone, Debug, Deserialize)]
pub struct TransportCalls {
    /// Calls done.
    pub count: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

/// A TCP connection over the run.
#[derive(Clone, Debug, Deserialize)]
pub struct Tcp {
    /// Ports on this side.
    pub client_ports: Vec<u16>,
    /// State at the end.
    pub state: String,
    /// How often another connection took the place of one.
    pub reconnects: u64,
    /// Smallest round-trip time.
    pub min_rtt_ns: Option<u64>,
    /// Smoothed round-trip time.
    pub srtt_ns: Option<u64>,
    /// Its mean deviation.
    pub rttvar_ns: Option<u64>,
    /// Segments sent again.
    pub retransmitted_segments: u64,
    /// Segments sent.
    pub sent_segments: Option<u64>,
    /// Segments received.
    pub received_segments: Option<u64>,
    /// Bytes acknowledged.
    pub acked_bytes: Option<u64>,
    /// Bytes received.
    pub received_bytes: Option<u64>,
    /// Time with something to send.
    pub busy_ns: Option<u64>,
    /// Time for which the counters were watched.
    pub observed_ns: u64,
}
