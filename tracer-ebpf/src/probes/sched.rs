//! The scheduler: `sched_switch`, `sched_wakeup`, `sched_wakeup_new`, `sched_process_fork`.
//!
//! `sched_wakeup` fires when the thread is put on its run queue, where the kernel's own
//! `schedstat` also begins to count its waiting for a CPU.

use aya_ebpf::{Global, bindings::BPF_ANY, macros::btf_tracepoint, programs::BtfTracePointContext};
use nfslat_common::{config::filter as role, loss::LossKind, sched::Occupant};

use crate::{
    filter,
    kernel::Task,
    loss,
    maps::{ON_CPU, TREE},
    probes::{
        holders,
        threads::{self, Departure},
    },
    window::{self, Moment},
};

/// 1 if `sched_switch` hands over the state of the thread that leaves (5.18 and later; before,
/// it is still in the thread).
#[unsafe(no_mangle)]
static SWITCH_HAS_STATE: Global<u32> = Global::new(1);

#[btf_tracepoint(function = "sched_switch")]
pub(crate) fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let Some(at) = window::moment() else { return 0 };
    let preempted: u64 = ctx.arg(0);
    let leaving = Task::new(ctx.arg(1));
    let entering = Task::new(ctx.arg(2));
    // The argument is the state from before the kernel looked for pending signals. If it found
    // one, the thread stays runnable and its own field is 0 again (up to 6.11).
    let own_state = leaving.scheduler_state();
    let scheduler_state = if SWITCH_HAS_STATE.load() != 0 && own_state != 0 { ctx.arg::<u32>(3) } else { own_state };
    // `preempt` is a bool: only its low byte is defined.
    let how = Departure { preempted: preempted & 0xff != 0, scheduler_state };
    let Some(occupant) = ON_CPU.get_ptr_mut(0) else { return 0 };
    // SAFETY: a pointer from a map lookup, valid for the run of the program; the entry is this
    // CPU's own, and interrupts are off.
    let occupant = unsafe { &mut *occupant };
    note_switch(occupant, leaving, entering, at);
    if leaving.tid() != 0 {
        threads::leave_cpu(&ctx, leaving, how, occupant, at);
    }
    if entering.tid() != 0 {
        threads::enter_cpu(entering, occupant, at);
    }
    0
}

/// Notes who gets this CPU. If the thread that leaves is not the one that was noted, a switch went
/// unreported: some kernels hide threads from tracing, and with them the switches and wake-ups on
/// their time. Then the scheduler's own statistics tell when the leaving thread got the CPU.
#[inline(always)]
fn note_switch(occupant: &mut Occupant, leaving: Task, entering: Task, at: Moment) {
    let arrived_ns = if leaving.tid() == 0 { 0 } else { leaving.last_arrival_ns() };
    let known = occupant.since_ns != 0;
    let seen = occupant.thread == leaving.key();
    if known && seen && arrived_ns != 0 {
        // Both clocks count the same moment here: they differ by this.
        occupant.clock_offset_ns = occupant.since_ns.wrapping_sub(arrived_ns);
    }
    let offset_ns = occupant.clock_offset_ns;
    let on_our_clock = |scheduler_ns: u64, earliest_ns: u64| {
        if scheduler_ns == 0 || offset_ns == 0 {
            return earliest_ns;
        }
        scheduler_ns.wrapping_add(offset_ns).max(earliest_ns).min(at.now_ns)
    };
    occupant.entered_unseen_ns = if known && !seen { on_our_clock(arrived_ns, occupant.since_ns) } else { 0 };
    occupant.queued_ns = on_our_clock(entering.last_queued_ns(), 0);
    occupant.thread = entering.key();
    occupant.since_ns = at.now_ns;
}

#[btf_tracepoint(function = "sched_wakeup")]
pub(crate) fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    if let Some(at) = window::moment() {
        threads::wake(Task::new(ctx.arg(0)), at);
    }
    0
}

#[btf_tracepoint(function = "sched_wakeup_new")]
pub(crate) fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    if let Some(at) = window::moment() {
        threads::begin(Task::new(ctx.arg(0)), at);
    }
    0
}

/// A program that is executed gets an address space of its own.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    holders::note_mm(Task::new(ctx.arg(0)));
    loss::log(&ctx);
    0
}

/// Children of a traced command belong to it. Fires before the child first runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    follow_child(&ctx)
}

/// Does the same once more, in case the first was left out: see `probes::stand_in`. It changes nothing
/// if it was not.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork_second(ctx: BtfTracePointContext) -> i32 {
    follow_child(&ctx)
}

#[inline(always)]
fn follow_child(ctx: &BtfTracePointContext) -> i32 {
    if !filter::follows_children() {
        return 0;
    }
    let (parent, child) = (Task::new(ctx.arg(0)), Task::new(ctx.arg(1)));
    // A new thread belongs to its process, whatever that is.
    if child.tgid() != parent.tgid()
        && TREE.get_ptr(parent.tgid()).is_some()
        && TREE.insert(child.tgid(), role::TREE_MEMBER, u64::from(BPF_ANY)).is_err()
    {
        loss::count(LossKind::ThreadTableFull);
    }
    0
}
