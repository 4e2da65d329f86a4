//! RPC transports as sysfs shows them, with their ports: `/sys/kernel/sunrpc/xprt-switches/switch-N/xprt-M-tcp`
//! (`net/sunrpc/sysfs.c`, 5.14 and later). The tree shows those of the network namespace it was mounted in.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RpcTransport {
    /// `rpc_xprt.id`.
    pub(crate) id: u32,
    /// Protocol, such as `tcp`.
    pub(crate) protocol: String,
    /// Address of the server.
    pub(crate) address: String,
    /// Port of the server; `None` while it is not connected or not asked, 0 for a server's own way back to a client.
    pub(crate) server_port: Option<u16>,
    /// Port on this side; `None` while it is not connected or not asked.
    pub(crate) client_port: Option<u16>,
    /// Clients that use it (`rpc_clnt.cl_clid`).
    pub(crate) clients: Vec<u32>,
}

/// The transports, by number; `None` where the kernel shows none. Ports are only read if `with_ports`: not every kernel
/// survives that.
pub(crate) fn read(sys: &Path, with_ports: bool) -> Option<Vec<RpcTransport>> {
    let root = sys.join("kernel/sunrpc");
    let switches = entries(&root.join("xprt-switches"))?;
    let clients = clients_by_switch(&root.join("rpc-clients"));
    let mut found = BTreeMap::new();
    for (switch, folder) in switches {
        for (name, folder) in entries(&folder).unwrap_or_default() {
            if let Some(transport) = transport(&name, &folder, with_ports) {
                let clients = clients.get(&switch).cloned().unwrap_or_default();
                found.insert(transport.id, RpcTransport { clients, ..transport });
            }
        }
    }
    Some(found.into_values().collect())
}

fn entries(folder: &Path) -> Option<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    Some(entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect())
}

/// `clnt-5/switch` leads to `switch-1`.
fn clients_by_switch(folder: &Path) -> BTreeMap<String, Vec<u32>> {
    let mut clients: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (name, folder) in entries(folder).unwrap_or_default() {
        let id = name.strip_prefix("clnt-").and_then(|id| id.parse().ok());
        let switch = fs::read_link(folder.join("switch")).ok();
        let switch = switch.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        if let (Some(id), Some(switch)) = (id, switch) {
            clients.entry(switch.to_owned()).or_default().push(id);
        }
    }
    clients.values_mut().for_each(|ids| ids.sort_unstable());
    clients
}

fn transport(name: &str, folder: &Path, with_ports: bool) -> Option<RpcTransport> {
    let (id, protocol) = name.strip_prefix("xprt-")?.split_once('-')?;
    let address = fs::read_to_string(folder.join("dstaddr")).unwrap_or_default();
    // One `name=value` a line, or `<closed>`.
    let info =
        if with_ports { fs::read_to_string(folder.join("xprt_info")).unwrap_or_default() } else { String::new() };
    let value =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')?.trim().parse().ok());
    Some(RpcTransport {
        id: id.parse().ok()?,
        protocol: protocol.to_owned(),
        address: address.trim().to_owned(),
        server_port: value("dst_port"),
        client_port: value("src_port").filter(|&port| port != 0),
        clients: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn transport_in(switch: &Path, name: &str, info: &str) {
        let folder = switch.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("dstaddr"), "192.0.2.1\n").unwrap();
        fs::write(folder.join("xprt_info"), info).unwrap();
    }

    #[test]
    fn reads_ports_and_who_uses_a_transport() {
        let sys = tempfile::tempdir().unwrap();
        let root = sys.path().join("kernel/sunrpc");
        let switch = root.join("xprt-switches/switch-1");
        transport_in(
            &switch,
            "xprt-3-tcp",
            "last_used=4294895884\nmain_xprt=1\nsrc_port=821\ntasks_queuelen=0\ndst_port=2049\n",
        );
        transport_in(&switch, "xprt-4-tcp", "<closed>\n");
        transport_in(&switch, "nonsense", "");
        for client in ["clnt-2", "clnt-12"] {
            fs::create_dir_all(root.join("rpc-clients").join(client)).unwrap();
            symlink("../../xprt-switches/switch-1", root.join("rpc-clients").join(client).join("switch")).unwrap();
        }
        let open = RpcTransport {
            id: 3,
            protocol: "tcp".into(),
            address: "192.0.2.1".into(),
            server_port: Some(2049),
            client_port: Some(821),
            clients: vec![2, 12],
        };
        let closed = RpcTransport { id: 4, server_port: None, client_port: None, ..open.clone() };
        assert_eq!(read(sys.path(), true), Some(vec![open.clone(), closed.clone()]));
        let unasked = RpcTransport { server_port: None, client_port: None, ..open };
        assert_eq!(read(sys.path(), false), Some(vec![unasked, closed]));
    }

    #[test]
    fn a_kernel_that_shows_none_is_told_from_one_that_has_none() {
        let sys = tempfile::tempdir().unwrap();
        assert_eq!(read(sys.path(), true), None);
        fs::create_dir_all(sys.path().join("kernel/sunrpc/xprt-switches")).unwrap();
        assert_eq!(read(sys.path(), true), Some(Vec::new()));
    }
}
