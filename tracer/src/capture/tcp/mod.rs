//! TCP connections of NFS transports over the run: which they are is told by sysfs or by the mounts, their state by the
//! kernel's own list of sockets. Nothing here asks a mount or a server.

mod elsewhere;
mod endpoints;
mod history;
mod info;
mod safety;
mod sock_diag;
mod tie;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;
use netlink_sys::Socket as Netlink;

use super::proc::{
    Roots,
    mounts::{self, Elsewhere},
    net_namespace, rpc_transports,
};
use crate::model::{Mount, ProbeState, ProbeStatus, Slice, Tcp};
use elsewhere::Namespaces;
use endpoints::Endpoint;
use history::History;
use sock_diag::{Family, Socket};

/// Name of the probe.
const HOOK: &str = "sock_diag";

/// What it measures.
const MEASURES: &str = "TCP state of NFS connections";

/// Reads the connections again and again.
#[derive(Debug, Default)]
pub(super) struct TcpWatch {
    history: History,
    /// Port of the server by transport, for the time in which it is not connected and the kernel does not say.
    ports: BTreeMap<u32, u16>,
    /// Whether ports of transports may be read; `None`: not asked yet.
    may_read_ports: Option<bool>,
    /// Other network namespaces.
    namespaces: Namespaces,
    /// First thing that went wrong.
    failure: Option<String>,
}

impl TcpWatch {
    /// Reads once; the slice, if it is not the first reading, gets what changed.
    pub(super) fn read(&mut self, roots: &Roots, elsewhere: &Elsewhere, at_ns: u64, slice: Option<&mut Slice>) {
        if !roots.has_module("sunrpc") {
            // What is there later has begun later.
            self.history.note(&[], &[], at_ns);
            return;
        }
        let may_read_ports = *self.may_read_ports.get_or_insert_with(|| safety::ports_may_be_read(&roots.proc));
        let (endpoints, sockets) = self.look(roots, elsewhere, may_read_ports);
        match sockets {
            Ok(sockets) => {
                let changed = self.history.note(&endpoints, &sockets, at_ns);
                if let Some(slice) = slice {
                    slice.tcp = changed;
                }
            }
            Err(error) => {
                self.history.note_transports(&endpoints);
                self.failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    /// The transports of all network namespaces that are read, and the sockets that may be theirs.
    fn look(
        &mut self,
        roots: &Roots,
        elsewhere: &Elsewhere,
        may_read_ports: bool,
    ) -> (Vec<Endpoint>, Result<Vec<Socket>>) {
        let own = net_namespace::of(&roots.proc.join("self"));
        let mounts = || [mounts::read(&roots.proc).unwrap_or_default(), elsewhere.mounts.clone()].concat();
        let mut endpoints = endpoints(&roots.sys, may_read_ports, own, mounts);
        fill_in_ports(&mut endpoints, &mut self.ports);
        match sock_diag::open().and_then(|netlink| sockets(&netlink, &endpoints, own)) {
            Ok(sockets) => {
                let (others, more) = self.look_elsewhere(roots, elsewhere, may_read_ports);
                ([endpoints, others].concat(), Ok([sockets, more].concat()))
            }
            Err(error) => (endpoints, Err(error)),
        }
    }

    /// The same of the other network namespaces alone.
    fn look_elsewhere(
        &mut self,
        roots: &Roots,
        elsewhere: &Elsewhere,
        may_read_ports: bool,
    ) -> (Vec<Endpoint>, Vec<Socket>) {
        let new = self.namespaces.keep(&roots.proc, &elsewhere.net_namespaces);
        let (mut all_endpoints, mut all_sockets) = (Vec::new(), Vec::new());
        let mut failures = Vec::new();
        for (inode, namespace) in self.namespaces.iter() {
            let sys = namespace.sys(&roots.proc);
            let mut endpoints = endpoints(&sys, may_read_ports, Some(inode), || elsewhere.mounts.clone());
            fill_in_ports(&mut endpoints, &mut self.ports);
            match sockets(&namespace.netlink, &endpoints, Some(inode)) {
                Ok(sockets) => {
                    if new.contains(&inode) {
                        self.history.take_for_old(&sockets);
                    }
                    all_sockets.extend(sockets);
                }
                Err(error) => failures.push((inode, error)),
            }
            all_endpoints.extend(endpoints);
        }
        for (inode, error) in failures {
            self.namespaces.give_up(inode, &error);
        }
        (all_endpoints, all_sockets)
    }

    /// What was seen, and how well it could be.
    pub(super) fn finish(self) -> (Tcp, Option<ProbeStatus>) {
        let failure = self.failure.unwrap_or_default();
        let (transports, connections) = self.history.finish();
        let numbered = transports.iter().any(|transport| transport.xprt_id.is_some());
        let told_apart = !numbered || self.may_read_ports != Some(false);
        let probe = (!transports.is_empty()).then(|| status(&failure, told_apart, &self.namespaces.describe()));
        (Tcp { transports, connections, failure }, probe)
    }
}

/// For `doctor`: tries it.
pub(super) fn examine(roots: &Roots) -> ProbeStatus {
    let may_read_ports = safety::ports_may_be_read(&roots.proc);
    let mut watch = TcpWatch::default();
    let (endpoints, sockets) = if roots.has_module("sunrpc") {
        watch.look(roots, &mounts::read_elsewhere(&roots.proc), may_read_ports)
    } else {
        (Vec::new(), Ok(Vec::new()))
    };
    let place = watch.namespaces.describe();
    let told_apart = may_read_ports || endpoints.iter().all(|endpoint| endpoint.id.is_none());
    match sockets {
        _ if endpoints.is_empty() => ProbeStatus {
            state: ProbeState::NotApplicable,
            detail: format!("no NFS client is running {place}"),
            ..status("", true, "")
        },
        Ok(_) => status("", told_apart, &place),
        Err(error) => status(&format!("{error:#}"), told_apart, &place),
    }
}

/// `told_apart`: which connection belongs to which transport is known. `place`: in which network namespaces.
fn status(failure: &str, told_apart: bool, place: &str) -> ProbeStatus {
    let (state, detail, remedy) = if !failure.is_empty() {
        let detail = format!("{failure}: times of calls are measured, round trips of TCP are not");
        (ProbeState::Fallback, detail, "modprobe tcp_diag (needs CONFIG_INET_TCP_DIAG)")
    } else if told_apart {
        (ProbeState::Attached, place.to_owned(), "")
    } else {
        let detail = "this kernel may crash when asked for a connection's port: several connections to one server are \
                      not told apart, and not shown";
        (ProbeState::Fallback, detail.to_owned(), "use a kernel from 5.18 on")
    };
    ProbeStatus { hook: HOOK.to_owned(), measures: MEASURES.to_owned(), state, detail, remedy: remedy.to_owned() }
}

/// The transports of a network namespace. `sys`: the root of its `/sys`. `mounts`: all that may be of it.
fn endpoints(
    sys: &Path,
    may_read_ports: bool,
    net_namespace: Option<u64>,
    mounts: impl FnOnce() -> Vec<Mount>,
) -> Vec<Endpoint> {
    match rpc_transports::read(sys, may_read_ports) {
        Some(transports) => endpoints::of_transports(transports, net_namespace),
        None => endpoints::of_mounts(mounts().iter().filter(|mount| mount.net_namespace == net_namespace)),
    }
}

/// Notes the servers' ports of transports that are connected, and fills in those of the others.
fn fill_in_ports(endpoints: &mut [Endpoint], ports: &mut BTreeMap<u32, u16>) {
    for endpoint in endpoints {
        let (Some(id), Some(server)) = (endpoint.id, &mut endpoint.server) else { continue };
        if endpoint.client_port.is_some() {
            ports.insert(id, server.port());
        } else if let Some(&port) = ports.get(&id) {
            server.set_port(port);
        }
    }
}

/// The sockets of a network namespace that may be theirs.
fn sockets(netlink: &Netlink, endpoints: &[Endpoint], net_namespace: Option<u64>) -> Result<Vec<Socket>> {
    let servers = endpoints.iter().filter(|endpoint| endpoint.is_tcp()).filter_map(|endpoint| endpoint.server);
    let wanted: BTreeSet<_> =
        servers.map(|server| (if server.is_ipv4() { Family::V4 } else { Family::V6 }, server.port())).collect();
    let mut all = Vec::new();
    for (family, port) in wanted {
        let found = sock_diag::connected_to(netlink, family, port)?;
        all.extend(found.into_iter().map(|socket| Socket { net_namespace, ..socket }));
    }
    Ok(all)
}
