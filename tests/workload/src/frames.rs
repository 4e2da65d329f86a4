//! Calls with frame pointers, whatever the rest is built with: user stacks that are known.
//!
//! The standard library comes built without frame pointers, so the functions are written out.

use std::arch::global_asm;

global_asm!(
    // Arguments of each: three for the system call, the turns to take, how many, and its number.
    ".macro known_function name, callee",
    ".globl \\name",
    ".type \\name, @function",
    "\\name: push rbp",
    "mov rbp, rsp",
    "call \\callee",
    "pop rbp",
    "ret",
    ".size \\name, . - \\name",
    ".endm",
    "known_function w_outer, w_middle",
    "known_function w_middle, w_inner",
    "known_function w_left, w_turn",
    "known_function w_right, w_turn",
    // Takes the next turn; it leaves no frame of its own.
    ".type w_turn, @function",
    "w_turn: test r8, r8",
    "jz w_inner",
    "dec r8",
    "shr rcx, 1",
    "jc w_right",
    "jmp w_left",
    ".size w_turn, . - w_turn",
    ".globl w_inner",
    ".type w_inner, @function",
    "w_inner: push rbp",
    "mov rbp, rsp",
    "mov rax, r9",
    "syscall",
    "pop rbp",
    "ret",
    ".size w_inner, . - w_inner",
    ".purgem known_function",
);

unsafe extern "C" {
    fn w_outer(a: usize, b: usize, c: usize, turns: usize, depth: usize, number: libc::c_long) -> isize;
    fn w_left(a: usize, b: usize, c: usize, turns: usize, depth: usize, number: libc::c_long) -> isize;
}

/// Reads one byte, through `w_outer`, `w_middle` and `w_inner`. Returns what `read(2)` does, with the
/// error as a negative number.
pub fn read_byte(fd: libc::c_int) -> isize {
    let mut byte = 0_u8;
    // SAFETY: as a C function, it keeps the registers that it must; the system call writes one byte at
    // most, which is there.
    unsafe { w_outer(fd as usize, &raw mut byte as usize, 1, 0, 0, libc::SYS_read) }
}

/// Sleeps after taking `depth` turns, each to `w_left` or `w_right` by a bit of `turns`: so many user
/// stacks can be had.
pub fn sleep_after_turns(nanoseconds: u32, turns: usize, depth: usize) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds.into() };
    // SAFETY: as above; the time is valid, and no remainder is asked for.
    unsafe { w_left(&raw const time as usize, 0, 0, turns, depth, libc::SYS_nanosleep) };
}
