//! TCP connections of NFS transports, as the kernel's TCP sees them (`tcp_info`).

use serde::{Deserialize, Serialize};

/// What was seen of transports and their connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tcp {
    /// Transports of this network namespace and of those of mounts elsewhere, in the order in which they were seen.
    pub transports: Vec<TcpTransport>,
    /// Their connections; slices refer to them by index.
    pub connections: Vec<TcpConnection>,
    /// Why connections could not be read; empty if they could.
    pub failure: String,
}

/// A transport, whatever its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpTransport {
    /// `rpc_xprt.id`; `None` where the kernel has none or does not show it.
    pub xprt_id: Option<u32>,
    /// Protocol, such as `tcp` or `rdma`.
    pub protocol: String,
    /// Address of the server.
    pub address: String,
    /// Port of the server; 0 if not known.
    pub port: u16,
    /// RPC clients that use it ([`super::RpcClient::id`]); empty where the kernel does not show them.
    pub clients: Vec<u32>,
    /// Network namespace (inode); `None` if not known, and in recordings of older versions.
    pub net_namespace: Option<u64>,
}

/// One TCP connection of a transport: a transport that connects again gets another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpConnection {
    /// Index into the transports.
    pub transport: u32,
    /// The kernel's number of the socket, which it does not give twice.
    pub cookie: u64,
    /// Port on the client's side.
    pub client_port: u16,
    /// Congestion control algorithm; empty if not told.
    pub congestion: String,
    /// True if it was there at the start of the window, or when its network namespace was read first. If not, it began within the window, with every
    /// counter at 0.
    pub open_at_start: bool,
    /// True if it was there at the end of the window. If not, `last` is from at most a slice before its end.
    pub open_at_end: bool,
    /// At the start of the window; where it began or was found later, when it was first seen.
    pub first: TcpState,
    /// At the end of the window, or when it was last seen.
    pub last: TcpState,
    /// Smallest `min_rtt_us` of all readings.
    pub least_min_rtt_us: Option<u32>,
    /// Largest `srtt_us` of all readings.
    pub most_srtt_us: Option<u32>,
    /// Smallest `cwnd_segments` of all readings.
    pub least_cwnd_segments: u32,
}

/// State of a connection at one moment. Counters run since the connection began. A field is `None` where the kernel
/// does not have it, or no value yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpState {
    /// When it was read, from the start of the window.
    pub at_ns: u64,
    /// State of the connection (`include/net/tcp_states.h`); 1 is established.
    pub state: u8,
    /// Smoothed round-trip time.
    pub srtt_us: Option<u32>,
    /// Its mean deviation.
    pub rttvar_us: Option<u32>,
    /// Smallest round-trip time of the last 5 minutes (`net.ipv4.tcp_min_rtt_wlen`).
    pub min_rtt_us: Option<u32>,
    /// Largest segment sent.
    pub mss_bytes: u32,
    /// Congestion window.
    pub cwnd_segments: u32,
    /// Slow start threshold.
    pub ssthresh_segments: u32,
    /// Segments held for lost at this moment.
    pub lost_segments: u32,
    /// Segments sent and not acknowledged at this moment.
    pub unacked_segments: u32,
    /// Reordering that TCP expects.
    pub reordering_segments: u32,
    /// Segments sent again, ever.
    pub retransmitted_segments: u32,
    /// Segments sent, ever.
    pub sent_segments: Option<u32>,
    /// Segments received, ever.
    pub received_segments: Option<u32>,
    /// Bytes sent that were acknowledged, ever.
    pub acked_bytes: Option<u64>,
    /// Bytes received, ever.
    pub received_bytes: Option<u64>,
    /// Bytes sent again, ever.
    pub retransmitted_bytes: Option<u64>,
    /// Segments that reached the server twice, as it says (DSACK), ever: they were sent again for nothing.
    pub duplicate_segments: Option<u32>,
    /// Rate at which the server last acknowledged data.
    pub delivery_bytes_per_s: Option<u64>,
    /// True if that rate was limited by there being nothing more to send.
    pub delivery_app_limited: bool,
    /// Time with data to send or not acknowledged, ever.
    pub busy_us: Option<u64>,
    /// Part of it in which the server's receive window was full.
    pub rwnd_limited_us: Option<u64>,
    /// Part of it in which this side's send buffer was full.
    pub sndbuf_limited_us: Option<u64>,
}

/// One connection at the end of a slice. Listed only if something of it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpSlice {
    /// Index into the recording's connections.
    pub connection: u32,
    /// Smoothed round-trip time.
    pub srtt_us: Option<u32>,
    /// Smallest round-trip time, as in [`TcpState::min_rtt_us`].
    pub min_rtt_us: Option<u32>,
    /// Congestion window.
    pub cwnd_segments: u32,
    /// Segments sent again within the slice.
    pub retransmitted_segments: u32,
}
