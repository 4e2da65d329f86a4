//! Who ends the long waits: `sched_waking`.
//!
//! It fires in the waker's context. `sched_wakeup` does not always: a wake-up of a thread of
//! another CPU may be handed to that CPU, which then runs it in an interrupt
//! (`ttwu_queue_wakelist`, `kernel/sched/core.c`, 5.8 and later).

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, generated::bpf_get_stack},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use nfslat_common::{
    loss::LossKind,
    sched::{KernelStack, ThreadState, WakeKey, WakeSum, state},
};

use crate::{
    atomic,
    kernel::Task,
    loss,
    maps::{SCRATCH_STACK, THREADS, WAKES},
    probes::waits,
    window,
};

/// The waker is kept for waits of at least this length.
#[unsafe(no_mangle)]
static LONG_WAIT_NS: Global<u64> = Global::new(0);

/// A thread is about to be woken by the current one, or by an interrupt on its time.
#[btf_tracepoint(function = "sched_waking")]
pub(crate) fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let Some(at) = window::moment() else { return 0 };
    let Some(thread) = THREADS.get_ptr_mut(Task::new(ctx.arg(0)).key()) else { return 0 };
    // SAFETY: a pointer from a map lookup, valid for the run of the program. The waker holds the
    // lock (`pi_lock`) without which a thread that sleeps cannot be woken, and so not run either.
    let thread = unsafe { &mut *thread };
    if at.closed() || thread.state != state::BLOCKED || at.now_ns.saturating_sub(thread.since_ns) < LONG_WAIT_NS.load()
    {
        return 0;
    }
    thread.waker_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    thread.waker_comm = bpf_get_current_comm().unwrap_or_default();
    thread.waker_stack = walk_own(&ctx);
    thread.waker_noted = 1;
    0
}

/// Walks the kernel stack of the current thread, which begins with the tracer's own frames, keeps
/// it, and returns its key; 0 if there is none.
#[inline(always)]
fn walk_own(ctx: &BtfTracePointContext) -> u64 {
    // Interrupts are off here as in the scheduler's other programs.
    let Some(scratch) = SCRATCH_STACK.get_ptr_mut(waits::SCRATCH_OF_SCHEDULER) else { return 0 };
    // SAFETY: the buffer is as long as stated; the helper clears what it does not fill.
    let length = unsafe { bpf_get_stack(ctx.as_ptr(), scratch.cast(), size_of::<KernelStack>() as u32, 0) };
    // SAFETY: a pointer from a map lookup; the entry is this CPU's own.
    waits::keep(unsafe { &*scratch }, length)
}

/// Records who ended the wait that a thread has pending, if that was noted. `stack` is the wait's.
#[inline(always)]
pub(super) fn record(thread: &mut ThreadState, stack: u64, length_ns: u64) {
    if thread.waker_noted == 0 {
        return;
    }
    thread.waker_noted = 0;
    let key = WakeKey {
        stack,
        waker_stack: thread.waker_stack,
        tgid: thread.tgid,
        flags: thread.wait_flags,
        waker_tgid: thread.waker_tgid,
        pad: 0,
    };
    if WAKES.get_ptr_mut(key).is_none() {
        let fresh = WakeSum { comm: thread.waker_comm, ..WakeSum::default() };
        // A failure is a full table, or another CPU was first: the look-up tells.
        let _ = WAKES.insert(key, fresh, u64::from(BPF_NOEXIST));
    }
    let Some(sum) = WAKES.get_ptr_mut(key) else {
        loss::count(LossKind::WakeTableFull);
        return;
    };
    // SAFETY: a pointer from a map lookup; threads of one process share the entry, hence the atomics.
    unsafe {
        atomic::add(&raw mut (*sum).count, 1);
        atomic::add(&raw mut (*sum).total_ns, length_ns);
    }
}
