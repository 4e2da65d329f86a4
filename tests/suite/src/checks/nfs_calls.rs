//! NFS calls, against the client's own statistics.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    answer::{Answer, Distribution, MadeBy, Maker, Rpc},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{InPlaceOf, NfsMount},
    machine::{self, Machine},
    mountstats::{Op, Snapshot},
    nfslat::Trace,
    workload,
};

/// Counts and sums agree with mountstats, with NFS version 3.
pub(super) const AGREE_3: Check =
    Check { name: "nfs::agrees_with_mountstats_v3", stage: Stage::WithNfs, run: |machine| agree(machine, "3") };

/// The same with version 4.0.
pub(super) const AGREE_4_0: Check =
    Check { name: "nfs::agrees_with_mountstats_v4.0", stage: Stage::WithNfs, run: |machine| agree(machine, "4.0") };

/// The same with version 4.1.
pub(super) const AGREE_4_1: Check =
    Check { name: "nfs::agrees_with_mountstats_v4.1", stage: Stage::WithNfs, run: |machine| agree(machine, "4.1") };

/// The same with version 4.2.
pub(super) const AGREE_4_2: Check =
    Check { name: "nfs::agrees_with_mountstats_v4.2", stage: Stage::WithNfs, run: |machine| agree(machine, "4.2") };

/// Every histogram can be read by another program, and says what is printed beside it.
pub(super) const HISTOGRAMS: Check =
    Check { name: "nfs::histograms_can_be_read", stage: Stage::WithNfs, run: histograms };

/// `--mount` shows that mount's calls and no others.
pub(super) const ONE_MOUNT: Check = Check { name: "nfs::one_mount", stage: Stage::WithNfs, run: one_mount };

/// A client that replaces the kernel's, such as VAST's, and whose types are not known: by the record of a call. The modules
/// here are the kernel's own, made to look so.
pub(super) const BY_RECORD: Check = Check { name: "nfs::counted_by_record", stage: Stage::WithNfs, run: by_record };

/// The types of the RPC layer.
const TYPES: &str = "/sys/kernel/btf/sunrpc";

/// Its parameters, among which VAST's has its version.
const PARAMETERS: &str = "/sys/module/sunrpc/parameters";
const BUNDLE: &str = "4.0.33-test";

/// The RPC program that mountstats counts; access control lists of version 3 are another.
const NFS: u32 = 100_003;

/// A trace of a fixed amount of work on a mount.
struct Traced {
    answer: Answer,
    /// What the client counted while the trace was surely measuring.
    inner: BTreeMap<String, Op>,
    /// What it counted from before the trace began until after it had ended.
    outer: BTreeMap<String, Op>,
    /// The process that did the work.
    worker: u32,
}

fn traced(machine: &Machine, mount: &str, stop: impl FnOnce(Trace) -> Result<Answer>) -> Result<Traced> {
    let before = Snapshot::settled(mount)?;
    let trace = Trace::start(machine, ["--duration", "280"])?;
    let begun = Snapshot::of(mount)?;
    let worker = workload::run(machine, &["nfs-mixed", "--count", "5", "--dir", mount])?.pid;
    let done = Snapshot::settled(mount)?;
    let answer = stop(trace)?;
    let after = Snapshot::of(mount)?;
    Ok(Traced { answer, inner: done.since(&begun), outer: after.since(&before), worker })
}

fn agree(machine: &Machine, version: &str) -> Result<Outcome> {
    let mount = NfsMount::of_version(version)?;
    let Traced { answer, inner, outer, worker } = traced(machine, mount.path(), Trace::stop)?;
    let mut complaints = Complaints::default();
    for (name, outer) in &outer {
        let inner = inner.get(name).copied().unwrap_or_default();
        let seen = Totals::of(answer.rpc.iter().filter(|rpc| rpc.program == NFS && rpc.op == *name));
        seen.compare(&mut complaints, name, &inner, outer);
    }
    for rpc in answer.rpc.iter().filter(|rpc| rpc.program == NFS) {
        complaints.unless(outer.contains_key(&rpc.op), || format!("mountstats has no {}", rpc.op));
    }
    for rpc in &answer.rpc {
        let made: u64 = rpc.makers.iter().map(|made| made.count).sum();
        complaints.unless(made == rpc.count, || format!("of {} {} calls {made} have a maker", rpc.count, rpc.op));
    }
    // What asks for something is done in the name of who asks. (What is written may be written back by the kernel.)
    for rpc in answer.rpc.iter().filter(|rpc| rpc.program == NFS && ["RENAME", "REMOVE", "READDIR"].contains(&&*rpc.op))
    {
        let own = |made: &&MadeBy| made.maker == Maker::Process(worker);
        let by_worker: u64 = rpc.makers.iter().filter(own).map(|made| made.count).sum();
        complaints.unless(by_worker == rpc.count, || format!("{} is made by {:?}", rpc.op, rpc.makers));
    }
    // Enough of everything to make the comparison worth something.
    for op in ["WRITE", "GETATTR", "RENAME", "REMOVE", "READDIR"] {
        let seen = inner.keys().any(|name| name.starts_with(op));
        complaints.unless(seen, || format!("the workload made no {op}"));
    }
    complaints.unless(inner.values().any(|op| op.errors > 0), || "the workload made no errors".to_owned());
    complaints.settle()
}

fn by_record(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::of_version("4.2")?;
    let mut complaints = Complaints::default();
    let state = |answer: &Answer| {
        let probe = answer.probes.iter().find(|probe| probe.hook == "sunrpc:rpc_stats_latency");
        probe.map(|probe| probe.state.clone()).unwrap_or_default()
    };
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("nfs_bundle_version"), BUNDLE)?;
    let _parameters = InPlaceOf::another(PARAMETERS, folder.path())?;
    let nothing = tempfile::NamedTempFile::new()?;
    // Kernels before 5.11 have no types of modules anyway.
    let there = Path::new(TYPES).exists();
    let _types = there.then(|| InPlaceOf::another(TYPES, nothing.path())).transpose()?;
    let Traced { answer, inner, outer, .. } = traced(machine, mount.path(), Trace::stop_where_events_may_be_lost)?;
    complaints.unless(state(&answer) == "fallback", || format!("it is {}, should be fallback", state(&answer)));
    // From 7.0 on the kernel hands over a record only if no program is at one on the same CPU, maybe interrupted; it counts
    // those it keeps.
    let lost = answer.loss("recursion-miss");
    complaints.unless(lost == 0 || machine::kernel_is_at_least(7, 0).unwrap_or(true), || format!("{lost} calls lost"));
    for (name, outer) in &outer {
        let inner = inner.get(name).copied().unwrap_or_default();
        let seen = Totals::of(answer.rpc.iter().filter(|rpc| rpc.program == NFS && rpc.op == *name));
        complaints.unless((inner.ops.saturating_sub(lost)..=outer.ops).contains(&seen.count), || {
            format!("{name}: {} calls, should be {} to {}, but for {lost}", seen.count, inner.ops, outer.ops)
        });
        // Each time is cut to whole microseconds.
        let least_ns = (inner.execute_ms - 1) * 1_000_000 - i64::try_from(seen.count)? * 1_000;
        let most_ns = (outer.execute_ms + 1) * 1_000_000;
        // How long those took that were lost nobody knows.
        let is_right = seen.execute_ns <= most_ns && (seen.execute_ns >= least_ns || lost > 0);
        complaints.unless(is_right, || {
            format!("{name}: {} ns, should be {} to {} ms", seen.execute_ns, inner.execute_ms, outer.execute_ms)
        });
    }
    let calls: u64 = inner.values().map(|op| op.ops).sum();
    complaints.unless(calls > 100, || format!("only {calls} calls were made"));
    complaints.unless(lost * 5 <= calls, || format!("{lost} of {calls} calls were lost"));
    // Before 6.1 nothing leads from a call to its mount.
    if machine::kernel_is_at_least(6, 1)? {
        let row = answer.layers.iter().find(|row| row.mounts == [mount.path()]);
        let verdict = row.map(|row| row.verdict.as_str());
        let strong = ["healthy", "client-queue", "receive", "wake"];
        complaints.unless(verdict.is_some_and(|verdict| !strong.contains(&verdict)), || {
            format!("without errors, queues and retries the verdict is {verdict:?}")
        });
    }
    complaints.settle()
}

/// What the tool says of one operation, over all transports.
#[derive(Debug, Default)]
struct Totals {
    count: u64,
    errors: u64,
    bytes_sent: u64,
    bytes_received: u64,
    queue_ns: i64,
    rtt_ns: i64,
    execute_ns: i64,
}

impl Totals {
    fn of<'a>(rows: impl Iterator<Item = &'a Rpc>) -> Self {
        rows.fold(Self::default(), |sum, row| Self {
            count: sum.count + row.count,
            errors: sum.errors + row.errors,
            bytes_sent: sum.bytes_sent + row.bytes_sent,
            bytes_received: sum.bytes_received + row.bytes_received,
            queue_ns: sum.queue_ns + row.sum_ns(|row| &row.backlog_ns, |resent| &resent.backlog_ns),
            rtt_ns: sum.rtt_ns + row.sum_ns(|row| &row.rtt_ns, |resent| &resent.rtt_ns),
            execute_ns: sum.execute_ns + row.sum_ns(|row| &row.execute_ns, |resent| &resent.execute_ns),
        })
    }

    /// Where nothing happened around the trace, `inner` and `outer` are the same and so is what is
    /// wanted. Where a lease was renewed just then, it may or may not belong to the trace.
    fn compare(&self, complaints: &mut Complaints, name: &str, inner: &Op, outer: &Op) {
        let mut exact = |what: &str, seen: u64, from: u64, to: u64| {
            complaints
                .unless((from..=to).contains(&seen), || format!("{name} {what}: {seen}, should be {from} to {to}"));
        };
        exact("calls", self.count, inner.ops, outer.ops);
        exact("errors", self.errors, inner.errors, outer.errors);
        exact("bytes sent", self.bytes_sent, inner.bytes_sent, outer.bytes_sent);
        exact("bytes received", self.bytes_received, inner.bytes_received, outer.bytes_received);
        let mut rounded = |what: &str, seen_ns: i64, from_ms: i64, to_ms: i64| {
            // Both snapshots are cut to whole ms, so their difference is off by less than one.
            let (from, to) = ((from_ms - 1) * 1_000_000, (to_ms + 1) * 1_000_000);
            complaints.unless((from..=to).contains(&seen_ns), || {
                format!("{name} {what}: {seen_ns} ns, should be {from_ms} to {to_ms} ms")
            });
        };
        rounded("queue", self.queue_ns, inner.queue_ms, outer.queue_ms);
        rounded("rtt", self.rtt_ns, inner.rtt_ms, outer.rtt_ms);
        rounded("execute", self.execute_ns, inner.execute_ms, outer.execute_ms);
    }
}

fn histograms(machine: &Machine) -> Result<Outcome> {
    let mount = NfsMount::of_version("4.2")?;
    let answer = traced(machine, mount.path(), Trace::stop)?.answer;
    let mut complaints = Complaints::default();
    for rpc in &answer.rpc {
        let parts =
            [("backlog", &rpc.backlog_ns), ("rtt", &rpc.rtt_ns), ("tail", &rpc.tail_ns), ("execute", &rpc.execute_ns)];
        for (part, distribution) in parts {
            let name = format!("{} {part}", rpc.op);
            compare_histogram(&mut complaints, &name, distribution).context(name)?;
        }
    }
    complaints.settle()
}

fn compare_histogram(complaints: &mut Complaints, name: &str, distribution: &Distribution) -> Result<()> {
    let histogram = distribution.histogram()?;
    complaints.unless_equal(format!("{name} count"), histogram.len(), distribution.count);
    let quantiles = [(0.5, distribution.p50), (0.9, distribution.p90), (0.99, distribution.p99)];
    for (quantile, printed) in quantiles {
        let printed = printed.unwrap_or_default();
        // A slot of three digits is 0.1% wide, and one is printed by its middle, the other by its end.
        // No percentile is printed outside the extremes, which are known exactly.
        let (least, most) = (distribution.min.unwrap_or_default(), distribution.max.unwrap_or(u64::MAX));
        let read = histogram.value_at_quantile(quantile).min(most).max(least);
        complaints.unless_near(format!("{name} p{}", quantile * 100.0), printed, read, 0.002, 1);
    }
    // Extremes and sums are kept exactly beside the histogram, whose buckets are 1% wide.
    let max = distribution.max.unwrap_or_default();
    complaints.unless_near(format!("{name} max"), max, histogram.max(), 0.011, 1_000);
    let sum = histogram.mean() * histogram.len() as f64;
    let printed = distribution.sum.unsigned_abs();
    complaints.unless_near(format!("{name} sum"), printed, sum as u64, 0.011, 1_000 * histogram.len());
    Ok(())
}

fn one_mount(machine: &Machine) -> Result<Outcome> {
    let (wanted, other) = (NfsMount::of_version("4.2")?, NfsMount::of_version("3")?);
    let trace = Trace::start(machine, ["--duration", "280", "--mount", wanted.path()])?;
    for mount in [&wanted, &other] {
        workload::run(machine, &["nfs-meta", "--count", "2", "--dir", mount.path()])?;
    }
    let answer = trace.stop()?;
    let mut complaints = Complaints::default();
    let own = answer.rpc.iter().filter(|rpc| rpc.mount.as_deref() == Some(wanted.path())).count();
    complaints.unless(own > 3, || format!("only {own} operations on the mount asked for"));
    for rpc in &answer.rpc {
        complaints.unless(rpc.mount.as_deref() != Some(other.path()), || format!("{} of the other mount", rpc.op));
    }
    complaints.settle()
}
