//! Waits of a process whose control group is at its limit of memory.

use anyhow::{Context, Result};
use nfslat_workload::truth::Cause;

use crate::{
    check::{Check, Outcome, Stage},
    checks::classes::{OWN_ACCOUNT, classes_of},
    complaints::Complaints,
    guards::{Cgroup, SwapFile},
    guest,
    machine::Machine,
    nfslat::Trace,
    workload::Gated,
};

/// Nothing can be reclaimed: the kernel slows the thread down (`mem_cgroup_handle_over_high`, mm/memcontrol.c).
pub(super) const THROTTLED: Check = Check { name: "classes::reclaim", stage: Stage::Bare, run: throttled };

/// Memory is reclaimed to a slow disk, and comes back from there (`do_swap_page`, mm/memory.c).
pub(super) const SWAPPED: Check = Check { name: "classes::reclaim_to_swap", stage: Stage::Bare, run: swapped };

/// What the group may use, and how much the workload would.
const ALLOWED: u64 = 16 << 20;
const WANTED_KIB: &str = "32768";
const SWAP: usize = 48 << 20;

/// How much of its time the thread is blocked at least; else the group was not at its limit. Seen: 95% without swap, and
/// 38 to 70% with.
const STALLED: f64 = 0.2;

/// How much of the time it was blocked, the waits at the gate apart, may be in an unknown class or a wrong one.
const WRONG: f64 = 0.01;

/// How far that time may be from what the thread knows by itself, where a few long sleeps are all.
const FEW_WAITS: f64 = 0.01;

/// What the thread's own account, which rests on schedstat, is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnAccount {
    /// A few long sleeps: it is the time blocked.
    Exact,
    /// Hundreds of short ones, at whose ends schedstat counts the waking of an idle CPU as time on it (on an emulated
    /// 5.10: 180 ms of 2 s, where `perf sched timehist` agreed with nfslat): it was blocked for at least that,
    /// and at most for as long as it was in its calls.
    LowerBound,
}

fn throttled(machine: &Machine) -> Result<Outcome> {
    match Cgroup::with_memory_high(ALLOWED)? {
        Ok(group) => limited(machine, &group, &["memcg-throttle", "reclaim"], OwnAccount::Exact),
        Err(reason) => Ok(Outcome::Skipped(reason)),
    }
}

fn swapped(machine: &Machine) -> Result<Outcome> {
    if guest::stage().is_none() {
        return Ok(Outcome::Skipped("it adds swap space, which is for guests only".to_owned()));
    }
    match Cgroup::with_memory_high(ALLOWED)? {
        Ok(group) => {
            let _swap = SwapFile::on(&machine.disk, SWAP)?;
            limited(machine, &group, &["swap-in", "memcg-throttle", "reclaim"], OwnAccount::LowerBound)
        }
        Err(reason) => Ok(Outcome::Skipped(reason)),
    }
}

/// The thread waits for what is in `classes`, and never for a memory lock.
fn limited(machine: &Machine, group: &Cgroup, classes: &[&str], own_account: OwnAccount) -> Result<Outcome> {
    let mut workload = Gated::start(machine, &["reclaim", "--duration", "2", "--file-kib", WANTED_KIB, "--pin"])?;
    group.take(workload.pid())?;
    let trace = Trace::start(machine, ["-p", &workload.pid().to_string(), "--duration", "120"])?;
    let truth = workload.work()?;
    let answer = trace.stop()?;
    workload.end()?;

    let mut complaints = Complaints::default();
    for truth in &truth.threads {
        let (name, known) = (&truth.comm, truth.blocked_ns());
        let thread = answer.thread(truth.tid).with_context(|| format!("{name} is missing from the answer"))?;
        // Before and after its work it waits for a futex: the gate.
        let (gate, around) = (thread.blocked_in(classes_of(Cause::Futex)), thread.window_ns - truth.wall_ns);
        complaints.unless(gate <= around, || format!("{name}: {gate} ns at the gate, which it was at for {around}"));
        let (right, all) = (thread.blocked_in(classes), thread.blocked_ns - gate);
        complaints.unless(all as f64 >= STALLED * truth.wall_ns as f64, || {
            format!("{name}: blocked for {all} of {} ns only", truth.wall_ns)
        });
        complaints.unless((all - right) as f64 <= WRONG * all as f64, || {
            format!("{name}: {right} of {all} ns blocked are in {classes:?}; {:?}", thread.classes)
        });
        let (most, off) = match own_account {
            OwnAccount::Exact => (known, FEW_WAITS),
            OwnAccount::LowerBound => (truth.waited_ns, OWN_ACCOUNT),
        };
        let (least, most) = (known as f64 * (1.0 - off), most as f64 * (1.0 + off));
        complaints.unless((least..=most).contains(&(all as f64)), || {
            format!("{name}: blocked for {all} ns, should lie between {least} and {most}")
        });
        let memory_lock = thread.blocked_in(classes_of(Cause::MmapLock));
        complaints.unless_equal(format!("{name}: memory lock"), memory_lock, 0);
    }
    complaints.settle_for(&answer)
}
