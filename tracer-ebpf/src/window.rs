//! The measuring window.
//!
//! User space sets start and end once, before the start. Every interval is cut at both, so the
//! window is exact however late user space wakes up.

use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::maps::CONTROL;

/// A moment inside the window.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// Start of the window (CLOCK_MONOTONIC).
    pub(crate) start_ns: u64,
    /// Now, or the end of the window if that has passed.
    pub(crate) now_ns: u64,
    /// True once the window has closed: only intervals that began inside still count.
    pub(crate) closed: bool,
    /// True once every thread that existed at the start is known.
    pub(crate) snapshot_done: bool,
    /// True while waits for locks that are open at the end have to stay so a little longer.
    pub(crate) locks_later: bool,
}

/// Now; `None` before the window opens.
#[inline(always)]
pub(crate) fn moment() -> Option<Moment> {
    let control = CONTROL.get(0)?;
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if control.start_ns == 0 || now_ns < control.start_ns {
        return None;
    }
    let closed = now_ns >= control.end_ns;
    Some(Moment {
        start_ns: control.start_ns,
        now_ns: if closed { control.end_ns } else { now_ns },
        closed,
        snapshot_done: control.snapshot_done != 0,
        locks_later: control.locks_later != 0,
    })
}
