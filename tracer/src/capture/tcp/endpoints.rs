//! Where NFS transports lead to, as far as the kernel tells without asking its server.

use std::net::{IpAddr, SocketAddr};

use crate::{capture::proc::rpc_transports::RpcTransport, model::Mount};

/// Port of NFS, unless something else is said.
const NFS_PORT: u16 = 2049;

/// One end of a transport, or of all transports to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `rpc_xprt.id`. `None`: the kernel does not show transports, and this stands for all that lead to this server.
    pub(super) id: Option<u32>,
    /// Protocol, such as `tcp`.
    pub(super) protocol: String,
    /// Address of the server, as text.
    pub(super) address: String,
    /// Address and port of the server; `None` if it is no IP address.
    pub(super) server: Option<SocketAddr>,
    /// Port on this side, if known.
    pub(super) client_port: Option<u16>,
    /// RPC clients that use it.
    pub(super) clients: Vec<u32>,
    /// Network namespace (inode), if known.
    pub(super) net_namespace: Option<u64>,
}

impl Endpoint {
    /// True if a TCP socket belongs to it.
    pub(super) fn is_tcp(&self) -> bool {
        self.protocol.starts_with("tcp")
    }
}

/// Of transports that the kernel shows. The way of a server back to a client is none of ours, and local sockets are
/// none of NFS's.
pub(super) fn of_transports(transports: Vec<RpcTransport>, net_namespace: Option<u64>) -> Vec<Endpoint> {
    let own = |transport: &RpcTransport| transport.protocol != "local" && transport.server_port != Some(0);
    transports
        .into_iter()
        .filter(own)
        .map(|transport| Endpoint {
            id: Some(transport.id),
            server: server(&transport.address, transport.server_port.unwrap_or(NFS_PORT)),
            protocol: transport.protocol,
            address: transport.address,
            client_port: transport.client_port,
            clients: transport.clients,
            net_namespace,
        })
        .collect()
}

/// Of the servers of mounts, where the kernel does not show transports.
pub(super) fn of_mounts<'a>(mounts: impl IntoIterator<Item = &'a Mount>) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for mount in mounts {
        let option = |name: &str| {
            mount.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let endpoint = Endpoint {
            id: None,
            // `tcp6` is TCP over IPv6.
            protocol: option("proto").trim_end_matches('6').to_owned(),
            address: mount.server.clone(),
            server: server(&mount.server, option("port").parse().unwrap_or(NFS_PORT)),
            client_port: None,
            clients: Vec::new(),
            net_namespace: mount.net_namespace,
        };
        if !endpoint.address.is_empty() && !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    endpoints
}

/// A link-local address may come with its interface (`fe80::1%eth0`), which sockets are listed without.
fn server(address: &str, port: u16) -> Option<SocketAddr> {
    let plain = address.split('%').next().unwrap_or_default();
    Some(SocketAddr::new(plain.parse::<IpAddr>().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(server: &str, options: &str) -> Mount {
        Mount { server: server.into(), options: options.into(), ..Mount::default() }
    }

    #[test]
    fn mounts_of_one_server_share_an_endpoint() {
        let mounts = [
            mount("192.0.2.1", "rw,proto=tcp,addr=192.0.2.1"),
            mount("192.0.2.1", "ro,proto=tcp,addr=192.0.2.1"),
            mount("192.0.2.1", "rw,proto=tcp,port=20049,addr=192.0.2.1"),
            // The same address in another network is another server.
            Mount { net_namespace: Some(7), ..mount("192.0.2.1", "rw,proto=tcp,addr=192.0.2.1") },
            mount("fe80::1%eth0", "rw,proto=tcp6"),
            mount("192.0.2.2", "rw,proto=rdma"),
            mount("", "rw,proto=tcp"),
        ];
        let endpoints = of_mounts(&mounts);
        let servers: Vec<_> = endpoints.iter().map(|endpoint| endpoint.server.unwrap().to_string()).collect();
        assert_eq!(
            servers,
            ["192.0.2.1:2049", "192.0.2.1:20049", "192.0.2.1:2049", "[fe80::1]:2049", "192.0.2.2:2049"]
        );
        assert_eq!(endpoints.iter().map(Endpoint::is_tcp).collect::<Vec<_>>(), [true, true, true, true, false]);
    }

    #[test]
    fn ways_back_and_local_sockets_are_none_of_ours() {
        let transport = |id, protocol: &str, address: &str, server_port| RpcTransport {
            id,
            protocol: protocol.into(),
            address: address.into(),
            server_port,
            ..RpcTransport::default()
        };
        let endpoints = of_transports(
            vec![
                transport(0, "local", "/var/run/rpcbind.sock", Some(0)),
                transport(1, "tcp", "192.0.2.1", Some(2049)),
                transport(2, "tcp", "192.0.2.7", Some(0)),
                transport(3, "tcp", "192.0.2.1", None),
            ],
            Some(7),
        );
        assert_eq!(endpoints.iter().map(|endpoint| endpoint.id).collect::<Vec<_>>(), [Some(1), Some(3)]);
        assert_eq!((endpoints[1].server.unwrap().port(), endpoints[1].net_namespace), (NFS_PORT, Some(7)));
    }
}
