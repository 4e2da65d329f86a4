//! NFS calls: what was counted, and what is outstanding.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use anyhow::Result;
use nfslat_common::{
    buckets,
    rpc::{InFlightCall, NFS_PROGRAM, NO_XPRT, PartSum, RpcBucketKey, RpcKey, RpcStandInKey, RpcStats, part},
};

use super::{
    call_details::{CallDetails, StepHistograms, step_of},
    clients::Clients,
    text,
};
use crate::{
    capture::{
        kernel::maps,
        proc::rpc_tasks::{self, RpcTask},
        session::Session,
    },
    model::{InFlight, RpcPart, RpcSeries, RpcSlice, RpcStep, Slice},
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
    pub(super) clients: Clients,
}

impl Calls {
    /// Calls done so far.
    pub(super) fn done(&self) -> u64 {
        self.seen.values().map(|(_, stats)| stats.count).sum()
    }

    /// Reads the maps and adds what is new to the slice.
    pub(super) fn read(&mut self, session: &mut Session, slice: &mut Slice) -> Result<()> {
        if !self.clients.read(session)? {
            return Ok(());
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
}

/// What tells one open task from another, as far as debugfs shows it.
fn identity(task: &RpcTask) -> (u32, u32, u32, String) {
    (task.task_id, task.client_id, task.xid, task.op.clone())
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
