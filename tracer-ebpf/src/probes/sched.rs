//! The scheduler: `sched_switch`, `sched_wakeup`, `sched_wakeup_new`, `sched_process_fork`.
//!
//! `sched_wakeup` fires when the thread is put on its run queue, where the kernel's own
//! `schedstat` also begins to count its waiting for a CPU.

use aya_ebpf::{Global, bindings::BPF_ANY, macros::btf_tracepoint, programs::BtfTracePointContext};
use nfslat_common::{config::filter as role, loss::LossKind};

use crate::{
    filter,
    kernel::Task,
    loss,
    maps::TREE,
    probes::threads::{self, Departure},
    window,
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
    let scheduler_state = if SWITCH_HAS_STATE.load() != 0 {
        ctx.arg::<u32>(3)
    } else {
        leaving.scheduler_state()
    };
    // `preempt` is a bool: only its low byte is defined.
    let how = Departure { preempted: preempted & 0xff != 0, scheduler_state };
    if leaving.tid() != 0 {
        threads::leave_cpu(leaving, how, at);
    }
    if entering.tid() != 0 {
        threads::enter_cpu(entering, at);
    }
    0
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

/// Children of a traced command belong to it. Fires before the child first runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
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
