//! The state machine of a thread: on a CPU, runnable, or blocked; every transition adds the time
//! spent in the state that it leaves.
//!
//! The scheduler serialises the events of one thread (run-queue lock, `p->on_cpu`), so its entry
//! is never written by two CPUs at once and needs no atomics.

use aya_ebpf::{EbpfContext, bindings::BPF_NOEXIST};
use nfslat_common::{
    loss::LossKind,
    sched::{Occupant, ThreadKey, ThreadState, state, wait_flags},
};

use crate::{
    filter,
    kernel::Task,
    loss,
    maps::{SCRATCH_THREAD, THREADS},
    probes::{holders, lock_functions, user_stacks, waits},
    verifier,
    window::Moment,
};

/// The scheduler's state of a thread that has exited (`TASK_DEAD`, `include/linux/sched.h`,
/// same in 5.10 to 7.x).
pub(super) const TASK_DEAD: u32 = 0x80;
/// `TASK_UNINTERRUPTIBLE`, likewise.
const TASK_UNINTERRUPTIBLE: u32 = 2;
/// `TASK_NOLOAD`: sleeps uninterruptibly but is idle, and so shown as I, not D.
const TASK_NOLOAD: u32 = 0x400;

/// How a thread leaves its CPU.
#[derive(Clone, Copy)]
pub(super) struct Departure {
    /// Preempted: stays runnable whatever its state says.
    pub(super) preempted: bool,
    /// The scheduler's state of the thread.
    pub(super) scheduler_state: u32,
}

/// A thread leaves the CPU of `occupant`. It is still the current thread of `ctx`.
#[inline(always)]
pub(super) fn leave_cpu(ctx: &impl EbpfContext, task: Task, how: Departure, occupant: &Occupant, at: Moment) {
    let key = task.key();
    let Some(thread) = find_or_add(task, key, state::ON_CPU, at) else { return };
    // SAFETY: a pointer from a map lookup, valid for the run of the program; see module docs.
    let thread = unsafe { &mut *thread };
    if occupant.entered_unseen_ns != 0 {
        enter_in_hindsight(key, thread, occupant.entered_unseen_ns);
    }
    add_elapsed(thread, state::ON_CPU, at);
    thread.state = if how.preempted || how.scheduler_state == 0 {
        state::RUNNABLE
    } else if how.scheduler_state & TASK_DEAD != 0 {
        state::DEAD
    } else {
        lock_functions::check(ctx, thread);
        let of_lock = thread.lock_flags | holders::note_wait(key, thread, at);
        thread.wait_flags = wait_flags_of(task, how.scheduler_state) | of_lock;
        state::BLOCKED
    };
    thread.comm = task.comm();
    thread.tgid = task.tgid();
    if thread.state == state::BLOCKED && !at.closed() {
        thread.waker_noted = 0;
        user_stacks::take(ctx, task, thread);
    }
}

/// Makes up for a switch that went unreported: the thread has had the CPU since the given moment.
/// What it waited for is not known any more: its stack has moved on.
#[inline(always)]
fn enter_in_hindsight(key: ThreadKey, thread: &mut ThreadState, entered_ns: u64) {
    loss::count(LossKind::UnseenSwitch);
    if entered_ns > thread.since_ns {
        // Noted as on a CPU all the while, it must have left one unreported too.
        let index = if thread.state == state::ON_CPU { state::UNSEEN } else { thread.state as usize };
        thread.time_ns[index & (state::COUNT - 1)] += entered_ns - thread.since_ns;
        thread.since_ns = entered_ns;
    }
    thread.state = state::ON_CPU;
    waits::record_pending_without_stack(key, thread);
}

/// A thread gets the CPU of `occupant`.
#[inline(always)]
pub(super) fn enter_cpu(task: Task, occupant: &Occupant, at: Moment) {
    let key = task.key();
    let Some(thread) = find_or_add(task, key, state::RUNNABLE, at) else { return };
    // SAFETY: as in `leave_cpu`.
    let thread = unsafe { &mut *thread };
    if thread.state == state::BLOCKED {
        loss::count(LossKind::MissedWakeup);
        let queued_ns = if occupant.queued_ns == 0 { at.now_ns } else { occupant.queued_ns };
        let woken_ns = queued_ns.max(thread.since_ns).min(at.now_ns);
        end_wait(key, thread, at.moved_to(woken_ns));
        thread.state = state::RUNNABLE;
    }
    add_elapsed(thread, state::RUNNABLE, at);
    thread.state = state::ON_CPU;
    if !at.closed() {
        thread.run_count += 1;
    }
    waits::record_pending(task, key, thread);
}

/// A thread is woken.
#[inline(always)]
pub(super) fn wake(task: Task, at: Moment) {
    let key = task.key();
    let Some(thread) = find_or_add(task, key, state::BLOCKED, at) else { return };
    // SAFETY: as in `leave_cpu`.
    let thread = unsafe { &mut *thread };
    if thread.state != state::BLOCKED {
        return;
    }
    end_wait(key, thread, at);
    thread.state = state::RUNNABLE;
}

/// A new thread becomes runnable for the first time.
#[inline(always)]
pub(super) fn begin(task: Task, at: Moment) {
    holders::note_new_process(task);
    if at.closed() || !filter::selects(task) {
        return;
    }
    add(task, task.key(), state::RUNNABLE, at.now_ns, waits::SCRATCH_OF_SCHEDULER);
}

/// Ends the present wait of a blocked thread at this moment: adds it to the sums and, if it was
/// long enough to matter, leaves it pending until its stack can be walked.
#[inline(always)]
pub(super) fn end_wait(key: ThreadKey, thread: &mut ThreadState, at: Moment) {
    let length_ns = at.now_ns.saturating_sub(thread.since_ns);
    thread.since_ns = at.now_ns;
    if length_ns == 0 {
        return;
    }
    thread.time_ns[state::BLOCKED as usize] += length_ns;
    thread.wait_count += 1;
    if at.closed() {
        thread.wait_flags |= wait_flags::OPEN_AT_END;
    }
    let is_short = length_ns < waits::MIN_WAIT_NS.load();
    if is_short {
        thread.short_ns += length_ns;
        thread.short_count += 1;
    } else {
        thread.pending_wait_ns = length_ns;
        thread.pending_end_ns = at.now_ns;
        user_stacks::earn(thread, length_ns);
    }
    if thread.wait_flags & wait_flags::LOCK != 0 {
        if is_short {
            holders::forget(key);
        } else {
            holders::note_release(key, length_ns, at);
        }
    }
}

/// A thread noted as on a CPU is not on one: its departure went unreported, and what it has done
/// since it was last seen is not known.
#[inline(always)]
pub(super) fn forget_departure(thread: &mut ThreadState, at: Moment) {
    let unknown_ns = at.now_ns.saturating_sub(thread.since_ns);
    // 0: it left after the window had closed, which changes nothing.
    if unknown_ns == 0 {
        return;
    }
    thread.time_ns[state::UNSEEN] += unknown_ns;
    thread.since_ns = at.now_ns;
    loss::count(LossKind::StateMismatch);
}

/// Adds the entry of a thread whose state since the start of the window is known.
#[inline(always)]
pub(super) fn add(task: Task, key: ThreadKey, state: u32, since_ns: u64, scratch: u32) -> Option<*mut ThreadState> {
    let fresh = SCRATCH_THREAD.get_ptr_mut(scratch)?;
    // SAFETY: a pointer from a map lookup; the entry is this CPU's and this kind of program's own.
    let fresh = unsafe { &mut *fresh };
    // SAFETY: zeros are its default.
    unsafe { verifier::zero(fresh) };
    fresh.tgid = task.tgid();
    fresh.state = state;
    fresh.since_ns = since_ns;
    fresh.first_ns = since_ns;
    fresh.kernel_thread = u32::from(task.is_kernel_thread());
    fresh.comm = task.comm();
    // A failure is a full table, or another CPU was first: the look-up tells.
    let _ = THREADS.insert(key, &*fresh, u64::from(BPF_NOEXIST));
    let thread = THREADS.get_ptr_mut(key);
    if thread.is_none() {
        loss::count(LossKind::ThreadTableFull);
    }
    thread
}

/// The entry of a thread, made if the filter selects it. `assumed` is the state it must have been
/// in, since it was not seen before.
#[inline(always)]
fn find_or_add(task: Task, key: ThreadKey, assumed: u32, at: Moment) -> Option<*mut ThreadState> {
    if let Some(thread) = THREADS.get_ptr_mut(key) {
        return Some(thread);
    }
    if key.tid == 0 || at.closed() || !filter::selects(task) {
        return None;
    }
    let born_ns = task.start_time_ns();
    // Before the snapshot a thread that was not seen has not moved since the start. After it,
    // a thread that was not seen has just begun to match the filter.
    let since_ns = if at.snapshot_done() {
        at.now_ns
    } else if born_ns > at.start_ns {
        born_ns
    } else {
        at.start_ns
    };
    let thread = add(task, key, assumed, since_ns, waits::SCRATCH_OF_SCHEDULER)?;
    if assumed == state::BLOCKED && !at.snapshot_done() {
        // SAFETY: as in `leave_cpu`.
        let thread = unsafe { &mut *thread };
        thread.wait_flags = wait_flags_of(task, task.scheduler_state()) | wait_flags::OPEN_AT_START;
    }
    Some(thread)
}

/// Adds the time since the last transition to the state that the thread is leaving.
#[inline(always)]
fn add_elapsed(thread: &mut ThreadState, expected: u32, at: Moment) {
    let elapsed_ns = at.now_ns.saturating_sub(thread.since_ns);
    thread.since_ns = at.now_ns;
    if thread.state != expected && !at.closed() {
        loss::count(LossKind::StateMismatch);
    }
    let index = if thread.state == expected { expected as usize } else { state::UNSEEN };
    // The mask changes nothing, but the verifier must see that the index is in bounds.
    thread.time_ns[index & (state::COUNT - 1)] += elapsed_ns;
}

/// What is known of the wait of a thread that is about to block, or is blocked.
#[inline(always)]
pub(super) fn wait_flags_of(task: Task, scheduler_state: u32) -> u32 {
    let mut flags = 0;
    if scheduler_state & TASK_UNINTERRUPTIBLE != 0 && scheduler_state & TASK_NOLOAD == 0 {
        flags |= wait_flags::UNINTERRUPTIBLE;
    }
    let psi = task.psi_flags();
    if psi & 1 != 0 {
        flags |= wait_flags::IOWAIT;
    }
    if psi & 2 != 0 {
        flags |= wait_flags::MEMSTALL;
    }
    if task.is_kernel_thread() {
        flags |= wait_flags::KERNEL_THREAD;
    }
    flags
}
