//! Which socket is whose.

use std::net::SocketAddr;

use super::{endpoints::Endpoint, sock_diag::Socket};

/// A socket of an endpoint, both by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tie {
    pub(super) endpoint: usize,
    pub(super) socket: usize,
}

/// Ties sockets to endpoints. Only the client's ends of connections are tied: on a machine that is its own server,
/// the other end has the server's port on its own side. An address means something within its network namespace alone.
///
/// An endpoint whose port on this side is known gets the socket with that port. If it is not known, the socket is told
/// by being the only one left to that server, for the only transport left.
pub(super) fn tie(endpoints: &[Endpoint], sockets: &[Socket]) -> Vec<Tie> {
    let mut ties: Vec<Tie> = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let Some(port) = endpoint.client_port else { continue };
        let is_its = |socket: &Socket| leads_to(socket, endpoint) && socket.local.port() == port;
        let found = left(sockets, &ties).find(|&socket| is_its(&sockets[socket]));
        ties.extend(found.map(|socket| Tie { endpoint: index, socket }));
    }
    let mut more = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.client_port.is_none()) {
        if !endpoint.is_tcp() {
            continue;
        }
        let candidates: Vec<_> = left(sockets, &ties).filter(|&socket| leads_to(&sockets[socket], endpoint)).collect();
        let place = |endpoint: &Endpoint| (endpoint.server, endpoint.net_namespace);
        let rivals =
            endpoints.iter().filter(|other| other.client_port.is_none() && place(other) == place(endpoint)).count();
        let tied = match (endpoint.id, &candidates[..]) {
            (None, all) => all,
            (Some(_), [only]) if rivals == 1 => std::slice::from_ref(only),
            _ => &[],
        };
        more.extend(tied.iter().map(|&socket| Tie { endpoint: index, socket }));
    }
    ties.extend(more);
    ties
}

fn leads_to(socket: &Socket, endpoint: &Endpoint) -> bool {
    let is_server = |server: SocketAddr| (socket.peer.ip(), socket.peer.port()) == (server.ip(), server.port());
    socket.net_namespace == endpoint.net_namespace && endpoint.server.is_some_and(is_server)
}

fn left<'a>(sockets: &'a [Socket], ties: &'a [Tie]) -> impl Iterator<Item = usize> + 'a {
    (0..sockets.len()).filter(|&socket| ties.iter().all(|tie| tie.socket != socket))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::capture::tcp) fn socket(cookie: u64, local: &str, peer: &str) -> Socket {
        Socket {
            cookie,
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
            congestion: "cubic".into(),
            info: Vec::new(),
            net_namespace: None,
        }
    }

    pub(in crate::capture::tcp) fn endpoint(id: Option<u32>, server: &str, client_port: Option<u16>) -> Endpoint {
        let server: SocketAddr = server.parse().unwrap();
        Endpoint {
            id,
            protocol: "tcp".into(),
            address: server.ip().to_string(),
            server: Some(server),
            client_port,
            clients: Vec::new(),
            net_namespace: None,
        }
    }

    fn pairs(endpoints: &[Endpoint], sockets: &[Socket]) -> Vec<(usize, usize)> {
        tie(endpoints, sockets).into_iter().map(|tie| (tie.endpoint, tie.socket)).collect()
    }

    const NFS: &str = "127.0.0.1:2049";

    #[test]
    fn transports_to_one_server_are_told_apart_by_their_ports() {
        let sockets = [
            socket(1, "127.0.0.1:700", NFS),
            socket(2, NFS, "127.0.0.1:700"),
            socket(3, "127.0.0.1:800", NFS),
            socket(4, "127.0.0.1:700", "127.0.0.1:111"),
        ];
        let endpoints =
            [endpoint(Some(5), NFS, Some(800)), endpoint(Some(6), NFS, Some(700)), endpoint(Some(7), NFS, Some(9))];
        assert_eq!(pairs(&endpoints, &sockets), [(0, 2), (1, 0)]);
    }

    #[test]
    fn an_unknown_port_is_told_only_if_nothing_else_is_left() {
        let sockets = [socket(1, "127.0.0.1:700", NFS), socket(2, "127.0.0.1:800", NFS)];
        let known = endpoint(Some(1), NFS, Some(700));
        let unknown = endpoint(Some(2), NFS, None);
        assert_eq!(pairs(&[unknown.clone(), known.clone()], &sockets), [(1, 0), (0, 1)]);
        let another = Endpoint { id: Some(3), ..unknown.clone() };
        assert_eq!(pairs(&[unknown.clone(), another], &sockets[..1]), []);
        assert_eq!(pairs(&[unknown], &sockets), []);
    }

    #[test]
    fn without_numbers_every_socket_to_the_server_is_a_transport() {
        let sockets =
            [socket(1, "127.0.0.1:700", NFS), socket(2, NFS, "127.0.0.1:700"), socket(3, "127.0.0.1:800", NFS)];
        assert_eq!(pairs(&[endpoint(None, NFS, None)], &sockets), [(0, 0), (0, 2)]);
        let by_rdma = Endpoint { protocol: "rdma".into(), ..endpoint(None, NFS, None) };
        assert_eq!(pairs(&[by_rdma], &sockets), []);
    }

    #[test]
    fn equal_addresses_in_other_networks_are_not_mixed_up() {
        let of = |net: u64, socket: Socket| Socket { net_namespace: Some(net), ..socket };
        let to = |net: u64, endpoint: Endpoint| Endpoint { net_namespace: Some(net), ..endpoint };
        // Even the ports may be the same.
        let sockets = [2, 1, 3].map(|net| of(net, socket(net, "10.0.0.2:700", "10.0.0.1:2049")));
        let server = "10.0.0.1:2049";
        let known = [1, 2].map(|net| to(net, endpoint(Some(net as u32), server, Some(700))));
        assert_eq!(pairs(&known, &sockets), [(0, 1), (1, 0)]);
        let unknown = [1, 2].map(|net| to(net, endpoint(Some(net as u32), server, None)));
        assert_eq!(pairs(&unknown, &sockets), [(0, 1), (1, 0)]);
        let without_numbers = [1, 2].map(|net| to(net, endpoint(None, server, None)));
        assert_eq!(pairs(&without_numbers, &sockets), [(0, 1), (1, 0)]);
        assert_eq!(pairs(&[endpoint(None, server, None)], &sockets), []);
    }

    #[test]
    fn an_address_of_ipv6_has_to_be_the_same() {
        let sockets = [socket(1, "[fe80::2]:700", "[fe80::1]:2049"), socket(2, "[fe80::2]:700", "[fe80::3]:2049")];
        assert_eq!(pairs(&[endpoint(Some(1), "[fe80::3]:2049", Some(700))], &sockets), [(0, 1)]);
    }
}
