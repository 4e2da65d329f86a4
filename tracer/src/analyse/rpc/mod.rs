//! NFS calls by mount, server, transport and operation.

use std::{cmp::Reverse, collections::BTreeMap};

mod errors;
mod latency;
pub mod makers;
mod row;
mod steps;

use crate::model::{Mount, Recording, RpcClient, RpcSeries, RpcSlice};
use errors::Errors;
pub use makers::MakerRow;
use makers::Makers;
pub use row::{ErrorRow, InFlightRow, Latency, ResentRow, RpcRow, StepRow};
use steps::Steps;

/// What tells rows apart. Clients of the same mounts are one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    mounts: Vec<u32>,
    /// Tells clients apart whose mounts are not known.
    client: Option<u32>,
    program: u32,
    version: u32,
    op: String,
    xprt: Option<u32>,
}

#[derive(Clone, Default)]
struct Sums {
    count: u64,
    errors: u64,
    retransmitted: u64,
    unsent: u64,
    timeouts: u64,
    in_flight: u64,
    bytes_sent: u64,
    bytes_received: u64,
    /// Backlog, rtt, tail and execute of calls transmitted once.
    parts: [Latency; 4],
    /// The same of those transmitted more than once.
    resent_parts: [Latency; 4],
    resent: u64,
    steps: Steps,
    errors_by_name: Errors,
    makers: Makers,
}

/// The NFS rows of a recording, merged over transports: one for each mount and operation, most time
/// first. `xprt` is `None` where several were merged.
#[must_use]
pub fn by_operation(rows: &[RpcRow]) -> Vec<RpcRow> {
    let mut merged: Vec<RpcRow> = Vec::new();
    for row in rows.iter().filter(|row| row.is_nfs()) {
        match merged.iter_mut().find(|other| other.is_same_operation(row)) {
            Some(other) => other.merge(row),
            None => merged.push(row.clone()),
        }
    }
    merged.sort_by_key(|row| Reverse(row.spent_ns()));
    merged
}

/// The rows of a (validated) recording, most time first, and its calls in flight, oldest first.
/// With a mount filter, only those that belong to that mount.
pub(super) fn rows(recording: &Recording) -> (Vec<RpcRow>, Vec<InFlightRow>) {
    let clients = Clients::new(recording);
    let mut sums = BTreeMap::<Key, Sums>::new();
    let mut used = vec![false; recording.rpc_series.len()];
    for part in recording.slices.iter().flat_map(|slice| &slice.rpc) {
        let series = &recording.rpc_series[part.series as usize];
        // A slice may hold buckets of a call whose count went to the slice before: no count is no
        // reason to pass it over.
        if !clients.wanted(series.client_id) {
            continue;
        }
        used[part.series as usize] = true;
        sums.entry(clients.key(series)).or_default().add(part, series.resent);
    }
    for slice in &recording.slices {
        let key = |series: u32| clients.key(&recording.rpc_series[series as usize]);
        for step in &slice.rpc_steps {
            sums.entry(key(step.series)).and_modify(|sum| sum.steps.add(step));
        }
        for made in &slice.rpc_makers {
            sums.entry(key(made.series)).and_modify(|sum| sum.makers.add(made));
        }
        for error in &slice.rpc_errors {
            sums.entry(key(error.series)).and_modify(|sum| sum.errors_by_name.add(*error));
        }
    }
    for (series, _) in recording.rpc_series.iter().zip(used).filter(|(_, used)| *used) {
        if let Some(sum) = sums.get_mut(&clients.key(series)) {
            let parts = if series.resent { &mut sum.resent_parts } else { &mut sum.parts };
            for (part, (&min, &max)) in parts.iter_mut().zip(series.min_ns.iter().zip(&series.max_ns)) {
                part.widen(min, max);
            }
        }
    }
    let in_flight = in_flight_rows(recording, &clients, &mut sums);
    let mut rows: Vec<_> = sums.into_iter().map(|(key, sum)| clients.row(key, sum)).collect();
    rows.sort_by_key(|row| Reverse(row.spent_ns()));
    (rows, in_flight)
}

impl Sums {
    fn add(&mut self, part: &RpcSlice, resent: bool) {
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        add(&mut self.count, part.count);
        add(&mut self.errors, part.errors);
        add(&mut self.retransmitted, part.retransmitted);
        add(&mut self.unsent, part.unsent);
        add(&mut self.timeouts, part.timeouts);
        add(&mut self.bytes_sent, part.bytes_sent);
        add(&mut self.bytes_received, part.bytes_received);
        if resent {
            add(&mut self.resent, part.count);
        }
        let parts = if resent { &mut self.resent_parts } else { &mut self.parts };
        for (sum, part) in parts.iter_mut().zip([&part.backlog, &part.rtt, &part.tail, &part.execute]) {
            sum.add(part);
        }
    }
}

/// Lists the calls in flight and counts them in the rows they belong to. Their transport is not
/// known: where an operation has several, they get a row without one.
fn in_flight_rows(recording: &Recording, clients: &Clients, sums: &mut BTreeMap<Key, Sums>) -> Vec<InFlightRow> {
    let mut rows = Vec::new();
    for call in recording.in_flight.iter().filter(|call| clients.wanted(call.client_id)) {
        let (mounts, client) = clients.identity(call.client_id);
        let mut key =
            Key { mounts, client, program: call.program, version: call.version, op: call.op.clone(), xprt: None };
        let mut same = sums.keys().filter(|other| {
            (&other.mounts, other.client, other.program, other.version, &other.op)
                == (&key.mounts, key.client, key.program, key.version, &key.op)
        });
        if let (Some(only), None) = (same.next(), same.next()) {
            key.xprt = only.xprt;
        }
        let place = clients.place(&key.mounts);
        rows.push(InFlightRow {
            mount: place.mount,
            mounts: place.mounts,
            server: place.server,
            program: call.program,
            version: call.version,
            op: call.op.clone(),
            age_ns: call.age_ns,
            open_at_start: call.open_at_start,
            pid: call.pid,
            comm: call.comm.clone(),
            waiting_in: call.waiting_in.clone(),
            step: call.step,
        });
        let sum = sums.entry(key).or_default();
        sum.in_flight = sum.in_flight.saturating_add(1);
    }
    rows.sort_by_key(|row| Reverse(row.age_ns));
    rows
}

/// Clients by id, and what is known of their mounts.
struct Clients<'r> {
    by_id: BTreeMap<u32, &'r RpcClient>,
    recording: &'r Recording,
}

struct Place {
    mount: Option<String>,
    mounts: Vec<String>,
    server: String,
}

impl<'r> Clients<'r> {
    fn new(recording: &'r Recording) -> Self {
        Self { by_id: recording.clients.iter().map(|client| (client.id, client)).collect(), recording }
    }

    /// True if calls of this client are asked for.
    fn wanted(&self, id: u32) -> bool {
        let Some(filter) = &self.recording.options.mount else {
            return true;
        };
        self.by_id
            .get(&id)
            .is_some_and(|client| client.mounts.iter().any(|&mount| self.mount(mount).mount_point == *filter))
    }

    fn mount(&self, index: u32) -> &'r Mount {
        &self.recording.mounts[index as usize]
    }

    fn identity(&self, id: u32) -> (Vec<u32>, Option<u32>) {
        match self.by_id.get(&id) {
            Some(client) if !client.mounts.is_empty() => {
                let mut mounts = client.mounts.clone();
                mounts.sort_unstable();
                mounts.dedup();
                (mounts, None)
            }
            _ => (Vec::new(), Some(id)),
        }
    }

    fn key(&self, series: &RpcSeries) -> Key {
        let (mounts, client) = self.identity(series.client_id);
        Key {
            mounts,
            client,
            program: series.program,
            version: series.version,
            op: series.op.clone(),
            xprt: series.xprt_id,
        }
    }

    fn place(&self, mounts: &[u32]) -> Place {
        let points: Vec<_> = mounts.iter().map(|&mount| self.mount(mount).name()).collect();
        let server = mounts.first().map(|&mount| server_of(self.mount(mount))).unwrap_or_default();
        let mount = if let [only] = points.as_slice() { Some(only.clone()) } else { None };
        Place { mount, mounts: points, server }
    }

    fn row(&self, key: Key, sum: Sums) -> RpcRow {
        let place = self.place(&key.mounts);
        let transport = self
            .recording
            .transports
            .iter()
            .find(|transport| transport.id == key.xprt && (key.xprt.is_some() || !transport.address.is_empty()));
        let once = sum.count.saturating_sub(sum.resent);
        let [backlog_ns, rtt_ns, tail_ns, execute_ns] = finished(sum.parts, once, sum.unsent);
        let resent = (sum.resent > 0).then(|| {
            let [backlog_ns, rtt_ns, tail_ns, execute_ns] = finished(sum.resent_parts, sum.resent, 0);
            ResentRow { count: sum.resent, backlog_ns, rtt_ns, tail_ns, execute_ns }
        });
        RpcRow {
            mount: place.mount,
            mounts: place.mounts,
            server: place.server,
            xprt: key.xprt,
            xprt_address: transport.map(|transport| transport.address.clone()).unwrap_or_default(),
            program: key.program,
            version: key.version,
            op: key.op,
            count: sum.count,
            errors: sum.errors,
            retransmitted: sum.retransmitted,
            unsent: sum.unsent,
            timeouts: sum.timeouts,
            in_flight: sum.in_flight,
            bytes_sent: sum.bytes_sent,
            bytes_received: sum.bytes_received,
            backlog_ns,
            rtt_ns,
            tail_ns,
            execute_ns,
            resent,
            steps: sum.steps.rows(),
            errors_by_name: sum.errors_by_name.rows(),
            makers: sum.makers.rows(self.recording),
        }
    }
}

/// The parts with their percentiles. Calls that were never sent have an execute time only.
fn finished(mut parts: [Latency; 4], count: u64, unsent: u64) -> [Latency; 4] {
    let [before @ .., execute] = &mut parts;
    for part in before {
        part.finish(count.saturating_sub(unsent));
    }
    execute.finish(count);
    parts
}

/// The server's address, else the host in `host:/path`.
fn server_of(mount: &Mount) -> String {
    if !mount.server.is_empty() {
        return mount.server.clone();
    }
    mount.source.rsplit_once(":/").map_or_else(String::new, |(host, _)| host.to_owned())
}
