//! Recording a wait: its kernel stack, its sum and its histogram.
//!
//! The stack walk is the dear part. It happens only for waits that were long enough, and when the
//! thread gets its CPU back: then the length is known, and the thread's stack is still the one it
//! slept with, free of the tracer's own frames.

use aya_ebpf::{
    Global,
    bindings::{BPF_NOEXIST, task_struct},
    helpers::generated::bpf_get_task_stack,
};
use nfslat_common::{
    buckets,
    loss::LossKind,
    sched::{KernelStack, ThreadKey, ThreadState, WAIT_COARSE, WaitBucketKey, WaitKey, WaitSum, wait_flags},
};

use crate::{
    atomic,
    kernel::Task,
    loss,
    maps::{SCRATCH_STACK, STACKS, WAIT_BUCKETS, WAITS},
    probes::{holders, spans, wakers},
};

/// Waits shorter than this are summed without a stack.
#[unsafe(no_mangle)]
pub(super) static MIN_WAIT_NS: Global<u64> = Global::new(0);

/// Scratch space for stacks walked by the scheduler's programs, which run with preemption off.
pub(super) const SCRATCH_OF_SCHEDULER: u32 = 0;
/// Scratch space for stacks walked by the passes over all threads, which can be preempted by the
/// scheduler's programs on the same CPU.
pub(super) const SCRATCH_OF_SNAPSHOT: u32 = 1;

/// Records the wait that a thread has pending, if any. The thread must still have the stack it
/// waited with.
#[inline(always)]
pub(super) fn record_pending(task: Task, key: ThreadKey, thread: &mut ThreadState) {
    let length_ns = take_pending(thread);
    if length_ns == 0 {
        return;
    }
    let stack = walk(task, SCRATCH_OF_SCHEDULER).map_or(0, |(stack, length)| keep(stack, length));
    record(key, thread, length_ns, stack, SCRATCH_OF_SCHEDULER);
}

/// The same for a thread that the scheduler may give a CPU meanwhile; then its own program records the wait.
///
/// While a thread is on a CPU, and until it has left it for good, nobody else can walk its stack. Such a wait is left
/// pending, and the answer is false, unless this is the `last` time.
#[inline(always)]
pub(super) fn try_record_pending(task: Task, key: ThreadKey, thread: &mut ThreadState, last: bool) -> bool {
    if thread.pending_wait_ns == 0 {
        return true;
    }
    let Some((stack, length)) = walk(task, SCRATCH_OF_SNAPSHOT) else { return true };
    if length <= 0 && !last {
        return false;
    }
    let length_ns = take_pending(thread);
    if length_ns != 0 {
        record(key, thread, length_ns, keep(stack, length), SCRATCH_OF_SNAPSHOT);
    }
    true
}

/// The same for a thread whose stack is not that of the wait any more.
#[inline(always)]
pub(super) fn record_pending_without_stack(key: ThreadKey, thread: &mut ThreadState) {
    let length_ns = take_pending(thread);
    if length_ns != 0 {
        record(key, thread, length_ns, 0, SCRATCH_OF_SCHEDULER);
    }
}

/// Length of the wait that is pending, which is the caller's to record then; 0 if there is none.
#[inline(always)]
fn take_pending(thread: &mut ThreadState) -> u64 {
    let pending = &raw mut thread.pending_wait_ns;
    // SAFETY: a field of a map value. Volatile: after the window a program on another CPU may have taken it.
    unsafe {
        let length_ns = pending.read_volatile();
        pending.write_volatile(0);
        length_ns
    }
}

#[inline(always)]
fn record(key: ThreadKey, thread: &mut ThreadState, length_ns: u64, stack: u64, scratch: u32) {
    let wait = WaitKey {
        thread: key,
        stack,
        flags: thread.wait_flags,
        tgid: thread.tgid,
        user_stack: thread.user_stack,
        device: thread.fault_device,
        pad: 0,
    };
    thread.fault_device = 0;
    wakers::record(thread, stack, length_ns);
    add_to_sum(wait, length_ns);
    add_to_histogram(wait, length_ns);
    if thread.wait_flags & wait_flags::LOCK != 0 {
        holders::record(key, thread, stack, length_ns, scratch);
    }
    thread.last_end_ns = thread.since_ns;
    thread.last_stack = stack;
    thread.last_flags = thread.wait_flags;
    spans::hand_over(thread, stack, length_ns);
}

#[inline(always)]
fn add_to_sum(key: WaitKey, length_ns: u64) {
    if WAITS.get_ptr_mut(key).is_none() {
        // A failure is a full table; the look-up below tells.
        let _ = WAITS.insert(key, WaitSum::default(), u64::from(BPF_NOEXIST));
    }
    let Some(sum) = WAITS.get_ptr_mut(key) else {
        loss::count(LossKind::WaitTableFull);
        return;
    };
    // SAFETY: a pointer from a map lookup, valid for the run of the program. The key holds the
    // thread, whose events the scheduler serialises.
    let sum = unsafe { &mut *sum };
    sum.count += 1;
    sum.total_ns += length_ns;
    if length_ns > sum.max_ns {
        sum.max_ns = length_ns;
    }
}

#[inline(always)]
fn add_to_histogram(wait: WaitKey, length_ns: u64) {
    let key = WaitBucketKey {
        stack: wait.stack,
        tgid: wait.tgid,
        flags: wait.flags as u16,
        bucket: buckets::coarse_bucket_of(length_ns, WAIT_COARSE),
    };
    if WAIT_BUCKETS.get_ptr_mut(key).is_none() {
        let _ = WAIT_BUCKETS.insert(key, 0u64, u64::from(BPF_NOEXIST));
    }
    let Some(count) = WAIT_BUCKETS.get_ptr_mut(key) else {
        loss::count(LossKind::WaitHistogramFull);
        return;
    };
    // SAFETY: as above; threads of one process share the entry, hence the atomic.
    unsafe { atomic::add(count, 1) };
}

/// Walks the kernel stack of a thread that is not running. Returns it and how many bytes of it there are; none, or an
/// error below 0, if it cannot be walked.
#[inline(always)]
fn walk(task: Task, scratch: u32) -> Option<(&'static KernelStack, i64)> {
    let scratch = SCRATCH_STACK.get_ptr_mut(scratch)?;
    // SAFETY: the task is BTF-typed, the buffer is as long as stated; the helper clears what it
    // does not fill.
    let length = unsafe {
        bpf_get_task_stack(
            task.as_ptr().cast::<task_struct>().cast_mut(),
            scratch.cast(),
            size_of::<KernelStack>() as u32,
            0,
        )
    };
    // SAFETY: a pointer from a map lookup; the entry is this CPU's own, and the two users of the
    // map have an entry each.
    Some((unsafe { &*scratch }, length))
}

/// Keeps a stack of which `length` bytes were walked, and returns its key; 0 if there is none.
#[inline(always)]
pub(super) fn keep(stack: &KernelStack, length: i64) -> u64 {
    if length <= 0 {
        loss::count(LossKind::StackWalkFailed);
        return 0;
    }
    let key = hash(&stack.frames, HASH_SEED);
    if STACKS.get_ptr(key).is_some() {
        return key;
    }
    if length as usize == size_of::<KernelStack>() {
        loss::count(LossKind::StackTruncated);
    }
    match STACKS.insert(key, stack, u64::from(BPF_NOEXIST)) {
        Ok(()) => key,
        // Another CPU was first with the same stack.
        Err(_) if STACKS.get_ptr(key).is_some() => key,
        Err(_) => {
            loss::count(LossKind::StackTableFull);
            0
        }
    }
}

/// Where the hash of a kernel stack begins.
const HASH_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A 64-bit hash of the frames up to the first 0. Among 20,000 stacks the odds of one collision are about 1 in
/// 9 x 10^10. Always odd: even numbers stand for no stack.
#[inline(always)]
pub(super) fn hash<const DEPTH: usize>(frames: &[u64; DEPTH], seed: u64) -> u64 {
    let mut hash = seed;
    let mut index = 0;
    while index < DEPTH {
        let frame = frames[index];
        if frame == 0 {
            break;
        }
        hash = (hash ^ frame).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
        index += 1;
    }
    hash | 1
}
