//! Who held the locks that threads waited for.

use crate::sched::ThreadKey;

/// How a lock was held when a wait for it began.
pub mod holder {
    /// The lock was changing hands, or this kernel does not say.
    pub const UNKNOWN: u32 = 0;
    /// A writer, or the owner of a mutex: certain.
    pub const WRITER: u32 = 1;
    /// The reader that came last, which may be gone while others still hold the lock: a hint.
    pub const READER: u32 = 2;
    /// Nobody: the next in line had been woken and had not run yet.
    pub const NOBODY: u32 = 3;
}

/// The call that a holder was in, where it is not the number of a system call.
pub mod call {
    /// Not in a system call: a page fault or another exception.
    pub const EXCEPTION: i32 = -1;
    /// Not known.
    pub const UNKNOWN: i32 = -2;
}

/// A thread's present wait for a lock; its key is the thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockWaiter {
    /// When the wait began (CLOCK_MONOTONIC).
    pub began_ns: u64,
    /// Who held the lock then.
    pub holder: ThreadKey,
    /// Its process id.
    pub holder_tgid: u32,
    /// One of [`mod@holder`].
    pub holder_kind: u32,
    /// Number of the system call it was in, or one of [`call`].
    pub holder_call: i32,
    /// Process whose mmap_lock it is; 0: not an mmap_lock.
    pub mm_tgid: u32,
    /// The holder's time on a CPU, runnable and blocked: before the wait; once it has ended, during it.
    pub holder_ns: [u64; 3],
    /// Hash of the stack of the holder's last wait during this one; 0: none.
    pub holder_stack: u64,
    /// That wait's [`crate::sched::wait_flags`].
    pub holder_flags: u32,
    /// Explicit padding.
    pub pad: u32,
    /// The holder's name.
    pub holder_comm: [u8; 16],
}
const _: () = assert!(size_of::<LockWaiter>() == 88);

/// Lock waits are summed by who waited where, and behind whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct LockKey {
    /// Process id of the waiter.
    pub tgid: u32,
    /// [`crate::sched::wait_flags`] of the wait.
    pub flags: u32,
    /// Hash of its kernel stack; 0: no stack.
    pub stack: u64,
    /// Who held the lock when the wait began.
    pub holder: ThreadKey,
    /// Its process id.
    pub holder_tgid: u32,
    /// One of [`mod@holder`].
    pub holder_kind: u32,
    /// Number of the system call it was in, or one of [`call`].
    pub holder_call: i32,
    /// Process whose mmap_lock it is; 0: not an mmap_lock.
    pub mm_tgid: u32,
    /// Hash of the stack of the holder's last wait during this one; 0: none.
    pub holder_stack: u64,
    /// That wait's [`crate::sched::wait_flags`].
    pub holder_flags: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<LockKey>() == 56);

/// Room to put a wait together in: the kernel side's stack is too small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockScratch {
    /// The present wait.
    pub waiter: LockWaiter,
    /// The key that it is summed under.
    pub key: LockKey,
    /// A sum that begins.
    pub sum: LockSum,
}

/// Sum over the waits of one [`LockKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockSum {
    /// Number of waits.
    pub count: u64,
    /// Sum of their lengths.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// What the holder did meanwhile: time on a CPU, runnable and blocked.
    pub holder_ns: [u64; 3],
    /// The holder's name.
    pub holder_comm: [u8; 16],
}
const _: () = assert!(size_of::<LockSum>() == 64);
