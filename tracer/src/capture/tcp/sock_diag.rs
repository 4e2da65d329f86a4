//! TCP sockets of a network namespace, as `ss` lists them (`sock_diag(7)`). Those that the kernel itself owns,
//! as NFS does, are listed too.

use std::{io, net::SocketAddr};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket as Netlink, protocols::NETLINK_SOCK_DIAG};

/// Kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// The kernel's number of it, never given again.
    pub(super) cookie: u64,
    /// Its network namespace (inode), if known.
    pub(super) net_namespace: Option<u64>,
    /// This end.
    pub(super) local: SocketAddr,
    /// The other end.
    pub(super) peer: SocketAddr,
    /// Congestion control algorithm; empty if not told.
    pub(super) congestion: String,
    /// `struct tcp_info`, as long as this kernel's is.
    pub(super) info: Vec<u8>,
}

/// A way to ask for the sockets of the network namespace in which the thread is now, wherever it goes later.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn open() -> Result<Netlink> {
    let mut netlink = Netlink::new(NETLINK_SOCK_DIAG).context("cannot open a netlink socket")?;
    netlink.bind_auto().context("cannot bind a netlink socket")?;
    netlink.set_non_blocking(true)?;
    Ok(netlink)
}

/// The sockets that are connected, or about to be, to a port of any other machine. The kernel answers each read at
/// once; nothing is sent over the network. After an error the way must not be used again.
///
/// # Errors
/// If the kernel cannot list TCP sockets (`CONFIG_INET_TCP_DIAG`) or may not be asked.
pub(super) fn connected_to(netlink: &Netlink, family: Family, port: u16) -> Result<Vec<Socket>> {
    netlink.send(&request(family, port), 0).context("cannot ask for sockets")?;
    let mut sockets = Vec::new();
    loop {
        let (bytes, _) = netlink.recv_from_full().context("cannot read the list of sockets")?;
        if take(&bytes, &mut sockets)? {
            return Ok(sockets);
        }
    }
}

fn request(family: Family, port: u16) -> Vec<u8> {
    let (family, any) = match family {
        Family::V4 => (AF_INET, SocketId::new_v4()),
        Family::V6 => (AF_INET6, SocketId::new_v6()),
    };
    // One that this side is closing carries no more calls, and may outlive its mount.
    let states = StateFlags::ESTABLISHED | StateFlags::SYN_SENT | StateFlags::CLOSE_WAIT;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO | ExtensionFlags::CONG,
        states,
        socket_id: SocketId { destination_port: port, ..any },
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Takes the sockets of one answer; true if it was the last.
fn take(mut bytes: &[u8], sockets: &mut Vec<Socket>) -> Result<bool> {
    while !bytes.is_empty() {
        let message =
            NetlinkMessage::<SockDiagMessage>::deserialize(bytes).context("the list of sockets is garbled")?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => sockets.push(socket(*response)),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                let error: io::Error = error.to_io();
                return Err(error).context("the kernel does not list TCP sockets");
            }
            _ => {}
        }
        let length = (message.header.length as usize).next_multiple_of(4);
        if length == 0 {
            bail!("the list of sockets is garbled");
        }
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(false)
}

fn socket(response: InetResponse) -> Socket {
    let id = response.header.socket_id;
    let mut socket = Socket {
        cookie: u64::from_ne_bytes(id.cookie),
        local: SocketAddr::new(id.source_address, id.source_port),
        peer: SocketAddr::new(id.destination_address, id.destination_port),
        net_namespace: None,
        congestion: String::new(),
        info: Vec::new(),
    };
    for attribute in response.nlas {
        match attribute {
            Nla::TcpInfo(bytes) => socket.info = bytes,
            Nla::Congestion(name) => socket.congestion = name,
            _ => {}
        }
    }
    socket
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::{
        super::info::{self, tests::words},
        *,
    };

    /// The client's end of a connection on this machine, after an exchange of some bytes.
    fn listed(listen_on: &str, family: Family) -> (Socket, SocketAddr) {
        let listener = TcpListener::bind(listen_on).unwrap();
        let server = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(server).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        accepted.read_exact(&mut [0; 1000]).unwrap();
        accepted.write_all(&[7; 1]).unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        let sockets = connected_to(&open().unwrap(), family, server.port()).unwrap();
        let [socket] = &sockets[..] else { panic!("{sockets:?}") };
        assert_eq!(socket.local, client.local_addr().unwrap());
        (socket.clone(), server)
    }

    #[test]
    fn the_kernel_lists_the_clients_end_with_its_state() {
        let (socket, server) = listed("127.0.0.1:0", Family::V4);
        assert_eq!(socket.peer, server);
        assert!(socket.cookie != 0 && !socket.congestion.is_empty(), "{socket:?}");
        let state = info::parse(&socket.info, 0).unwrap();
        assert_eq!((state.state, state.received_bytes), (1, Some(1)));
        // The kernel counts the opening of the connection as a byte.
        assert_eq!(state.acked_bytes, Some(1001));
        assert!(state.min_rtt_us.unwrap() > 0 && state.mss_bytes > 500, "{state:?}");
    }

    #[test]
    fn the_same_with_ipv6() {
        if TcpListener::bind("[::1]:0").is_err() {
            return;
        }
        let (socket, server) = listed("[::1]:0", Family::V6);
        assert_eq!(socket.peer, server);
    }

    fn answer(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![AF_INET, 1, 0, 0];
        body.extend([3, 53, 8, 1]); // ports 821 and 2049, in network order
        body.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([0; 4]);
        body.extend(99_u64.to_ne_bytes());
        body.extend([0; 20]);
        for (kind, value) in attributes {
            body.extend((value.len() as u16 + 4).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = (body.len() as u32 + 16).to_ne_bytes().to_vec();
        message.extend(20_u16.to_ne_bytes()); // SOCK_DIAG_BY_FAMILY
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let state = words(248);
        // INET_DIAG_INFO, INET_DIAG_CONG, INET_DIAG_SHUTDOWN, and one from the future.
        let mut bytes = answer(&[(2, &state), (4, b"cubic\0"), (8, &[0]), (99, &[1, 2, 3])]);
        bytes.extend(answer(&[]));
        let mut sockets = Vec::new();
        assert!(!take(&bytes, &mut sockets).unwrap());
        let [socket, bare] = &sockets[..] else { panic!("{sockets:?}") };
        assert_eq!(
            (socket.local.to_string(), socket.peer.to_string()),
            ("127.0.0.1:821".into(), "127.0.0.2:2049".into())
        );
        assert_eq!((socket.cookie, socket.congestion.as_str(), &socket.info), (99, "cubic", &state));
        assert_eq!((bare.congestion.as_str(), bare.info.len()), ("", 0));
        assert!(take(&bytes[..20], &mut sockets).is_err());
    }
}
