//! Sleeping locks: `lock:contention_begin` and `lock:contention_end` (5.19 and later; before, see
//! `probes::lock_functions`).
//!
//! They mark the thread for as long as it contends, so that a wait in between is known to be for
//! that lock. A lock is an mmap_lock because its address is one, never because of a name: the
//! stack that a sleeping thread shows has no lock functions in it.

use aya_ebpf::{helpers::generated::bpf_get_current_task_btf, macros::btf_tracepoint, programs::BtfTracePointContext};
use nfslat_common::{loss::LossKind, sched::wait_flags};

use crate::{kernel::Task, loss, maps::THREADS, window};

// Flags of contention_begin (`LCB_F_*`, `include/trace/events/lock.h`, 5.19 to 7.x).
const SPIN: u32 = 1;
const WRITE: u32 = 1 << 2;
const RT: u32 = 1 << 3;
const PERCPU: u32 = 1 << 4;
const MUTEX: u32 = 1 << 5;

/// A thread begins to contend for a lock. For a lock that spins first, a second event follows
/// when it gives up spinning. The writer's event of an rwsem comes with interrupts off.
#[btf_tracepoint(function = "contention_begin")]
pub(crate) fn contention_begin(ctx: BtfTracePointContext) -> i32 {
    begin(&ctx, true)
}

/// Does the same once more, in case the first was left out: see `probes::stand_in`. It changes nothing
/// if it was not.
#[btf_tracepoint(function = "contention_begin")]
pub(crate) fn contention_begin_second(ctx: BtfTracePointContext) -> i32 {
    begin(&ctx, false)
}

#[inline(always)]
fn begin(ctx: &BtfTracePointContext, first: bool) -> i32 {
    let flags: u32 = ctx.arg(1);
    // Most events are spinlocks (no flag, which semaphores share), which nobody sleeps on: out
    // first.
    if flags & SPIN != 0 || flags == 0 || window::moment().is_none() {
        return 0;
    }
    let Some(task) = current() else { return 0 };
    let Some(thread) = THREADS.get_ptr_mut(task.key()) else { return 0 };
    let mut kind = if flags & (PERCPU | RT) != 0 {
        wait_flags::LOCK_OTHER
    } else if flags & MUTEX != 0 {
        wait_flags::LOCK_MUTEX
    } else if flags & WRITE != 0 {
        wait_flags::LOCK_WRITE
    } else {
        wait_flags::LOCK_READ
    };
    let lock: u64 = ctx.arg(0);
    if lock == task.mmap_lock() {
        kind |= wait_flags::MMAP_LOCK;
    }
    // SAFETY: a pointer from a map lookup; the fields are the thread's own business, in its context.
    let thread = unsafe { &mut *thread };
    // Waits for sleeping locks do not nest. A mutex may begin several times for one wait, an rwsem
    // does not.
    let once = kind & (wait_flags::LOCK_READ | wait_flags::LOCK_WRITE) != 0;
    if first && thread.lock_flags != 0 && (thread.lock != lock || once) {
        loss::count(LossKind::StaleLock);
    }
    thread.lock_flags = kind;
    thread.lock = lock;
    0
}

/// A thread has got the lock, or given up.
#[btf_tracepoint(function = "contention_end")]
pub(crate) fn contention_end(ctx: BtfTracePointContext) -> i32 {
    end(&ctx)
}

/// As `contention_begin_second`.
#[btf_tracepoint(function = "contention_end")]
pub(crate) fn contention_end_second(ctx: BtfTracePointContext) -> i32 {
    end(&ctx)
}

#[inline(always)]
fn end(ctx: &BtfTracePointContext) -> i32 {
    if window::moment().is_none() {
        return 0;
    }
    let Some(task) = current() else { return 0 };
    if let Some(thread) = THREADS.get_ptr_mut(task.key()) {
        // Another lock's end, such as that of a spinlock inside this one's slow path, is not ours.
        // SAFETY: as above.
        unsafe {
            if (*thread).lock_flags != 0 && (*thread).lock == ctx.arg::<u64>(0) {
                (*thread).lock_flags = 0;
            }
        }
    }
    0
}

/// The thread on whose time this runs (a helper of kernels from 5.11 on).
#[inline(always)]
fn current() -> Option<Task> {
    // SAFETY: the helper has no preconditions, and gives a task that the verifier knows as one.
    let task = unsafe { bpf_get_current_task_btf() };
    (!task.is_null()).then(|| Task::new(task.cast_const().cast()))
}
