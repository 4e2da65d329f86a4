//! The measuring window.
//!
//! Start and end are set ahead. Every interval is cut at both, so the window is exact however late user space wakes up.
//! They are set here and not in user space: a thread that loses its CPU between a look at the clock and the setting sets an
//! end that has passed, and then others have counted what comes after it.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nfslat_common::config::Control;

use crate::{maps::CONTROL, verifier};

/// A moment inside the window.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// Start of the window (CLOCK_MONOTONIC).
    pub(crate) start_ns: u64,
    /// Now, or the end of the window if that has passed.
    pub(crate) now_ns: u64,
    clock_ns: u64,
    end_ns: u64,
    snapshot_done: u32,
    locks_later: u32,
    last_pass: u32,
}

impl Moment {
    /// The same look at the window, for something that happened at another time.
    #[inline(always)]
    pub(crate) fn moved_to(self, now_ns: u64) -> Self {
        Self { now_ns, ..self }
    }

    /// True once the window has closed: only intervals that began inside still count.
    #[inline(always)]
    pub(crate) fn closed(self) -> bool {
        verifier::forget(self.clock_ns) >= self.end_ns
    }

    /// True once every thread that existed at the start is known.
    #[inline(always)]
    pub(crate) fn snapshot_done(self) -> bool {
        verifier::forget(u64::from(self.snapshot_done)) != 0
    }

    /// True while waits for locks that are open at the end have to stay so a little longer.
    #[inline(always)]
    pub(crate) fn locks_later(self) -> bool {
        self.locks_later != 0
    }

    /// True if no other pass over the threads comes after this one.
    #[inline(always)]
    pub(crate) fn last_pass(self) -> bool {
        self.last_pass != 0
    }
}

/// Now; `None` before the window opens.
#[inline(always)]
pub(crate) fn moment() -> Option<Moment> {
    let control = CONTROL.get(0)?;
    // SAFETY: the helper has no preconditions.
    let clock_ns = unsafe { bpf_ktime_get_ns() };
    if control.start_ns == 0 || clock_ns < control.start_ns {
        return None;
    }
    let end_ns = control.end_ns;
    Some(Moment {
        start_ns: control.start_ns,
        now_ns: clock_ns.min(end_ns),
        clock_ns,
        end_ns,
        snapshot_done: control.snapshot_done,
        locks_later: control.locks_later,
        last_pass: control.last_pass,
    })
}

/// Notes that this pass over the threads had to leave one for the next.
#[inline(always)]
pub(crate) fn note_left() {
    let Some(control) = CONTROL.get_ptr_mut(0) else { return };
    // SAFETY: a pointer from a map lookup; only one pass runs at a time, and nobody else writes this field meanwhile.
    unsafe { (*control).left += 1 };
}

/// How often a moment is chosen again because it had passed when it was set: an interrupt came between.
const ATTEMPTS: u32 = 3;

/// Sets the start, and the end with it, if they are not set. Run by user space through an iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn set_start(_ctx: *mut c_void) -> i32 {
    let Some(control) = CONTROL.get_ptr_mut(0) else { return 0 };
    // SAFETY: a pointer from a map lookup. Nobody else writes while this runs; volatile, as others read.
    unsafe {
        if (&raw const (*control).start_ns).read_volatile() != 0 {
            return 0;
        }
        for _ in 0..ATTEMPTS {
            let start_ns = bpf_ktime_get_ns() + Control::LEAD_NS;
            (&raw mut (*control).end_ns).write_volatile(start_ns + (*control).duration_ns);
            (&raw mut (*control).start_ns).write_volatile(start_ns);
            if bpf_ktime_get_ns() < start_ns {
                break;
            }
        }
    }
    0
}

/// Moves the end to now, unless it comes before. Run likewise, and once for each thread: what comes later moves nothing.
///
/// What an interrupt wakes between the look at the clock and the setting counts past an end that was set too early (seen: by
/// 6 ms on an emulated machine), so then it is moved on.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn set_end(_ctx: *mut c_void) -> i32 {
    let Some(control) = CONTROL.get_ptr_mut(0) else { return 0 };
    // SAFETY: as above.
    unsafe {
        let planned_ns = (&raw const (*control).end_ns).read_volatile();
        if planned_ns <= bpf_ktime_get_ns() + Control::LEAD_NS {
            return 0;
        }
        for _ in 0..ATTEMPTS {
            let end_ns = bpf_ktime_get_ns() + Control::LEAD_NS;
            (&raw mut (*control).end_ns).write_volatile(end_ns.min(planned_ns));
            if bpf_ktime_get_ns() < end_ns {
                break;
            }
        }
    }
    0
}
