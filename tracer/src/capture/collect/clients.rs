//! Whose mounts the RPC clients are for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use anyhow::Result;
use nfslat_common::rpc::ClientInfo;

use crate::{
    capture::{
        kernel::maps,
        proc::{
            mounts::{self, Elsewhere},
            net_namespace,
            rpc_clients::{self, SysfsClients},
        },
        session::Session,
    },
    model::{Mount, RpcClient, RpcSeries, TcpTransport, Transport},
};

/// Mounts of other namespaces are looked for once in so many readings: that takes a look at every process.
const READINGS_ELSEWHERE: u32 = 10;

/// Mounts and clients come and go; every reading adds what it sees.
#[derive(Default)]
pub(super) struct Clients {
    mounts: BTreeMap<(u32, u32, String), Mount>,
    clients: BTreeMap<u32, ClientInfo>,
    sysfs: SysfsClients,
    readings: u32,
    elsewhere: Elsewhere,
    /// The tool's own (inode).
    net_namespace: Option<u64>,
}

/// The parts of a recording that are about mounts.
pub(super) struct NfsParts {
    pub(super) mounts: Vec<Mount>,
    pub(super) clients: Vec<RpcClient>,
    pub(super) transports: Vec<Transport>,
}

impl Clients {
    /// Adds what is there now. False if there is nothing of NFS.
    pub(super) fn read(&mut self, session: &Session) -> Result<bool> {
        for mount in mounts::read(&session.roots.proc)? {
            self.mounts.insert((mount.dev_major, mount.dev_minor, mount.mount_point.clone()), mount);
        }
        if self.mounts.is_empty() && !session.roots.has_module("sunrpc") {
            return Ok(false);
        }
        self.readings += 1;
        self.net_namespace = net_namespace::of(&session.roots.proc.join("self"));
        if self.readings.is_multiple_of(READINGS_ELSEWHERE) {
            self.look_elsewhere(&session.roots.proc);
        }
        let sysfs = rpc_clients::read(&session.roots.sys);
        self.sysfs.by_device.extend(sysfs.by_device);
        self.sysfs.transports.extend(sysfs.transports);
        for (id, info) in maps::read_all::<u32, ClientInfo>(maps::data(session.bpf(), "CLIENTS")?)? {
            let known = self.clients.entry(id).or_insert(info);
            if info.s_dev != 0 {
                *known = info;
            }
        }
        Ok(true)
    }

    /// Looks for mounts in other mount namespaces.
    pub(super) fn look_elsewhere(&mut self, proc: &Path) {
        self.elsewhere = mounts::read_elsewhere(proc);
        for mount in &self.elsewhere.mounts {
            // The first process that was seen to have it names it, as long as the run lasts.
            let key = (mount.dev_major, mount.dev_minor, mount.mount_point.clone());
            let known = self.mounts.entry(key).or_insert_with(|| mount.clone());
            known.net_namespace = known.net_namespace.or(mount.net_namespace);
        }
    }

    /// What the last look found in other mount namespaces.
    pub(super) fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// Mounts, clients and the transports of these calls, tied to each other. `seen`: transports of other network namespaces
    /// too.
    pub(super) fn describe(&self, series: &[RpcSeries], seen: &[TcpTransport]) -> NfsParts {
        let mounts: Vec<Mount> = self.mounts.values().cloned().collect();
        let mut ids: HashSet<u32> = self.clients.keys().copied().collect();
        ids.extend(self.sysfs.by_device.values());
        // Where the structures of calls are not known, nothing else leads to a client.
        ids.extend(series.iter().map(|series| series.client_id).filter(|id| self.sysfs.transports.contains_key(id)));
        let mut clients: Vec<RpcClient> = ids.into_iter().map(|id| self.client(id, &mounts)).collect();
        clients.sort_by_key(|client| client.id);
        share_with_parents(&mut clients);
        inherit_from_parents(&mut clients);
        let of_others = seen.iter().filter_map(|it| Some((it.xprt_id?, format!("{} {}", it.protocol, it.address))));
        let mut addresses: BTreeMap<u32, String> = of_others.collect();
        let known = self.sysfs.transports.values().flatten();
        addresses.extend(known.map(|it| (it.id, format!("{} {}", it.protocol, it.address))));
        let mut used: Vec<u32> = series.iter().filter_map(|series| series.xprt_id).collect();
        used.sort_unstable();
        used.dedup();
        let transports = used
            .into_iter()
            .map(|id| Transport { id: Some(id), address: addresses.get(&id).cloned().unwrap_or_default() })
            .collect();
        log::debug!("{} NFS mounts, {} RPC clients", mounts.len(), clients.len());
        NfsParts { mounts, clients, transports }
    }

    /// One client with the mounts it serves: by its device number as the kernel side or sysfs
    /// learnt it, else by the address of its transport if that leaves just one mount.
    fn client(&self, id: u32, mounts: &[Mount]) -> RpcClient {
        let info = self.clients.get(&id).copied();
        let parent_id = info.map_or(id, |info| info.parent_id);
        let by_kernel = info.filter(|info| info.s_dev != 0).map(|info| device(info.s_dev));
        let by_sysfs = self.sysfs.by_device.iter().find(|(_, client)| **client == id).map(|(dev, _)| *dev);
        let on_device =
            |wanted: (u32, u32)| -> Vec<u32> { indices(mounts, |mount| (mount.dev_major, mount.dev_minor) == wanted) };
        let (mounts, found_by) = match (by_kernel, by_sysfs) {
            (Some(dev), _) => (on_device(dev), "superblock seen in a call of the mount"),
            (None, Some(dev)) => (on_device(dev), "/sys/fs/nfs"),
            (None, None) => match self.sole_mount_at_address(id, mounts) {
                Some(index) => (vec![index], "the only mount from the client's server address"),
                None => (Vec::new(), "not found: no call of the mount was seen"),
            },
        };
        RpcClient { id, parent_id, mounts, shared: false, found_by: found_by.to_owned() }
    }

    fn sole_mount_at_address(&self, id: u32, mounts: &[Mount]) -> Option<u32> {
        let address = &self.sysfs.transports.get(&id)?.first()?.address;
        let at_address = indices(mounts, |mount| {
            // What sysfs shows is of this network namespace.
            !address.is_empty() && mount.server == *address && mount.net_namespace == self.net_namespace
        });
        match at_address[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

fn indices(mounts: &[Mount], matches: impl Fn(&Mount) -> bool) -> Vec<u32> {
    mounts.iter().enumerate().filter(|(_, mount)| matches(mount)).map(|(index, _)| index as u32).collect()
}

/// Splits a kernel device number: 12 bits major, 20 bits minor (`include/linux/kdev_t.h`).
pub(super) fn device(s_dev: u32) -> (u32, u32) {
    (s_dev >> 20, s_dev & 0xf_ffff)
}

/// A client that others with mounts of their own were cloned from carries server-wide calls for all these mounts.
fn share_with_parents(clients: &mut [RpcClient]) {
    let children: Vec<(u32, Vec<u32>)> = clients
        .iter()
        .filter(|client| client.parent_id != client.id && !client.mounts.is_empty())
        .map(|client| (client.parent_id, client.mounts.clone()))
        .collect();
    for client in clients.iter_mut() {
        let mounts_of_children = children.iter().filter(|(parent, _)| *parent == client.id);
        for (_, mounts) in mounts_of_children {
            client.shared = true;
            "its children's mounts".clone_into(&mut client.found_by);
            client.mounts.extend(mounts);
        }
        client.mounts.sort_unstable();
        client.mounts.dedup();
    }
}

/// A client of another program, such as NFSACL, is cloned from that of its mount (`rpc_bind_new_program`,
/// `net/sunrpc/clnt.c`), and no superblock leads to it.
fn inherit_from_parents(clients: &mut [RpcClient]) {
    let parents: HashMap<u32, Vec<u32>> = clients
        .iter()
        .filter(|client| !client.shared && !client.mounts.is_empty())
        .map(|client| (client.id, client.mounts.clone()))
        .collect();
    for client in clients.iter_mut().filter(|client| client.mounts.is_empty() && client.parent_id != client.id) {
        if let Some(mounts) = parents.get(&client.parent_id) {
            client.mounts.clone_from(mounts);
            "the mount of the client it was cloned from".clone_into(&mut client.found_by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u32, parent_id: u32, mounts: &[u32]) -> RpcClient {
        let mounts = mounts.to_vec();
        RpcClient { id, parent_id, mounts, ..RpcClient::default() }
    }

    /// Mounts of each client, and whether it is shared.
    fn tied(mut clients: Vec<RpcClient>) -> Vec<(Vec<u32>, bool)> {
        share_with_parents(&mut clients);
        inherit_from_parents(&mut clients);
        clients.into_iter().map(|client| (client.mounts, client.shared)).collect()
    }

    #[test]
    fn a_server_wide_client_has_the_mounts_of_its_children() {
        let clients = vec![client(1, 1, &[]), client(2, 1, &[0]), client(3, 1, &[1])];
        assert_eq!(tied(clients), [(vec![0, 1], true), (vec![0], false), (vec![1], false)]);
    }

    #[test]
    fn another_programs_client_has_the_mount_of_its_parent_which_stays_its_own() {
        let clients = vec![client(1, 1, &[]), client(2, 1, &[0]), client(3, 2, &[])];
        assert_eq!(tied(clients), [(vec![0], true), (vec![0], false), (vec![0], false)]);
    }

    #[test]
    fn nothing_is_inherited_from_a_server_wide_client() {
        let clients = vec![client(1, 1, &[]), client(2, 1, &[0]), client(3, 1, &[])];
        assert_eq!(tied(clients), [(vec![0], true), (vec![0], false), (vec![], false)]);
    }
}
