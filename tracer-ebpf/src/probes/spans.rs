//! When long waits were: handed to user space one by one.
//!
//! The share of the window in which at least one thread waited for something cannot be had from sums, and what a
//! wait was for is known to user space only, by its stack. So this is the one thing that streams. It is kept
//! to waits that can be for storage or for the lock of a memory map, which nearly all sleep uninterruptibly, and
//! to those that are long enough.

use aya_ebpf::{Global, bindings::BPF_RB_NO_WAKEUP};
use nfslat_common::{
    loss::LossKind,
    sched::{ThreadState, WaitSpan, wait_flags},
};

use crate::{loss, maps::SPANS, verifier};

/// Shorter waits are not handed over.
#[unsafe(no_mangle)]
static SPAN_MIN_NS: Global<u64> = Global::new(0);

/// Hands over the wait of a thread that has just been recorded.
#[inline(always)]
pub(super) fn hand_over(thread: &ThreadState, stack: u64, length_ns: u64) {
    if thread.wait_flags & wait_flags::UNINTERRUPTIBLE == 0 || verifier::forget(length_ns) < SPAN_MIN_NS.load() {
        return;
    }
    let end_ns = thread.pending_end_ns;
    let span = WaitSpan {
        begin_ns: end_ns.wrapping_sub(length_ns),
        end_ns,
        stack,
        tgid: thread.tgid,
        flags: thread.wait_flags,
    };
    // User space looks by itself. A wake-up from here would come with the run queue locked.
    if SPANS.output::<WaitSpan>(&span, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        loss::count(LossKind::WaitSpanLost);
    }
}
