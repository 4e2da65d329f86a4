//! Transports and their connections over the run. A transport that connects again gets another socket, whose counters
//! begin at 0, so it is kept as another connection.

use std::collections::{HashMap, HashSet};

use super::{
    endpoints::Endpoint,
    info,
    sock_diag::Socket,
    tie::{Tie, tie},
};
use crate::model::{TcpConnection, TcpSlice, TcpState, TcpTransport};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct History {
    transports: Vec<TcpTransport>,
    connections: Vec<TcpConnection>,
    /// Cookie -> index of the connection.
    by_cookie: HashMap<u64, u32>,
    /// What the last slices said of each connection.
    told: HashMap<u32, TcpSlice>,
    /// Cookies of all sockets that were listed, tied or not.
    listed: HashSet<u64>,
    /// Sockets have been listed before.
    begun: bool,
}

impl History {
    /// Adds a reading; returns what changed.
    pub(super) fn note(&mut self, endpoints: &[Endpoint], sockets: &[Socket], at_ns: u64) -> Vec<TcpSlice> {
        self.note_transports(endpoints);
        for connection in &mut self.connections {
            connection.open_at_end = false;
        }
        let present: HashSet<u64> = sockets.iter().map(|socket| socket.cookie).collect();
        let mut changed = Vec::new();
        for Tie { endpoint, socket } in tie(endpoints, sockets) {
            let socket = &sockets[socket];
            let Some(state) = info::parse(&socket.info, at_ns) else { continue };
            let index = match self.by_cookie.get(&socket.cookie) {
                Some(&index) => index,
                None => self.begin(&endpoints[endpoint], socket, state, &present),
            };
            changed.extend(self.update(index, state));
        }
        self.listed.extend(present);
        self.begun = true;
        changed
    }

    /// Sockets that may be older than the first reading that could show them: what they counted until then is not this
    /// run's.
    pub(super) fn take_for_old(&mut self, sockets: &[Socket]) {
        self.listed.extend(sockets.iter().map(|socket| socket.cookie));
    }

    /// Adds transports that were not seen before. Those without a number are seen by their sockets only.
    pub(super) fn note_transports(&mut self, endpoints: &[Endpoint]) {
        for endpoint in endpoints {
            match self.transports.iter_mut().find(|transport| is_same(transport, endpoint)) {
                Some(transport) => transport.clients.clone_from(&endpoint.clients),
                None if endpoint.id.is_some() || !endpoint.is_tcp() => self.transports.push(transport(endpoint)),
                None => {}
            }
        }
    }

    /// A connection that was not seen before.
    fn begin(&mut self, endpoint: &Endpoint, socket: &Socket, state: TcpState, present: &HashSet<u64>) -> u32 {
        let transport = self.transport_of(endpoint, socket, present);
        // One that was listed before belongs to this run's past as well: what it counted then is not known.
        let is_new = self.begun && !self.listed.contains(&socket.cookie);
        let index = self.connections.len() as u32;
        self.connections.push(TcpConnection {
            transport,
            cookie: socket.cookie,
            client_port: socket.local.port(),
            congestion: socket.congestion.clone(),
            open_at_start: !is_new,
            first: state,
            least_cwnd_segments: state.cwnd_segments,
            ..TcpConnection::default()
        });
        self.by_cookie.insert(socket.cookie, index);
        index
    }

    fn transport_of(&mut self, endpoint: &Endpoint, socket: &Socket, present: &HashSet<u64>) -> u32 {
        let fits = |transport: &TcpTransport| is_same(transport, endpoint);
        let known = match endpoint.id {
            Some(_) => self.transports.iter().position(fits),
            // Of those whose socket is gone, one connects again; it keeps its port if it can.
            None => {
                let gone = |index: &usize| {
                    let of_it = |connection: &&TcpConnection| connection.transport as usize == *index;
                    self.connections.iter().filter(of_it).all(|connection| !present.contains(&connection.cookie))
                };
                let last_port = |index: &usize| {
                    let of_it = |connection: &&TcpConnection| connection.transport as usize == *index;
                    self.connections.iter().rfind(of_it).map(|connection| connection.client_port)
                };
                let mut candidates: Vec<usize> =
                    (0..self.transports.len()).filter(|&index| fits(&self.transports[index])).filter(gone).collect();
                candidates.sort_by_key(|index| last_port(index) != Some(socket.local.port()));
                candidates.first().copied()
            }
        };
        known.unwrap_or_else(|| {
            self.transports.push(transport(endpoint));
            self.transports.len() - 1
        }) as u32
    }

    fn update(&mut self, index: u32, state: TcpState) -> Option<TcpSlice> {
        let connection = &mut self.connections[index as usize];
        connection.open_at_end = true;
        connection.least_min_rtt_us = connection.least_min_rtt_us.into_iter().chain(state.min_rtt_us).min();
        connection.most_srtt_us = connection.most_srtt_us.max(state.srtt_us);
        connection.least_cwnd_segments = connection.least_cwnd_segments.min(state.cwnd_segments);
        let before = self.told.get(&index);
        let retransmitted_before = match before {
            Some(_) => connection.last.retransmitted_segments,
            None if connection.open_at_start => state.retransmitted_segments,
            None => 0,
        };
        let slice = TcpSlice {
            connection: index,
            srtt_us: state.srtt_us,
            min_rtt_us: state.min_rtt_us,
            cwnd_segments: state.cwnd_segments,
            retransmitted_segments: state.retransmitted_segments.wrapping_sub(retransmitted_before),
        };
        connection.last = state;
        let is_news = slice.retransmitted_segments > 0 || before.is_none_or(|before| !says_the_same(before, &slice));
        self.told.insert(index, slice);
        is_news.then_some(slice)
    }

    /// Everything that was seen.
    pub(super) fn finish(self) -> (Vec<TcpTransport>, Vec<TcpConnection>) {
        (self.transports, self.connections)
    }
}

fn says_the_same(a: &TcpSlice, b: &TcpSlice) -> bool {
    (a.srtt_us, a.min_rtt_us, a.cwnd_segments) == (b.srtt_us, b.min_rtt_us, b.cwnd_segments)
}

/// Numbers are given again when a transport is gone; then its address may tell.
fn is_same(transport: &TcpTransport, endpoint: &Endpoint) -> bool {
    (transport.xprt_id, &transport.protocol, &transport.address) == (endpoint.id, &endpoint.protocol, &endpoint.address)
        && transport.net_namespace == endpoint.net_namespace
        && (endpoint.id.is_some() || transport.port == port(endpoint))
}

fn port(endpoint: &Endpoint) -> u16 {
    endpoint.server.map_or(0, |server| server.port())
}

fn transport(endpoint: &Endpoint) -> TcpTransport {
    TcpTransport {
        xprt_id: endpoint.id,
        protocol: endpoint.protocol.clone(),
        address: endpoint.address.clone(),
        port: port(endpoint),
        clients: endpoint.clients.clone(),
        net_namespace: endpoint.net_namespace,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tie::tests::{endpoint, socket},
        *,
    };

    const NFS: &str = "192.0.2.1:2049";

    /// A socket that has sent so many segments again, with such a round trip.
    fn busy(cookie: u64, port: u16, retransmitted: u32, min_rtt_us: u32) -> Socket {
        let mut bytes = vec![0; 232];
        bytes[0] = 1;
        bytes[68..72].copy_from_slice(&(min_rtt_us * 2).to_ne_bytes());
        bytes[80..84].copy_from_slice(&10_u32.to_ne_bytes());
        bytes[100..104].copy_from_slice(&retransmitted.to_ne_bytes());
        bytes[148..152].copy_from_slice(&min_rtt_us.to_ne_bytes());
        Socket { info: bytes, ..socket(cookie, &format!("192.0.2.9:{port}"), NFS) }
    }

    #[test]
    fn counters_go_on_within_one_socket() {
        let mut history = History::default();
        let endpoints = [endpoint(Some(3), NFS, Some(700))];
        assert_eq!(history.note(&endpoints, &[busy(1, 700, 5, 100)], 0)[0].retransmitted_segments, 0);
        let changed = history.note(&endpoints, &[busy(1, 700, 7, 100)], 10);
        assert_eq!((changed[0].retransmitted_segments, changed[0].srtt_us), (2, Some(200)));
        // What says nothing new is left out.
        assert_eq!(history.note(&endpoints, &[busy(1, 700, 7, 100)], 20), []);
        history.note(&endpoints, &[busy(1, 700, 7, 300)], 30);
        let (transports, connections) = history.finish();
        assert_eq!((transports.len(), transports[0].xprt_id, connections.len()), (1, Some(3), 1));
        let connection = &connections[0];
        assert!(connection.open_at_start && connection.open_at_end);
        assert_eq!((connection.first.retransmitted_segments, connection.last.retransmitted_segments), (5, 7));
        assert_eq!(
            (connection.last.at_ns, connection.least_min_rtt_us, connection.most_srtt_us),
            (30, Some(100), Some(600))
        );
    }

    #[test]
    fn another_socket_of_a_transport_is_another_connection() {
        let mut history = History::default();
        history.note(&[endpoint(Some(3), NFS, Some(700))], &[busy(1, 700, 50, 100)], 0);
        // The port is the same, the socket is not.
        let changed = history.note(&[endpoint(Some(3), NFS, Some(700))], &[busy(2, 700, 4, 100)], 10);
        assert_eq!(changed[0].retransmitted_segments, 4);
        history.note(&[endpoint(Some(3), NFS, None)], &[], 20);
        let (transports, connections) = history.finish();
        assert_eq!((transports.len(), connections.len()), (1, 2));
        let [before, after] = &connections[..] else { panic!() };
        assert_eq!((before.open_at_start, before.open_at_end, before.last.retransmitted_segments), (true, false, 50));
        assert_eq!((after.open_at_start, after.open_at_end, after.last.at_ns), (false, false, 10));
    }

    #[test]
    fn without_numbers_a_new_socket_takes_the_place_of_one_that_is_gone() {
        let mut history = History::default();
        let server = [endpoint(None, NFS, None)];
        history.note(&server, &[busy(1, 700, 0, 100), busy(2, 800, 0, 100)], 0);
        // 800 connects again with its port, and there is a third.
        history.note(&server, &[busy(1, 700, 0, 100), busy(3, 800, 0, 100), busy(4, 900, 0, 100)], 10);
        // Both others get new sockets: the one with the same port is the same transport.
        history.note(&server, &[busy(3, 800, 0, 100), busy(5, 900, 0, 100), busy(6, 701, 0, 100)], 20);
        let (transports, connections) = history.finish();
        assert_eq!(transports.len(), 3);
        let ports: Vec<_> =
            connections.iter().map(|connection| (connection.transport, connection.client_port)).collect();
        assert_eq!(ports, [(0, 700), (1, 800), (1, 800), (2, 900), (2, 900), (0, 701)]);
    }

    #[test]
    fn a_socket_that_is_tied_late_is_not_taken_for_a_new_one() {
        let mut history = History::default();
        let several = [endpoint(Some(1), NFS, None), endpoint(Some(2), NFS, None)];
        assert_eq!(history.note(&several, &[busy(1, 700, 9, 100)], 0), []);
        let known = [endpoint(Some(1), NFS, Some(700))];
        assert_eq!(history.note(&known, &[busy(1, 700, 9, 100)], 10)[0].retransmitted_segments, 0);
        let (_, connections) = history.finish();
        assert!(connections[0].open_at_start);
    }

    #[test]
    fn sockets_of_a_place_that_is_read_late_count_from_then_on() {
        let mut history = History::default();
        history.note(&[], &[], 0);
        let sockets = [busy(1, 700, 9, 100)];
        history.take_for_old(&sockets);
        history.note(&[endpoint(Some(1), NFS, Some(700))], &sockets, 10);
        // What comes there later is new.
        let both = [endpoint(Some(1), NFS, Some(700)), endpoint(Some(2), NFS, Some(800))];
        history.note(&both, &[busy(1, 700, 12, 100), busy(2, 800, 1, 100)], 20);
        let (_, connections) = history.finish();
        let told: Vec<_> =
            connections.iter().map(|it| (it.cookie, it.open_at_start, it.first.retransmitted_segments)).collect();
        assert_eq!(told, [(1, true, 9), (2, false, 1)]);
    }

    #[test]
    fn a_transport_without_a_socket_is_kept() {
        let mut history = History::default();
        let rdma = Endpoint { protocol: "rdma".into(), ..endpoint(Some(4), NFS, None) };
        history.note(&[rdma, endpoint(Some(5), NFS, Some(700))], &[], 0);
        let (transports, connections) = history.finish();
        assert_eq!((transports.len(), connections.len()), (2, 0));
    }
}
