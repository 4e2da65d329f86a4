//! RPC clients and transports as sysfs shows them: `/sys/fs/nfs/MAJOR:MINOR/nfs_client` leads
//! from a mount to its client (6.12 and later); `/sys/kernel/sunrpc/rpc-clients/clnt-N/switch/xprt-M-tcp`
//! leads from a client to its transports (6.1 and later).

use std::{collections::BTreeMap, fs, path::Path};

/// What sysfs says.
#[derive(Debug, Default)]
pub(crate) struct SysfsClients {
    /// Device number (major, minor) of a mount -> id of its client.
    pub(crate) by_device: BTreeMap<(u32, u32), u32>,
    /// Client id -> its transports.
    pub(crate) transports: BTreeMap<u32, Vec<SysfsTransport>>,
}

/// A transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SysfsTransport {
    /// `rpc_xprt.id`.
    pub(crate) id: u32,
    /// Protocol, such as `tcp`.
    pub(crate) protocol: String,
    /// Address of the server; empty if not shown.
    pub(crate) address: String,
}

/// Reads both trees; what is absent stays empty.
pub(crate) fn read(sys: &Path) -> SysfsClients {
    SysfsClients {
        by_device: read_devices(&sys.join("fs/nfs")),
        transports: read_transports(&sys.join("kernel/sunrpc/rpc-clients")),
    }
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

fn read_devices(dir: &Path) -> BTreeMap<(u32, u32), u32> {
    names(dir)
        .filter_map(|name| {
            let (major, minor) = name.split_once(':')?;
            let target = fs::read_link(dir.join(&name).join("nfs_client")).ok()?;
            let client = target.file_name()?.to_str()?.strip_prefix("clnt-")?.parse().ok()?;
            Some(((major.parse().ok()?, minor.parse().ok()?), client))
        })
        .collect()
}

fn read_transports(dir: &Path) -> BTreeMap<u32, Vec<SysfsTransport>> {
    names(dir)
        .filter_map(|name| {
            let client = name.strip_prefix("clnt-")?.parse().ok()?;
            let client_dir = dir.join(&name).join("switch");
            let transports = names(&client_dir).filter_map(|name| transport(&client_dir.join(&name), &name)).collect();
            Some((client, transports))
        })
        .collect()
}

/// `xprt-3-tcp` with its `dstaddr`.
fn transport(dir: &Path, name: &str) -> Option<SysfsTransport> {
    let (id, protocol) = name.strip_prefix("xprt-")?.split_once('-')?;
    let address = fs::read_to_string(dir.join("dstaddr")).unwrap_or_default().trim().to_owned();
    Some(SysfsTransport { id: id.parse().ok()?, protocol: protocol.to_owned(), address })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn follows_mounts_to_clients_and_clients_to_transports() {
        let sys = tempfile::tempdir().unwrap();
        let device = sys.path().join("fs/nfs/0:44");
        let client = sys.path().join("kernel/sunrpc/rpc-clients/clnt-5");
        let transport = client.join("switch/xprt-3-tcp");
        fs::create_dir_all(&device).unwrap();
        fs::create_dir_all(&transport).unwrap();
        fs::write(transport.join("dstaddr"), "192.0.2.1\n").unwrap();
        symlink("../../../kernel/sunrpc/rpc-clients/clnt-5", device.join("nfs_client")).unwrap();
        let found = read(sys.path());
        assert_eq!(found.by_device, BTreeMap::from([((0, 44), 5)]));
        let expected = SysfsTransport { id: 3, protocol: "tcp".into(), address: "192.0.2.1".into() };
        assert_eq!(found.transports, BTreeMap::from([(5, vec![expected])]));
    }

    #[test]
    fn nothing_there_is_nothing_found() {
        let sys = tempfile::tempdir().unwrap();
        assert!(read(sys.path()).by_device.is_empty());
    }
}
