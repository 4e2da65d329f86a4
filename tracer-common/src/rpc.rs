//! Remote procedure calls of the kernel's NFS client.

/// RPC program number of NFS (RFC 1813, RFC 8881). Others are rpcbind, mount, lock manager.
pub const NFS_PROGRAM: u32 = 100_003;

/// Longest procedure name kept, with its terminating 0 ("LAYOUTSTATS", "RECLAIM_COMPLETE").
pub const OP_NAME_LEN: usize = 24;

/// Calls are summed by operation, client (which leads to the mount) and transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct RpcKey {
    /// `rpc_clnt.cl_clid`: number of the RPC client, unique in the running system.
    pub client_id: u32,
    /// `rpc_xprt.id` of the transport that carried the call; [`NO_XPRT`] where the kernel has none.
    pub xprt_id: u32,
    /// RPC program number, 100003 for NFS.
    pub program: u32,
    /// Program version: 3 or 4 for NFS.
    pub version: u16,
    /// `rpc_procinfo.p_statidx`: index of the operation in mountstats.
    pub op: u16,
    /// [`RpcKey::RESENT`], and above it what tells operations apart whose number is not known.
    pub resent: u32,
}
const _: () = assert!(size_of::<RpcKey>() == 20);

impl RpcKey {
    /// Bit of `resent`: the call was transmitted more than once, and its backlog holds earlier transmissions.
    pub const RESENT: u32 = 1;

    /// Sets what tells operations apart by a name alone: 47 bits of its hash.
    #[inline(always)]
    pub const fn set_name_hash(&mut self, hash: u64) {
        self.op = hash as u16;
        self.resent = ((hash >> 16) as u32) << 1;
    }
}

/// Stands for a transport that is not known.
pub const NO_XPRT: u32 = u32::MAX;

/// Programs that stand in for that of a hook keep their own sums: any of them may be preempted while it changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct RpcStandInKey {
    /// The series.
    pub rpc: RpcKey,
    /// Which program, from 1 on.
    pub program: u32,
}
const _: () = assert!(size_of::<RpcStandInKey>() == 24);

/// The parts of a call's time, in the order of [`RpcStats::parts`].
pub mod part {
    /// Before the last transmit.
    pub const BACKLOG: usize = 0;
    /// Last transmit to reply seen.
    pub const RTT: usize = 1;
    /// Reply seen to done.
    pub const TAIL: usize = 2;
    /// The whole.
    pub const EXECUTE: usize = 3;
    /// Number of parts.
    pub const COUNT: usize = 4;
}

/// Steps that a call may spend time in before it is sent (all of its backlog but what is spent in none) and after its
/// reply was seen (all of its tail, where the end of the wait for the reply was seen).
pub mod step {
    /// The slot table of an NFSv4 session (v4.0: of the transport).
    pub const SESSION_SLOT: usize = 0;
    /// A slot of the transport.
    pub const XPRT_SLOT: usize = 1;
    /// The transport's send lock.
    pub const SEND_LOCK: usize = 2;
    /// A connection, or the server's port.
    pub const CONNECT: usize = 3;
    /// Security context, set up in user space.
    pub const SECURITY: usize = 4;
    /// The server asked to try again later.
    pub const DELAY: usize = 5;
    /// Recovery of client state.
    pub const RECOVERY: usize = 6;
    /// Another open, close or lock of the same owner (NFSv4.0).
    pub const SEQUENCE: usize = 7;
    /// A queue of another name.
    pub const OTHER: usize = 8;
    /// Number of those before sending.
    pub const QUEUES: usize = 9;
    /// From the reply seen to the call woken: the rest of the reply is received.
    pub const RECEIVE: usize = 9;
    /// From the call woken to its end: until it has a CPU, and its reply is decoded.
    pub const WAKE: usize = 10;
    /// Number of steps.
    pub const COUNT: usize = 11;
}

/// Time spent in one [`step`] by the calls of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct RpcStepKey {
    /// The series.
    pub rpc: RpcKey,
    /// One of [`step`].
    pub step: u32,
}
const _: () = assert!(size_of::<RpcStepKey>() == 24);

/// Its sum, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RpcStepSum {
    /// Calls that spent time in it.
    pub count: u64,
    /// The time.
    pub total_ns: u64,
}
const _: () = assert!(size_of::<RpcStepSum>() == 16);

/// Calls of a series that ended with an error; the value is a `u64` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct RpcErrorKey {
    /// The series.
    pub rpc: RpcKey,
    /// `rpc_task.tk_status`, negative.
    pub status: i32,
}
const _: () = assert!(size_of::<RpcErrorKey>() == 24);

/// Sum and extremes of one part, kept per CPU. ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PartSum {
    /// Signed sum as the kernel sums it, negative values included.
    pub sum_ns: i64,
    /// Smallest, after clamping negatives to 0.
    pub min_ns: u64,
    /// Largest.
    pub max_ns: u64,
    /// Values that were negative and went to the histogram as 0.
    pub negative: u64,
}

/// Sums of one [`RpcKey`] on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RpcStats {
    /// Calls done (attempts, as the kernel counts them).
    pub count: u64,
    /// Calls that ended with a negative status.
    pub errors: u64,
    /// Calls that were transmitted more than once.
    pub retransmitted: u64,
    /// Transmissions.
    pub transmissions: u64,
    /// Major timeouts.
    pub timeouts: u64,
    /// Calls that ended without ever being transmitted; only `execute` counts them.
    pub unsent: u64,
    /// Bytes sent, RPC headers included.
    pub bytes_sent: u64,
    /// Bytes received, RPC headers included.
    pub bytes_received: u64,
    /// By [`part`].
    pub parts: [PartSum; part::COUNT],
    /// Procedure name, 0-terminated.
    pub name: [u8; OP_NAME_LEN],
}
const _: () = assert!(size_of::<RpcStats>() == 64 + 32 * part::COUNT + OP_NAME_LEN);

/// One bucket of the latency histogram of a series; the value is a `u64` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RpcBucketKey {
    /// The series.
    pub rpc: RpcKey,
    /// One of [`part`], or [`part::COUNT`] and a [`step`].
    pub part: u16,
    /// [`crate::buckets::bucket_of`].
    pub bucket: u16,
}
const _: () = assert!(size_of::<RpcBucketKey>() == 24);

/// Hooks with further programs that do what the first one missed.
pub mod marked {
    /// `rpc_stats_latency`.
    pub const STATS: u32 = 0;
    /// `rpc_task_begin`.
    pub const BEGIN: u32 = 1;
    /// `rpc_task_end`.
    pub const END: u32 = 2;
    /// `mm_filemap_fault`.
    pub const FAULT: u32 = 3;
    /// Room for so many, a power of two and at most the alignment of an `rpc_task` and a `task_struct`.
    pub const COUNT: u32 = 4;
}

/// A call that has begun and not ended; its key is the address of the `rpc_task`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct InFlightCall {
    /// What it is; the transport may not be chosen yet.
    pub rpc: RpcKey,
    /// What it sleeps for: 0 nothing, 1 and a [`step`], [`InFlightCall::FOR_REPLY`], or [`InFlightCall::ENDED`].
    pub sleeps_for: u32,
    /// When it began (CLOCK_MONOTONIC).
    pub begin_ns: u64,
    /// Process that made it.
    pub tgid: u32,
    /// Thread that made it.
    pub tid: u32,
    /// Its name.
    pub comm: [u8; 16],
    /// Procedure name, 0-terminated.
    pub name: [u8; OP_NAME_LEN],
    /// RPC wait queue on which it last went to sleep, 0-terminated.
    pub queue: [u8; OP_NAME_LEN],
    /// When it went to sleep; holds while `sleeps_for` is not 0.
    pub slept_ns: u64,
    /// When it was last woken from waiting for its reply; 0: never.
    pub replied_ns: u64,
    /// Time it has spent in each [`step`] before sending.
    pub waited_ns: [u64; step::QUEUES],
    /// As [`RpcMakerKey::maker`].
    pub maker: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<InFlightCall>() == 200);

impl InFlightCall {
    /// It waits for its reply.
    pub const FOR_REPLY: u32 = step::COUNT as u32 + 1;
    /// It, or one attempt at it, has ended, and waits to be counted.
    pub const ENDED: u32 = u32::MAX;
}

/// Calls of one series that one process made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct RpcMakerKey {
    /// The series.
    pub rpc: RpcKey,
    /// Process, [`RpcMakerKey::KERNEL`] or [`RpcMakerKey::UNKNOWN`].
    pub maker: u32,
}
const _: () = assert!(size_of::<RpcMakerKey>() == 24);

impl RpcMakerKey {
    /// The kernel's own threads: they write back what programs have left in the cache, renew leases, ...
    pub const KERNEL: u32 = 0;
    /// The call began before the window, or is another attempt at one.
    pub const UNKNOWN: u32 = u32::MAX;
}

/// Their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RpcMakerSum {
    /// Calls done.
    pub count: u64,
    /// Time from their begin to their end.
    pub execute_ns: u64,
}
const _: () = assert!(size_of::<RpcMakerSum>() == 16);

/// What is known of an RPC client; its key is the client id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ClientInfo {
    /// Id of the client it was cloned from; its own id if none. Calls about server state
    /// (leases, sessions) use the parent, which several mounts may share.
    pub parent_id: u32,
    /// Device number of the mount as the kernel keeps it (`super_block.s_dev`); 0: not seen.
    pub s_dev: u32,
}
const _: () = assert!(size_of::<ClientInfo>() == 8);
