//! NFS calls: what was counted, what is outstanding, and whose mounts they were for.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use anyhow::Result;
use nfslat_common::{
    buckets,
    rpc::{
        ClientInfo, InFlightCall, NFS_PROGRAM, NO_XPRT, PartSum, RpcBucketKey, RpcKey, RpcStandInKey, RpcStats, part,
    },
};

use super::{
    call_details::{CallDetails, StepHistograms, step_of},
    text,
};
use crate::{
    capture::{
        kernel::maps,
        proc::{
            mounts,
            rpc_clients::{self, SysfsClients},
            rpc_tasks::{self, RpcTask},
        },
        session::Session,
    },
    model::{InFlight, Mount, RpcClient, RpcPart, RpcSeries, RpcSlice, RpcStep, Slice, Transport},
};

/// What the maps said of calls so far.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) series: Vec<RpcSeries>,
    /// Index and last sums of each series.
    seen: HashMap<RpcKey, (u32, RpcStats)>,
    /// Last count of each bucket.
    buckets: HashMap<RpcBucketKey, u64>,
    details: CallDetails,
    /// Mounts and clients come and go; every reading adds what it sees.
    mounts: BTreeMap<(u32, u32, String), Mount>,
    clients: BTreeMap<u32, ClientInfo>,
    sysfs: SysfsClients,
    readings: u32,
}

/// Mounts of other namespaces are looked for once in so many readings: that takes a look at every process.
const READINGS_ELSEWHERE: u32 = 10;

/// The parts of a recording that are about mounts.
pub(super) struct NfsParts {
    pub(super) mounts: Vec<Mount>,
    pub(super) clients: Vec<RpcClient>,
    pub(super) transports: Vec<Transport>,
}

impl Calls {
    /// Calls done so far.
    pub(super) fn done(&self) -> u64 {
        self.seen.values().map(|(_, stats)| stats.count).sum()
    }

    /// Reads the maps and adds what is new to the slice.
    pub(super) fn read(&mut self, session: &Session, slice: &mut Slice) -> Result<()> {
        for mount in mounts::read(&session.roots.proc)? {
            self.mounts.insert((mount.dev_major, mount.dev_minor, mount.mount_point.clone()), mount);
        }
        if self.mounts.is_empty() && !session.roots.has_module("sunrpc") {
            return Ok(());
        }
        self.readings += 1;
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
        // Buckets before sums, and both are cut by the window: a histogram never has a call that
        // the count lacks.
        let counts = maps::read_all::<RpcBucketKey, u64>(maps::data(session.bpf(), "RPC_BUCKETS")?)?;
        let mut stats: BTreeMap<RpcKey, Vec<RpcStats>> = BTreeMap::new();
        let firsts = maps::read_all_per_cpu::<RpcKey, RpcStats>(maps::data(session.bpf(), "RPC_STATS")?)?;
        let stand_ins = maps::data(session.bpf(), "RPC_STATS_STAND_IN")?;
        let stand_ins = maps::read_all_per_cpu::<RpcStandInKey, RpcStats>(stand_ins)?;
        for (key, per_cpu) in firsts.into_iter().chain(stand_ins.into_iter().map(|(key, sums)| (key.rpc, sums))) {
            stats.entry(key).or_default().extend(per_cpu);
        }
        let mut added: BTreeMap<u32, RpcSlice> = BTreeMap::new();
        for (key, per_cpu) in &stats {
            let now = sum_over_cpus(per_cpu);
            let index = self.index_of(*key, &now);
            let before = &mut self.seen.get_mut(key).expect("index_of adds it").1;
            if now.count > before.count {
                added.insert(index, slice_of(index, &now, before));
            }
            *before = now;
            let series = &mut self.series[index as usize];
            series.min_ns = now.parts.map(|part| part.min_ns);
            series.max_ns = now.parts.map(|part| part.max_ns);
        }
        let mut steps = StepHistograms::default();
        for (key, count) in counts {
            let last = self.buckets.insert(key, count).unwrap_or(0);
            let Some((index, _)) = self.seen.get(&key.rpc) else { continue };
            if count == last {
                continue;
            }
            if let Some(step) = step_of(&key) {
                steps.add(*index, step, key.bucket, count - last);
                continue;
            }
            let slice = added.entry(*index).or_insert_with(|| RpcSlice { series: *index, ..RpcSlice::default() });
            part_of(slice, usize::from(key.part)).histogram.record(buckets::midpoint_ns(key.bucket, 0), count - last);
        }
        slice.rpc = added.into_values().collect();
        self.details.read(session, |key| self.seen.get(key).map(|(index, _)| *index), steps, slice)
    }

    /// Looks for mounts in other mount namespaces.
    pub(super) fn look_elsewhere(&mut self, proc: &Path) {
        for mount in mounts::read_elsewhere(proc) {
            // The first process that was seen to have it names it, as long as the run lasts.
            self.mounts.entry((mount.dev_major, mount.dev_minor, mount.mount_point.clone())).or_insert(mount);
        }
    }

    fn index_of(&mut self, key: RpcKey, stats: &RpcStats) -> u32 {
        let series = &mut self.series;
        self.seen
            .entry(key)
            .or_insert_with(|| {
                series.push(RpcSeries {
                    client_id: key.client_id,
                    xprt_id: (key.xprt_id != NO_XPRT).then_some(key.xprt_id),
                    program: key.program,
                    version: u32::from(key.version),
                    op_index: u32::from(key.op),
                    op: text(&stats.name),
                    resent: key.resent & RpcKey::RESENT != 0,
                    ..RpcSeries::default()
                });
                ((series.len() - 1) as u32, RpcStats::default())
            })
            .0
    }

    /// Calls open at the end of the window: those the kernel side saw begin, and those that were
    /// open before the window and still are.
    pub(super) fn in_flight(session: &Session, tasks_before: &[RpcTask]) -> Result<Vec<InFlight>> {
        let followed = maps::read_all::<u64, InFlightCall>(maps::data(session.bpf(), "IN_FLIGHT")?)?;
        let mut open: Vec<InFlight> = followed
            .iter()
            .filter(|(_, call)| call.sleeps_for != InFlightCall::ENDED)
            .map(|(_, call)| InFlight {
                client_id: call.rpc.client_id,
                program: call.rpc.program,
                version: u32::from(call.rpc.version),
                op: text(&call.name),
                age_ns: session.end_ns.saturating_sub(call.begin_ns),
                open_at_start: false,
                pid: call.tgid,
                comm: text(&call.comm),
                waiting_in: text(&call.queue),
                step: (call.sleeps_for as usize).checked_sub(1).and_then(|step| RpcStep::ALL.get(step).copied()),
            })
            .collect();
        let before: HashSet<_> = tasks_before.iter().map(identity).collect();
        let still_open = rpc_tasks::read(&session.roots.sys).unwrap_or_default();
        open.extend(still_open.iter().filter(|task| before.contains(&identity(task))).map(|task| {
            let digits = task.protocol.trim_start_matches(|c: char| !c.is_ascii_digit());
            InFlight {
                client_id: task.client_id,
                program: if task.protocol.starts_with("nfsv") { NFS_PROGRAM } else { 0 },
                version: digits.parse().unwrap_or(0),
                op: task.op.clone(),
                age_ns: session.end_ns - session.start_ns,
                open_at_start: true,
                pid: 0,
                comm: String::new(),
                waiting_in: task.queue.clone(),
                step: None,
            }
        }));
        open.sort_by_key(|call| Reverse((call.open_at_start, call.age_ns)));
        Ok(open)
    }

    /// Mounts, clients and transports seen, tied to each other.
    pub(super) fn describe(&self, session: &Session) -> NfsParts {
        let mounts: Vec<Mount> = self.mounts.values().cloned().collect();
        let mut ids: HashSet<u32> = self.clients.keys().copied().collect();
        ids.extend(self.sysfs.by_device.values());
        let mut clients: Vec<RpcClient> = ids.into_iter().map(|id| self.client(id, &mounts)).collect();
        clients.sort_by_key(|client| client.id);
        share_with_parents(&mut clients);
        inherit_from_parents(&mut clients);
        let addresses: BTreeMap<u32, String> = self
            .sysfs
            .transports
            .values()
            .flatten()
            .map(|transport| (transport.id, format!("{} {}", transport.protocol, transport.address)))
            .collect();
        let mut used: Vec<u32> = self.series.iter().filter_map(|series| series.xprt_id).collect();
        used.sort_unstable();
        used.dedup();
        let transports = used
            .into_iter()
            .map(|id| Transport { id: Some(id), address: addresses.get(&id).cloned().unwrap_or_default() })
            .collect();
        log::debug!("{} NFS mounts, {} RPC clients, {} probes", mounts.len(), clients.len(), session.probes.len());
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
        let at_address = indices(mounts, |mount| !address.is_empty() && mount.server == *address);
        match at_address[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// What tells one open task from another, as far as debugfs shows it.
fn identity(task: &RpcTask) -> (u32, u32, u32, String) {
    (task.task_id, task.client_id, task.xid, task.op.clone())
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

/// Number of values that a part has: a call never sent has an execute time only.
fn values_of(stats: &RpcStats, part: usize) -> u64 {
    stats.count - if part == part::EXECUTE { 0 } else { stats.unsent }
}

fn sum_over_cpus(per_cpu: &[RpcStats]) -> RpcStats {
    let mut sum = RpcStats::default();
    for stats in per_cpu {
        for part in 0..part::COUNT {
            let (to, from) = (&sum.parts[part], &stats.parts[part]);
            // A CPU that saw no value of a part has 0 as its smallest, which is not one.
            let min_ns = match (values_of(&sum, part), values_of(stats, part)) {
                (_, 0) => to.min_ns,
                (0, _) => from.min_ns,
                _ => to.min_ns.min(from.min_ns),
            };
            sum.parts[part] = PartSum {
                sum_ns: to.sum_ns + from.sum_ns,
                min_ns,
                max_ns: to.max_ns.max(from.max_ns),
                negative: to.negative + from.negative,
            };
        }
        sum.count += stats.count;
        sum.errors += stats.errors;
        sum.retransmitted += stats.retransmitted;
        sum.transmissions += stats.transmissions;
        sum.timeouts += stats.timeouts;
        sum.unsent += stats.unsent;
        sum.bytes_sent += stats.bytes_sent;
        sum.bytes_received += stats.bytes_received;
        if stats.name[0] != 0 {
            sum.name = stats.name;
        }
    }
    sum
}

/// What was added between two readings, without the histograms.
fn slice_of(series: u32, now: &RpcStats, before: &RpcStats) -> RpcSlice {
    let part = |part: usize| RpcPart {
        sum_ns: now.parts[part].sum_ns - before.parts[part].sum_ns,
        negative: now.parts[part].negative - before.parts[part].negative,
        ..RpcPart::default()
    };
    RpcSlice {
        series,
        count: now.count - before.count,
        errors: now.errors - before.errors,
        retransmitted: now.retransmitted - before.retransmitted,
        transmissions: now.transmissions - before.transmissions,
        timeouts: now.timeouts - before.timeouts,
        unsent: now.unsent - before.unsent,
        bytes_sent: now.bytes_sent - before.bytes_sent,
        bytes_received: now.bytes_received - before.bytes_received,
        backlog: part(part::BACKLOG),
        rtt: part(part::RTT),
        tail: part(part::TAIL),
        execute: part(part::EXECUTE),
    }
}

fn part_of(slice: &mut RpcSlice, part: usize) -> &mut RpcPart {
    match part {
        part::BACKLOG => &mut slice.backlog,
        part::RTT => &mut slice.rtt,
        part::TAIL => &mut slice.tail,
        _ => &mut slice.execute,
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
