//! NFS mounts, clients, transports and calls.

use nfslat_common::rpc::step;
use serde::{Deserialize, Serialize};

use super::Histogram;

/// An NFS mount, from `/proc/self/mountinfo` and `/proc/self/mountstats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Mount point.
    pub mount_point: String,
    /// Server and exported path, `server:/path`.
    pub source: String,
    /// Server address (`addr=`), empty if not stated.
    pub server: String,
    /// NFS version as in `vers=`, such as `4.2`.
    pub version: String,
    /// Mount options, comma-separated.
    pub options: String,
    /// Device number, major.
    pub dev_major: u32,
    /// Device number, minor.
    pub dev_minor: u32,
    /// A process that has it in its mount namespace; `None` if it is in nfslat's own.
    #[serde(default)]
    pub namespace_pid: Option<u32>,
    /// Network namespace (inode) of the processes that have it, which is taken for the one it was made in; `None` if they
    /// are in several, and in recordings of older versions.
    #[serde(default)]
    pub net_namespace: Option<u64>,
}

impl Mount {
    /// What it is called: its mount point, and in whose mount namespace that is, if not in nfslat's own.
    #[must_use]
    pub fn name(&self) -> String {
        match self.namespace_pid {
            None => self.mount_point.clone(),
            Some(pid) => format!("{} (mount namespace of pid {pid})", self.mount_point),
        }
    }
}

/// A kernel RPC client. One mount has one of its own; NFSv4 mounts of one server share a parent,
/// which carries the calls about leases and sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcClient {
    /// `rpc_clnt.cl_clid`.
    pub id: u32,
    /// Client it was cloned from; its own id if none.
    pub parent_id: u32,
    /// Mounts (indices into the recording's mounts) whose calls it carries: exactly one for a
    /// mount's own client, several where a superblock or a parent is shared, none if not found.
    pub mounts: Vec<u32>,
    /// True if the client is the parent of mounts' clients: it carries server-wide calls.
    pub shared: bool,
    /// How the mounts were found, or why not: evidence for the reader.
    pub found_by: String,
}

/// A transport (connection) to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// `rpc_xprt.id`; `None` where the kernel has none.
    pub id: Option<u32>,
    /// Protocol and address, such as `tcp 192.0.2.1`; empty if not found.
    pub address: String,
}

/// One operation on one client over one transport.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcSeries {
    /// [`RpcClient::id`].
    pub client_id: u32,
    /// Transport; `None` where the kernel has none.
    pub xprt_id: Option<u32>,
    /// RPC program number; 100003 is NFS.
    pub program: u32,
    /// Program version.
    pub version: u32,
    /// Index of the operation in mountstats.
    pub op_index: u32,
    /// Name of the operation as the kernel has it, such as `READ`.
    pub op: String,
    /// True for calls that were transmitted more than once: their backlog holds earlier transmissions.
    #[serde(default)]
    pub resent: bool,
    /// Smallest and largest value of backlog, rtt, tail and execute over the run (ns, exact).
    pub min_ns: [u64; 4],
    /// See `min_ns`.
    pub max_ns: [u64; 4],
}

/// One part of a call's time, over one slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RpcPart {
    /// Sum as the kernel's own statistics sum it (signed).
    pub sum_ns: i64,
    /// Values below zero; they are in the histogram as 0.
    pub negative: u64,
    /// All values.
    pub histogram: Histogram,
}

/// Calls of one series that ended in one slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RpcSlice {
    /// Index into the recording's `rpc_series`.
    pub series: u32,
    /// Calls done.
    pub count: u64,
    /// Calls that ended in an error.
    pub errors: u64,
    /// Calls transmitted more than once.
    pub retransmitted: u64,
    /// Transmissions.
    pub transmissions: u64,
    /// Major timeouts.
    pub timeouts: u64,
    /// Calls never transmitted: they have no backlog, rtt and tail.
    pub unsent: u64,
    /// Bytes sent, RPC headers included.
    pub bytes_sent: u64,
    /// Bytes received, RPC headers included.
    pub bytes_received: u64,
    /// Before the last transmit.
    pub backlog: RpcPart,
    /// Last transmit to reply seen.
    pub rtt: RpcPart,
    /// Reply seen to done.
    pub tail: RpcPart,
    /// The whole.
    pub execute: RpcPart,
}

/// What a call spends time in besides the network and the server: queues before it is sent, and what follows its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RpcStep {
    /// Waits for a slot of the NFSv4 session (v4.0: of the client's own table).
    SessionSlot,
    /// Waits for a slot of the transport.
    XprtSlot,
    /// Waits for its turn to send on the transport.
    SendLock,
    /// Waits for a connection, or to learn the server's port.
    Connect,
    /// Waits for a security context, set up in user space.
    Security,
    /// Waits because the server asked to try again later.
    Delay,
    /// Waits for the recovery of client state.
    Recovery,
    /// Waits for another open, close or lock of the same owner (NFSv4.0).
    Sequence,
    /// Waits in a queue of another name.
    Other,
    /// From the reply seen to the call woken: the rest of the reply is received.
    Receive,
    /// From the call woken to its end: until it has a CPU, and its reply is decoded.
    Wake,
}

impl RpcStep {
    /// Every step, in the order of [`nfslat_common::rpc::step`].
    pub const ALL: [Self; step::COUNT] = [
        Self::SessionSlot,
        Self::XprtSlot,
        Self::SendLock,
        Self::Connect,
        Self::Security,
        Self::Delay,
        Self::Recovery,
        Self::Sequence,
        Self::Other,
        Self::Receive,
        Self::Wake,
    ];

    /// True for those before sending: parts of the backlog. The others are parts of the tail.
    #[must_use]
    pub const fn is_queue(self) -> bool {
        !matches!(self, Self::Receive | Self::Wake)
    }
}

/// Time that calls of one series, which ended in one slice, spent in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcStepSlice {
    /// Index into the recording's `rpc_series`.
    pub series: u32,
    /// The step.
    pub step: RpcStep,
    /// Calls that spent time in it.
    pub count: u64,
    /// The time.
    pub total_ns: u64,
    /// All values.
    pub histogram: Histogram,
}

/// Calls of one series that ended with one error in one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcErrorSlice {
    /// Index into the recording's `rpc_series`.
    pub series: u32,
    /// `rpc_task.tk_status`: a negative error number of the kernel, or below -10000 one of NFSv4.
    pub status: i32,
    /// Calls.
    pub count: u64,
}

/// Who made calls: whoever was running when they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// A process, by its id. It may not wait for the call itself: what is read ahead is asked for in its name.
    Process(u32),
    /// The kernel's own threads, which write back what programs have left in the cache, renew leases, ...
    Kernel,
    /// The call began before the window, or is another attempt at one.
    Unknown,
}

/// Calls of one series by one maker, which ended in one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcMakerSlice {
    /// Index into the recording's `rpc_series`.
    pub series: u32,
    /// Who made them.
    pub maker: Maker,
    /// Calls.
    pub count: u64,
    /// Time from their begin to their end.
    pub execute_ns: u64,
}

/// A call that was open when the window closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// [`RpcClient::id`].
    pub client_id: u32,
    /// RPC program number.
    pub program: u32,
    /// Program version.
    pub version: u32,
    /// Operation, such as `WRITE`.
    pub op: String,
    /// Time since it began; if `open_at_start`, at least this.
    pub age_ns: u64,
    /// True if it was open before the window began.
    pub open_at_start: bool,
    /// Process that made it; 0 if not known (it began before the window).
    pub pid: u32,
    /// Name of the thread that made it.
    pub comm: String,
    /// What the kernel says of its state (queue it sleeps on), empty if not known.
    pub waiting_in: String,
    /// What it waits for before it is sent; `None` if it waits for its reply, does not wait, or that is not known.
    #[serde(default)]
    pub step: Option<RpcStep>,
}
