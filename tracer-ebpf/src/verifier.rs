//! Keeping the verifier's work small.
//!
//! The kernel's verifier follows every path through a program until it meets one that it has seen. What differs
//! between two paths and is looked at later keeps them apart: a yes or no that is found out once, kept, and asked for
//! again doubles all the paths in between. So such things are found out again where they are needed, or kept in maps,
//! whose content the verifier does not follow. `sched_switch` came to 560,000 instructions (of the 1,000,000 that a
//! kernel takes) and more than a second of start-up without this.

use core::{arch::asm, ptr};

/// The same number, without what the compiler and the verifier know of it.
#[inline(always)]
pub(crate) fn forget(number: u64) -> u64 {
    let mut number = number;
    // SAFETY: adds 0 to a register.
    unsafe { asm!("{0} += 0", inout(reg) number, options(nomem, nostack)) };
    number
}

/// Sets a value in a map to zeros, word by word: the compiler's own way is byte by byte.
///
/// # Safety
/// All zeros must be a valid `T`; its size must be a multiple of 8, and it must be aligned to 8.
#[inline(always)]
pub(crate) unsafe fn zero<T>(value: &mut T) {
    const { assert!(size_of::<T>() % 8 == 0 && align_of::<T>() == 8) };
    let words = ptr::from_mut(value).cast::<u64>();
    let mut index = 0;
    while index < size_of::<T>() / 8 {
        // SAFETY: inside the value. Volatile, or the compiler makes it a call for bytes again.
        unsafe { words.add(index).write_volatile(0) };
        index += 1;
    }
}
