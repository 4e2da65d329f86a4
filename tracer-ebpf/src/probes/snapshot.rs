//! Passes over all threads of the system, run by user space through BPF iterators: one after the
//! window opens, and some after it closes. They make waits count that were open at the start or
//! are still open at the end.

use core::ffi::c_void;
use nfslat_common::sched::{state, wait_flags};

use crate::{
    filter,
    kernel::Task,
    maps::THREADS,
    probes::{holders, threads, waits},
    window,
};

/// Context of a task iterator (`struct bpf_iter__task`, `kernel/bpf/task_iter.c`).
#[repr(C)]
struct IterTask {
    _meta: *const c_void,
    task: *const u8,
}

/// The thread of this step; none on the last one.
#[inline(always)]
fn task_of(ctx: *const IterTask) -> Option<Task> {
    // SAFETY: the kernel passes a context of this type to programs in section iter/task.
    let task = unsafe { (*ctx).task };
    (!task.is_null()).then(|| Task::new(task))
}

/// After the window opened: notes every thread that no event has noted yet. Such a thread has not
/// moved since the start.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn open_window(ctx: *mut IterTask) -> i32 {
    let (Some(task), Some(at)) = (task_of(ctx), window::moment()) else { return 0 };
    let key = task.key();
    if key.tid == task.tgid() {
        holders::note_mm(task);
        holders::note_registers(task);
    }
    if key.tid == 0 || THREADS.get_ptr(key).is_some() || !filter::selects(task) {
        return 0;
    }
    let scheduler_state = task.scheduler_state();
    // It has exited, and stays in the list until its parent asks how it ended.
    if scheduler_state & threads::TASK_DEAD != 0 {
        return 0;
    }
    let now_in = if task.on_cpu() {
        state::ON_CPU
    } else if scheduler_state == 0 {
        state::RUNNABLE
    } else {
        state::BLOCKED
    };
    let since_ns = at.start_ns.max(task.start_time_ns());
    let Some(thread) = threads::add(task, key, now_in, since_ns, waits::SCRATCH_OF_SNAPSHOT) else { return 0 };
    // SAFETY: a pointer from a map lookup, valid for the run of the program.
    let thread = unsafe { &mut *thread };
    // An event on another CPU may have been first; then it knew better.
    if thread.state == state::BLOCKED && thread.since_ns == since_ns {
        thread.wait_flags = threads::wait_flags_of(task, scheduler_state) | wait_flags::OPEN_AT_START;
    }
    0
}

/// After the window closed: ends every wait that is still open, with the stack it has now, and
/// records waits that ended but whose threads have not run since.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn close_window(ctx: *mut IterTask) -> i32 {
    let (Some(task), Some(at)) = (task_of(ctx), window::moment()) else { return 0 };
    let key = task.key();
    let Some(thread) = THREADS.get_ptr_mut(key) else { return 0 };
    // SAFETY: a pointer from a map lookup. After the end of the window the scheduler's programs
    // change only entries whose last transition lies before the end, once each.
    let thread = unsafe { &mut *thread };
    if at.locks_later() && thread.wait_flags & wait_flags::LOCK != 0 {
        return 0;
    }
    if at.closed() && thread.state == state::BLOCKED {
        threads::end_wait(key, thread, at);
    }
    if at.closed() && thread.state == state::ON_CPU && !task.on_cpu() {
        threads::forget_departure(thread, at);
    }
    if !waits::try_record_pending(task, key, thread, at.last_pass()) {
        window::note_left();
    }
    0
}
