//! Atomic addition to a map value that CPUs share.
//!
//! `core`'s atomics have no read-modify-write operations for this target, so it is one
//! instruction by hand: `BPF_ATOMIC | BPF_ADD` without fetch, which every kernel with BPF has.

use core::arch::asm;

/// Adds to a counter, atomically.
///
/// # Safety
/// `counter` must be valid for writes and aligned to 8, as pointers from map look-ups are.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, value: u64) {
    // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {value}", counter = in(reg) counter, value = in(reg) value, options(nostack));
    }
}
