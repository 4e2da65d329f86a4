//! Sleeping locks on kernels without `lock:contention_begin` (before 5.19): kprobes on the functions that wait.
//!
//! Their first argument is the lock (`rwsem_down_read_slowpath` and `rwsem_down_write_slowpath` in
//! `kernel/locking/rwsem.c`, `__mutex_lock` in `kernel/locking/mutex.c`, 5.10 to 5.18).
//!
//! Nothing is attached to their return. A kretprobe keeps room for as many sleepers as there are CPUs
//! (`register_kretprobe` in `kernel/kprobes.c`, without CONFIG_PREEMPTION): on 5.10 with 2 CPUs it missed half of the
//! returns of 5 threads. And the stack of a wait ends where the kretprobe sits on it, so that its caller is lost. So
//! the mark outlives the wait, and is checked where it would count: a thread that leaves its CPU waits for the lock
//! if the function is in its stack, and else has the lock, or has given up.
//!
//! What no check sees: a function's beginning that the kernel keeps from its probe, which it does not count for
//! these. Then the wait is told by its stack, or, if the thread's last mark is of the same function, is taken for
//! one for that lock.

use aya_ebpf::{
    EbpfContext, Global,
    helpers::generated::{bpf_get_current_task, bpf_get_stack},
    macros::kprobe,
    programs::ProbeContext,
};
use nfslat_common::{
    loss::LossKind,
    sched::{ThreadState, wait_flags},
};

use crate::{
    kernel, loss,
    maps::{SCRATCH_STACK, THREADS},
    probes::waits,
    window,
};

/// 1 if lock waits are known from these probes; 0: from the kernel's events, or not at all.
#[unsafe(no_mangle)]
static LOCKS_BY_FUNCTION: Global<u32> = Global::new(0);
/// Address and length of each function; a length of 0 stands for one that the kernel does not have.
#[unsafe(no_mangle)]
static LOCK_READ_START: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static LOCK_READ_LENGTH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static LOCK_WRITE_START: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static LOCK_WRITE_LENGTH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static LOCK_MUTEX_START: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static LOCK_MUTEX_LENGTH: Global<u64> = Global::new(0);

/// How deep the function is looked for. Before it come the tracer's own frames, those of the tracepoint and two or
/// three of the scheduler.
const DEPTH: usize = 16;

/// A thread begins to contend for an rwsem, to read.
#[kprobe]
pub(crate) fn rwsem_down_read_slowpath(ctx: ProbeContext) -> u32 {
    begin(&ctx, wait_flags::LOCK_READ)
}

/// The same, to write.
#[kprobe]
pub(crate) fn rwsem_down_write_slowpath(ctx: ProbeContext) -> u32 {
    begin(&ctx, wait_flags::LOCK_WRITE)
}

/// A thread begins to contend for a mutex.
#[kprobe]
pub(crate) fn mutex_lock(ctx: ProbeContext) -> u32 {
    begin(&ctx, wait_flags::LOCK_MUTEX)
}

/// Marks the current thread, as `locks::contention_begin` does.
#[inline(always)]
fn begin(ctx: &ProbeContext, kind: u32) -> u32 {
    let Some(lock) = ctx.arg::<u64>(0) else { return 0 };
    if window::moment().is_none() {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let Some(key) = kernel::key_at(task) else { return 0 };
    let Some(thread) = THREADS.get_ptr_mut(key) else { return 0 };
    let is_own_mm = kernel::mmap_lock_at(task) == lock;
    // SAFETY: a pointer from a map lookup; the fields are the thread's own business, in its context.
    let thread = unsafe { &mut *thread };
    thread.lock_flags = if is_own_mm { kind | wait_flags::MMAP_LOCK } else { kind };
    thread.lock = lock;
    0
}

/// Takes away the mark of a thread that is about to wait, but not in the function that marked it. The thread must
/// be the current one of `ctx`.
#[inline(always)]
pub(super) fn check(ctx: &impl EbpfContext, thread: &mut ThreadState) {
    if LOCKS_BY_FUNCTION.load() == 0 || thread.lock_flags == 0 {
        return;
    }
    let (start, length) = if thread.lock_flags & wait_flags::LOCK_READ != 0 {
        (LOCK_READ_START.load(), LOCK_READ_LENGTH.load())
    } else if thread.lock_flags & wait_flags::LOCK_WRITE != 0 {
        (LOCK_WRITE_START.load(), LOCK_WRITE_LENGTH.load())
    } else {
        (LOCK_MUTEX_START.load(), LOCK_MUTEX_LENGTH.load())
    };
    if !is_in_function(ctx, start, length) {
        thread.lock_flags = 0;
    }
}

/// True if a function is in the kernel stack of the current thread. The walk is that of `perf`, which, unlike the
/// one for other threads, leaves out no functions.
#[inline(always)]
fn is_in_function(ctx: &impl EbpfContext, start: u64, length: u64) -> bool {
    let Some(scratch) = SCRATCH_STACK.get_ptr_mut(waits::SCRATCH_OF_SCHEDULER) else { return false };
    // SAFETY: a pointer from a map lookup; the entry is this CPU's own, interrupts are off, and no stack is in it
    // now.
    let frames = unsafe { &mut (*scratch).frames };
    // SAFETY: the buffer is longer than stated; the helper clears what it does not fill.
    let walked = unsafe { bpf_get_stack(ctx.as_ptr(), frames.as_mut_ptr().cast(), (8 * DEPTH) as u32, 0) };
    if walked <= 0 {
        loss::count(LossKind::LockCheckFailed);
        return false;
    }
    let mut index = 0;
    while index < DEPTH {
        if frames[index].wrapping_sub(start) < length {
            return true;
        }
        index += 1;
    }
    false
}
