//! Hooks with several programs, for events that the kernel keeps from the first one.
//!
//! Since 7.0 a task can be preempted inside a tracepoint's program (`include/linux/tracepoint.h`: SRCU
//! instead of disabled preemption). If the task that takes over comes by the same tracepoint on the
//! same CPU, the kernel leaves the program out for it (`__bpf_trace_run` in
//! `kernel/trace/bpf_trace.c`). (Turning preemption off inside the program makes
//! it worse: what was put off comes when it is turned on again, still inside.)
//!
//! So there are several programs, run one after the other. The first that is not left out does the work and leaves
//! a mark, by which the others know. Only when all are left out is an event lost, and that is known
//! exactly: by how often the kernel says that it left out the first, less how often another stood in.
//! Each has data of its own, as any of them may be preempted in the middle of changing it.

use aya_ebpf::{Global, bindings::BPF_ANY};
use nfslat_common::{loss::LossKind, rpc::marked};

use crate::{
    atomic, loss,
    maps::{MARKS, STOOD_IN},
};

/// 1 if the programs that may stand in are attached.
#[unsafe(no_mangle)]
static STAND_INS: Global<u32> = Global::new(0);

/// Says that the first program of a hook ([`marked`]) has seen this event of a task (a call's or a thread's), which
/// `event` tells from the task's other events. To be called first thing and for every event, for otherwise the next
/// program takes it for one that was left out.
#[inline(always)]
pub(super) fn mark(hook: u32, task: u64, event: u64) {
    if STAND_INS.load() != 0 && MARKS.insert(key(hook, task), event, u64::from(BPF_ANY)).is_err() {
        loss::count(LossKind::MarkTableFull);
    }
}

/// Place of a program among those of its hook, after the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Others follow.
    Between,
    /// None follows.
    Last,
}

/// True if every earlier program of the hook was left out for this event.
#[inline(always)]
pub(super) fn is_needed(hook: u32, task: u64, event: u64, place: Place) -> bool {
    let key = key(hook, task);
    // SAFETY: a pointer from a map lookup, valid for the run of the program. A mark may be of an earlier
    // event, at which the last program was left out.
    let is_marked = MARKS.get_ptr(key).is_some_and(|mark| unsafe { *mark } == event);
    if place == Place::Last {
        let _ = MARKS.remove(key);
    } else if !is_marked {
        mark(hook, task, event);
    }
    if !is_marked && let Some(count) = STOOD_IN.get_ptr_mut(hook & (marked::COUNT - 1)) {
        // SAFETY: as above. Atomic, as several programs share the count.
        unsafe { atomic::add(count, 1) };
    }
    !is_marked
}

/// Tasks are aligned to more than the number of hooks.
#[inline(always)]
fn key(hook: u32, task: u64) -> u64 {
    task | hook as u64
}
