//! The record of `sunrpc:rpc_stats_latency`, where the structures behind its arguments are not known.

/// Offsets of its fields; the one entry of the `RPC_RECORD_OFFSETS` map. [`crate::config::NO_FIELD`]: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RpcRecordOffsets {
    /// 1 once the offsets are filled in.
    pub ready: u32,
    /// Id of the client, 4 bytes.
    pub client_id: u32,
    /// Version of the program, 4 bytes.
    pub version: u32,
    /// Where the name of the program is, 4 bytes: its offset in the lower half, its length in the upper.
    pub program: u32,
    /// Likewise the name of the procedure.
    pub procedure: u32,
    /// Before the last transmission, in microseconds, 8 bytes.
    pub backlog_us: u32,
    /// From there to the reply, likewise.
    pub rtt_us: u32,
    /// The whole, likewise.
    pub execute_us: u32,
    /// Number of the transport, 4 bytes.
    pub xprt_id: u32,
}
const _: () = assert!(size_of::<RpcRecordOffsets>() == 36);
