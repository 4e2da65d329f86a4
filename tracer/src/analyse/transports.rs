//! Transports of NFS calls: what went over each, and what its TCP connection was like. TCP's smallest round trip is that
//! of the network path and the other machine's TCP, without the server's work. The smoothed one may hold some of that work:
//! the other side puts off an acknowledgement, to send it along with the reply.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use crate::model::{Histogram, Mount, Recording, RpcSeries, RpcSlice, Tcp, TcpConnection, TcpState, TcpTransport};

/// A transport.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TransportRow {
    /// Transport number, as in [`super::answer::RpcRow::xprt`]; `null` where the kernel has none.
    pub id: Option<u32>,
    /// Protocol, such as `tcp`; empty if not known.
    pub protocol: String,
    /// Address of the server; empty if not known.
    pub address: String,
    /// Port of the server; 0 if not known.
    pub port: u16,
    /// Mount points whose calls may go over it.
    pub mounts: Vec<String>,
    /// What went over it; `null` where the kernel does not tell which transport a call takes.
    pub calls: Option<TransportCalls>,
    /// Its TCP connection; `null` if there was none to be seen.
    pub tcp: Option<TcpRow>,
    /// Why there is none; empty if there is.
    pub tcp_missing: String,
}

/// Calls over one transport.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TransportCalls {
    /// Calls done.
    pub count: u64,
    /// Calls that were transmitted more than once.
    pub retransmitted: u64,
    /// Bytes sent, RPC headers included.
    pub bytes_sent: u64,
    /// Bytes received, RPC headers included.
    pub bytes_received: u64,
    /// Median time from the last transmission of a call until its reply; `null` if no call was sent.
    pub rtt_p50_ns: Option<u64>,
}

/// A transport's TCP connection over the run; of several, one after the other, the last with the sums of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TcpRow {
    /// Ports on this side, the last connection's last.
    pub client_ports: Vec<u16>,
    /// State at the end: `established`, `syn-sent`, ...; `closed` if it was gone.
    pub state: &'static str,
    /// How often another connection took the place of one. At least: they are looked at about once a second.
    pub reconnects: u64,
    /// Congestion control algorithm; empty if not known.
    pub congestion: String,
    /// Smallest round-trip time; `null` if there was none yet. It may be up to 5 minutes older than the run.
    pub min_rtt_ns: Option<u64>,
    /// Smoothed round-trip time, last.
    pub srtt_ns: Option<u64>,
    /// Its mean deviation, last.
    pub rttvar_ns: Option<u64>,
    /// Largest smoothed round-trip time of all readings.
    pub srtt_max_ns: Option<u64>,
    /// Segments sent again in the window.
    pub retransmitted_segments: u64,
    /// Segments sent in the window, these included; `null` where the kernel does not count them.
    pub sent_segments: Option<u64>,
    /// Segments received in the window.
    pub received_segments: Option<u64>,
    /// Bytes acknowledged in the window.
    pub acked_bytes: Option<u64>,
    /// Bytes received in the window.
    pub received_bytes: Option<u64>,
    /// Bytes sent again in the window.
    pub retransmitted_bytes: Option<u64>,
    /// Segments sent again for nothing, as the server says (DSACK): they had not been lost.
    pub duplicate_segments: Option<u64>,
    /// Segments held for lost, last.
    pub lost_segments: u32,
    /// Segments sent and not acknowledged, last.
    pub unacked_segments: u32,
    /// Reordering that TCP expects, last.
    pub reordering_segments: u32,
    /// Congestion window, last.
    pub cwnd_segments: u32,
    /// Smallest congestion window of all readings.
    pub cwnd_min_segments: u32,
    /// Largest segment sent.
    pub mss_bytes: u32,
    /// Rate at which data was last acknowledged.
    pub delivery_bytes_per_s: Option<u64>,
    /// True if there was nothing more to send at that rate.
    pub delivery_app_limited: bool,
    /// Time over which the times below were counted.
    pub observed_ns: u64,
    /// Time with data to send or not acknowledged.
    pub busy_ns: Option<u64>,
    /// Part of it in which the server's receive window was full.
    pub rwnd_limited_ns: Option<u64>,
    /// Part of it in which this side's send buffer was full.
    pub sndbuf_limited_ns: Option<u64>,
}

/// The transports of a (validated) recording, those with most calls first; none of recordings of older versions. With a
/// mount filter, only those of that mount.
pub(super) fn rows(recording: &Recording) -> Vec<TransportRow> {
    let Some(tcp) = &recording.tcp else { return Vec::new() };
    let traffic = Traffic::of(recording);
    let mut connections = vec![Vec::new(); tcp.transports.len()];
    for connection in &tcp.connections {
        connections[connection.transport as usize].push(connection);
    }
    let mut rows: Vec<_> = tcp
        .transports
        .iter()
        .zip(connections)
        .map(|(transport, connections)| TransportRow {
            tcp_missing: if connections.is_empty() { missing(tcp, transport) } else { String::new() },
            tcp: tcp_row(&connections, |connection| observed_ns(recording, connection)),
            ..traffic.row(transport)
        })
        .collect();
    let known: BTreeSet<Option<u32>> = tcp.transports.iter().map(|transport| transport.xprt_id).collect();
    rows.extend(traffic.by_number.keys().filter(|id| !known.contains(&Some(**id))).map(|&id| traffic.foreign_row(id)));
    rows.retain(|row| {
        let is_used = row.calls.as_ref().is_some_and(|calls| calls.count > 0) || row.tcp.is_some();
        let wanted = recording.options.mount.as_ref();
        wanted.map_or(is_used || !row.mounts.is_empty(), |mount| row.mounts.contains(mount))
    });
    rows.sort_by_key(|row| (Reverse(row.calls.as_ref().map_or(0, |calls| calls.count)), row.id));
    rows
}

/// Why a transport has no connection.
fn missing(tcp: &Tcp, transport: &TcpTransport) -> String {
    match transport.protocol.as_str() {
        "tcp" if tcp.failure.is_empty() => "no connection was found".to_owned(),
        "tcp" => tcp.failure.clone(),
        other => format!("{other} is not TCP"),
    }
}

/// Network namespace and address of a server: the same address in another network is another server.
type Server<'r> = (Option<u64>, &'r str);

fn server_of(mount: &Mount) -> Server<'_> {
    (mount.net_namespace, &mount.server)
}

fn server(transport: &TcpTransport) -> Server<'_> {
    (transport.net_namespace, &transport.address)
}

/// What calls tell of transports.
struct Traffic<'r> {
    recording: &'r Recording,
    /// By transport number.
    by_number: BTreeMap<u32, Sums>,
    /// By server, where calls have no transport number.
    by_server: BTreeMap<Server<'r>, Sums>,
    /// Transports without a number by server.
    ways: BTreeMap<Server<'r>, u32>,
    /// Mounts (indices) by client.
    mounts: BTreeMap<u32, BTreeSet<u32>>,
}

#[derive(Default)]
struct Sums {
    calls: TransportCalls,
    rtt: Histogram,
    clients: BTreeSet<u32>,
}

impl<'r> Traffic<'r> {
    fn of(recording: &'r Recording) -> Self {
        let mut mounts: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for client in &recording.clients {
            mounts.entry(client.id).or_default().extend(&client.mounts);
        }
        let mut ways = BTreeMap::new();
        for transport in recording.tcp.iter().flat_map(|tcp| &tcp.transports).filter(|known| known.xprt_id.is_none()) {
            *ways.entry(server(transport)).or_default() += 1;
        }
        let mut traffic = Self { recording, by_number: BTreeMap::new(), by_server: BTreeMap::new(), ways, mounts };
        for part in recording.slices.iter().flat_map(|slice| &slice.rpc) {
            let series = &recording.rpc_series[part.series as usize];
            let mount = traffic.mounts.get(&series.client_id).and_then(BTreeSet::first);
            let sums = match (series.xprt_id, mount) {
                (Some(id), _) => traffic.by_number.entry(id).or_default(),
                (None, Some(&mount)) => {
                    traffic.by_server.entry(server_of(&recording.mounts[mount as usize])).or_default()
                }
                (None, None) => continue,
            };
            sums.add(series, part);
        }
        traffic
    }

    /// A transport that was seen among those of the network namespaces that were read.
    fn row(&self, transport: &TcpTransport) -> TransportRow {
        let server = server(transport);
        let (sums, is_told) = match transport.xprt_id {
            Some(id) => (self.by_number.get(&id), true),
            // They are this transport's if no other leads to the server.
            None => (self.by_server.get(&server), self.ways.get(&server) == Some(&1)),
        };
        let by_calls = sums.map(|sums| &sums.clients).into_iter().flatten();
        let mut mounts =
            self.mounts_of(transport.clients.iter().chain(by_calls.filter(|_| transport.xprt_id.is_some())));
        if transport.xprt_id.is_none() {
            let at_server = |mount: &&u32| server_of(&self.recording.mounts[**mount as usize]) == server;
            let all: Vec<u32> = (0..self.recording.mounts.len() as u32).collect();
            mounts.extend(all.iter().filter(at_server));
        }
        TransportRow {
            id: transport.xprt_id,
            protocol: transport.protocol.clone(),
            address: transport.address.clone(),
            port: transport.port,
            mounts: self.mount_points(mounts),
            calls: is_told.then(|| sums.map(Sums::finish).unwrap_or_default()),
            ..TransportRow::default()
        }
    }

    /// A transport of which calls tell, and nothing else.
    fn foreign_row(&self, id: u32) -> TransportRow {
        let described = self.recording.transports.iter().find(|transport| transport.id == Some(id));
        let (protocol, address) = described.and_then(|transport| transport.address.split_once(' ')).unwrap_or_default();
        let sums = &self.by_number[&id];
        TransportRow {
            id: Some(id),
            protocol: protocol.to_owned(),
            address: address.to_owned(),
            mounts: self.mount_points(self.mounts_of(&sums.clients)),
            calls: Some(sums.finish()),
            tcp_missing: "gone, or of another network namespace".to_owned(),
            ..TransportRow::default()
        }
    }

    fn mounts_of<'a>(&self, clients: impl IntoIterator<Item = &'a u32>) -> BTreeSet<u32> {
        clients.into_iter().filter_map(|client| self.mounts.get(client)).flatten().copied().collect()
    }

    fn mount_points(&self, mounts: BTreeSet<u32>) -> Vec<String> {
        mounts.into_iter().map(|mount| self.recording.mounts[mount as usize].name()).collect()
    }
}

impl Sums {
    fn add(&mut self, series: &RpcSeries, part: &RpcSlice) {
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        add(&mut self.calls.count, part.count);
        add(&mut self.calls.retransmitted, part.retransmitted);
        add(&mut self.calls.bytes_sent, part.bytes_sent);
        add(&mut self.calls.bytes_received, part.bytes_received);
        self.rtt.merge(&part.rtt.histogram);
        self.clients.insert(series.client_id);
    }

    fn finish(&self) -> TransportCalls {
        TransportCalls { rtt_p50_ns: self.rtt.quantile(0.5), ..self.calls.clone() }
    }
}

/// Time over which the counters of a connection were counted. One that began in the window did so after the reading
/// before the one that first showed it.
fn observed_ns(recording: &Recording, connection: &TcpConnection) -> u64 {
    let first_ns = connection.first.at_ns;
    let slices = &recording.slices;
    let reading_before = || slices[..slices.partition_point(|slice| slice.start_ns < first_ns)].last();
    let from_ns = if connection.open_at_start { first_ns } else { reading_before().map_or(0, |slice| slice.start_ns) };
    connection.last.at_ns.saturating_sub(from_ns)
}

fn tcp_row(connections: &[&TcpConnection], observed_ns: impl Fn(&TcpConnection) -> u64) -> Option<TcpRow> {
    let newest = connections.last()?;
    let last = &newest.last;
    let ns = |us: Option<u32>| us.map(|us| u64::from(us) * 1_000);
    let total = |delta: fn(&TcpConnection) -> Option<u64>| {
        connections.iter().try_fold(0_u64, |sum, connection| Some(sum.saturating_add(delta(connection)?)))
    };
    let mut client_ports: Vec<u16> = connections.iter().map(|connection| connection.client_port).collect();
    client_ports.dedup();
    Some(TcpRow {
        client_ports,
        state: if newest.open_at_end { state(last.state) } else { "closed" },
        reconnects: connections.len() as u64 - 1,
        congestion: newest.congestion.clone(),
        min_rtt_ns: ns(connections.iter().filter_map(|connection| connection.least_min_rtt_us).min()),
        srtt_ns: ns(last.srtt_us),
        rttvar_ns: ns(last.rttvar_us),
        srtt_max_ns: ns(connections.iter().filter_map(|connection| connection.most_srtt_us).max()),
        retransmitted_segments: total(|connection| {
            let before = before(connection).map_or(0, |first| first.retransmitted_segments);
            Some(u64::from(connection.last.retransmitted_segments.wrapping_sub(before)))
        })
        .unwrap_or_default(),
        sent_segments: total(|connection| segments(connection, |state| state.sent_segments)),
        received_segments: total(|connection| segments(connection, |state| state.received_segments)),
        acked_bytes: total(|connection| added(connection, |state| state.acked_bytes)),
        received_bytes: total(|connection| added(connection, |state| state.received_bytes)),
        retransmitted_bytes: total(|connection| added(connection, |state| state.retransmitted_bytes)),
        duplicate_segments: total(|connection| segments(connection, |state| state.duplicate_segments)),
        lost_segments: last.lost_segments,
        unacked_segments: last.unacked_segments,
        reordering_segments: last.reordering_segments,
        cwnd_segments: last.cwnd_segments,
        cwnd_min_segments: connections
            .iter()
            .map(|connection| connection.least_cwnd_segments)
            .min()
            .unwrap_or_default(),
        mss_bytes: last.mss_bytes,
        delivery_bytes_per_s: last.delivery_bytes_per_s,
        delivery_app_limited: last.delivery_app_limited,
        observed_ns: connections.iter().fold(0, |sum, connection| sum.saturating_add(observed_ns(connection))),
        busy_ns: total(|connection| added(connection, |state| state.busy_us)).map(in_ns),
        rwnd_limited_ns: total(|connection| added(connection, |state| state.rwnd_limited_us)).map(in_ns),
        sndbuf_limited_ns: total(|connection| added(connection, |state| state.sndbuf_limited_us)).map(in_ns),
    })
}

const fn in_ns(us: u64) -> u64 {
    us.saturating_mul(1_000)
}

/// What the counters of a connection were before the run; `None`: it had not begun.
fn before(connection: &TcpConnection) -> Option<&TcpState> {
    connection.open_at_start.then_some(&connection.first)
}

/// What was added to a counter of bytes or of time.
fn added(connection: &TcpConnection, counter: fn(&TcpState) -> Option<u64>) -> Option<u64> {
    let before = before(connection).map_or(Some(0), counter)?;
    Some(counter(&connection.last)?.saturating_sub(before))
}

/// What was added to a counter of segments, which begins again at 0 when its 32 bits are full.
fn segments(connection: &TcpConnection, counter: fn(&TcpState) -> Option<u32>) -> Option<u64> {
    let before = before(connection).map_or(Some(0), counter)?;
    Some(u64::from(counter(&connection.last)?.wrapping_sub(before)))
}

/// Names of `include/net/tcp_states.h`, as `ss` writes them.
const fn state(state: u8) -> &'static str {
    match state {
        1 => "established",
        2 => "syn-sent",
        3 => "syn-recv",
        4 => "fin-wait-1",
        5 => "fin-wait-2",
        6 => "time-wait",
        8 => "close-wait",
        9 => "last-ack",
        11 => "closing",
        _ => "closed",
    }
}
