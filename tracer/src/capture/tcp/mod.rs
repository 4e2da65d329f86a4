//! TCP connections of NFS transports over the run: which they are is told by sysfs or by the mounts, their state by the
//! kernel's own list of sockets. Nothing here asks a mount or a server.

mod endpoints;
mod history;
mod info;
mod safety;
mod sock_diag;
mod tie;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::proc::{Roots, mounts, rpc_transports};
use crate::model::{ProbeState, ProbeStatus, Slice, Tcp};
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
    /// First thing that went wrong.
    failure: Option<String>,
}

impl TcpWatch {
    /// Reads once; the slice, if it is not the first reading, gets what changed.
    pub(super) fn read(&mut self, roots: &Roots, at_ns: u64, slice: Option<&mut Slice>) {
        if !roots.has_module("sunrpc") {
            // What is there later has begun later.
            self.history.note(&[], &[], at_ns);
            return;
        }
        let may_read_ports = *self.may_read_ports.get_or_insert_with(|| safety::ports_may_be_read(&roots.proc));
        let endpoints = self.with_known_ports(endpoints(roots, may_read_ports));
        match sockets(&endpoints) {
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

    fn with_known_ports(&mut self, mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
        for endpoint in &mut endpoints {
            let (Some(id), Some(server)) = (endpoint.id, &mut endpoint.server) else { continue };
            if endpoint.client_port.is_some() {
                self.ports.insert(id, server.port());
            } else if let Some(&port) = self.ports.get(&id) {
                server.set_port(port);
            }
        }
        endpoints
    }

    /// What was seen, and how well it could be.
    pub(super) fn finish(self) -> (Tcp, Option<ProbeStatus>) {
        let failure = self.failure.unwrap_or_default();
        let (transports, connections) = self.history.finish();
        let numbered = transports.iter().any(|transport| transport.xprt_id.is_some());
        let told_apart = !numbered || self.may_read_ports != Some(false);
        let probe = (!transports.is_empty()).then(|| status(&failure, told_apart));
        (Tcp { transports, connections, failure }, probe)
    }
}

/// For `doctor`: tries it.
pub(super) fn examine(roots: &Roots) -> ProbeStatus {
    let may_read_ports = safety::ports_may_be_read(&roots.proc);
    let endpoints = if roots.has_module("sunrpc") { endpoints(roots, may_read_ports) } else { Vec::new() };
    if endpoints.is_empty() {
        return ProbeStatus {
            state: ProbeState::NotApplicable,
            detail: "no NFS client is running in this network namespace".to_owned(),
            ..status("", true)
        };
    }
    let told_apart = may_read_ports || endpoints.iter().all(|endpoint| endpoint.id.is_none());
    match sockets(&endpoints) {
        Ok(_) => status("", told_apart),
        Err(error) => status(&format!("{error:#}"), told_apart),
    }
}

/// `told_apart`: which connection belongs to which transport is known.
fn status(failure: &str, told_apart: bool) -> ProbeStatus {
    let (state, detail, remedy) = if !failure.is_empty() {
        let detail = format!("{failure}: times of calls are measured, round trips of TCP are not");
        (ProbeState::Fallback, detail, "modprobe tcp_diag (needs CONFIG_INET_TCP_DIAG)")
    } else if told_apart {
        let detail = "of this network namespace: connections of others (containers) are not read";
        (ProbeState::Attached, detail.to_owned(), "")
    } else {
        let detail = "this kernel may crash when asked for a connection's port: several connections to one server are \
                      not told apart, and not shown";
        (ProbeState::Fallback, detail.to_owned(), "use a kernel from 5.18 on")
    };
    ProbeStatus { hook: HOOK.to_owned(), measures: MEASURES.to_owned(), state, detail, remedy: remedy.to_owned() }
}

fn endpoints(roots: &Roots, may_read_ports: bool) -> Vec<Endpoint> {
    match rpc_transports::read(&roots.sys, may_read_ports) {
        Some(transports) => endpoints::of_transports(transports),
        None => endpoints::of_mounts(&mounts::read(&roots.proc).unwrap_or_default()),
    }
}

/// The sockets that may be theirs.
fn sockets(endpoints: &[Endpoint]) -> Result<Vec<Socket>> {
    let servers = endpoints.iter().filter(|endpoint| endpoint.is_tcp()).filter_map(|endpoint| endpoint.server);
    let wanted: BTreeSet<_> =
        servers.map(|server| (if server.is_ipv4() { Family::V4 } else { Family::V6 }, server.port())).collect();
    let mut sockets = Vec::new();
    for (family, port) in wanted {
        sockets.extend(sock_diag::connected_to(family, port)?);
    }
    Ok(sockets)
}
