//! Hooks with a second program, for events that the kernel keeps from the first one.
//!
//! Since 7.0 a task can be preempted inside a tracepoint's program (`include/linux/tracepoint.h`: SRCU
//! instead of disabled preemption). If the task that takes over comes by the same tracepoint on the
//! same CPU, the kernel leaves the program out for it (`__bpf_trace_run` in
//! `kernel/trace/bpf_trace.c`). (Turning preemption off inside the program makes
//! it worse: what was put off comes when it is turned on again, still inside.)
//!
//! So there are two programs, run one after the other: the first leaves a mark, and the second does the work if it finds none. Only when both are left out is an event
//! lost, and that is known exactly: by how often the kernel says that it left out the first, less
//! how often the second stood in.

use aya_ebpf::{Global, bindings::BPF_ANY};
use nfslat_common::{loss::LossKind, rpc::second};

use crate::{
    loss,
    maps::{MARKS, STOOD_IN},
};

/// 1 if the second programs are attached.
#[unsafe(no_mangle)]
static SECOND_PROGRAMS: Global<u32> = Global::new(0);

/// Says that the first program of a hook (`second`) has seen this event of a call, which is told from other
/// calls by its beginning. To be called first thing and for every event, for otherwise the second
/// program takes it for one that was left out.
#[inline(always)]
pub(super) fn mark(hook: u32, task: u64, began_ns: u64) {
    if SECOND_PROGRAMS.load() != 0 {
        if MARKS.insert(key(hook, task), began_ns, u64::from(BPF_ANY)).is_err() {
            loss::count(LossKind::MarkTableFull);
        }
    }
}

/// True if the first program was left out for this event. For the second program.
#[inline(always)]
pub(super) fn was_left_out(hook: u32, task: u64, began_ns: u64) -> bool {
    let key = key(hook, task);
    if let Some(mark) = MARKS.get_ptr(key) {
        // SAFETY: a pointer from a map lookup, valid for the run of the program.
        let is_of_this_call = unsafe { *mark } == began_ns;
        let _ = MARKS.remove(key);
        if is_of_this_call {
            return false;
        }
        // Of an earlier call, at whose event the second program was left out.
    }
    if let Some(count) = STOOD_IN.get_ptr_mut(hook & (second::COUNT - 1)) {
        // SAFETY: a pointer from a map lookup, valid for the run of the program. The entry is this
        // CPU's and this hook's own, and a program does not run inside itself.
        unsafe { *count += 1 };
    }
    true
}

/// Tasks are aligned to more than the number of hooks.
#[inline(always)]
fn key(hook: u32, task: u64) -> u64 {
    task | hook as u64
}
