//! Threads, their states and their waits.

/// Deepest kernel stack kept. NFS over ext4 over device mapper stays below 50.
pub const STACK_DEPTH: usize = 64;

/// Histogram resolution of waits: every 2^2-th bucket, so a percentile is within 3.2%.
/// Waits are many and differ by stack; RPC latencies keep the full resolution.
pub const WAIT_COARSE: u32 = 2;

/// A thread, safe against reuse of its id: thread id and the low bits of its start time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ThreadKey {
    /// Thread id (`task_struct.pid`).
    pub tid: u32,
    /// `task_struct.start_time >> 20`, about milliseconds since boot.
    pub start_ms: u32,
}
const _: () = assert!(size_of::<ThreadKey>() == 8);

/// What a thread is doing. A thread is in exactly one of these states; they index
/// [`ThreadState::time_ns`](super::ThreadState::time_ns).
pub mod state {
    /// Running on a CPU.
    pub const ON_CPU: u32 = 0;
    /// Waiting for a CPU: woken, preempted or newly made.
    pub const RUNNABLE: u32 = 1;
    /// Asleep, waiting for something other than a CPU.
    pub const BLOCKED: u32 = 2;
    /// Gone; as an index, time whose state is not known because an event was missed.
    pub const DEAD: u32 = 3;
    /// Index of the time whose state is not known.
    pub const UNSEEN: usize = DEAD as usize;
    /// Number of states.
    pub const COUNT: usize = 4;
}

/// What is known of a wait besides its stack.
pub mod wait_flags {
    /// Slept uninterruptibly (D).
    pub const UNINTERRUPTIBLE: u32 = 1;
    /// The kernel accounted it as iowait; feeds PSI io.
    pub const IOWAIT: u32 = 1 << 1;
    /// The kernel accounted it as a memory stall; feeds PSI memory.
    pub const MEMSTALL: u32 = 1 << 2;
    /// Had begun before the window; only the part inside is counted.
    pub const OPEN_AT_START: u32 = 1 << 3;
    /// Had not ended when the window closed; only the part inside is counted.
    pub const OPEN_AT_END: u32 = 1 << 4;
    /// A kernel thread's wait.
    pub const KERNEL_THREAD: u32 = 1 << 5;
    /// For a read-write semaphore, to read.
    pub const LOCK_READ: u32 = 1 << 6;
    /// For a read-write semaphore, to write.
    pub const LOCK_WRITE: u32 = 1 << 7;
    /// For a mutex.
    pub const LOCK_MUTEX: u32 = 1 << 8;
    /// For another sleeping lock: per-CPU rwsem, rtmutex.
    pub const LOCK_OTHER: u32 = 1 << 9;
    /// The lock is an mmap_lock, by its address.
    pub const MMAP_LOCK: u32 = 1 << 10;
    /// The lock is the mmap_lock of another process, by its address; [`MMAP_LOCK`] is set too.
    pub const FOREIGN_MM: u32 = 1 << 11;
    /// Any lock.
    pub const LOCK: u32 = LOCK_READ | LOCK_WRITE | LOCK_MUTEX | LOCK_OTHER;
}

/// Who has a CPU, as far as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Occupant {
    /// The thread.
    pub thread: ThreadKey,
    /// Since when (CLOCK_MONOTONIC); 0: nothing was seen on this CPU yet.
    pub since_ns: u64,
    /// What to add to a time of the scheduler's clock to get CLOCK_MONOTONIC; 0: not known yet.
    pub clock_offset_ns: u64,
    /// Of the switch that is at hand: when the leaving thread got the CPU, if that was not reported, else 0.
    pub entered_unseen_ns: u64,
    /// Likewise: when the entering thread was put on the run queue, by the scheduler's own statistics; 0: not known.
    pub queued_ns: u64,
}
const _: () = assert!(size_of::<Occupant>() == 40);

/// Time of one thread, since tracing of it began. Sums are in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadState {
    /// Process id (`task_struct.tgid`).
    pub tgid: u32,
    /// One of [`mod@state`].
    pub state: u32,
    /// When the thread entered its state (CLOCK_MONOTONIC).
    pub since_ns: u64,
    /// When tracing of this thread began: start of the window, or its birth.
    pub first_ns: u64,
    /// Length of the wait that ended and whose stack is taken when the thread runs again; 0: none.
    pub pending_wait_ns: u64,
    /// When that wait ended: the wake-up, before the thread has a CPU again.
    pub pending_end_ns: u64,
    /// [`wait_flags`] of the present or pending wait.
    pub wait_flags: u32,
    /// 1 for a kernel thread.
    pub kernel_thread: u32,
    /// The lock flags of [`wait_flags`] while the thread contends for a sleeping lock, else 0.
    pub lock_flags: u32,
    /// Explicit padding.
    pub pad: u32,
    /// Address of that lock.
    pub lock: u64,
    /// Time in each state that has been left, by [`mod@state`]. Blocked time includes short waits.
    pub time_ns: [u64; state::COUNT],
    /// The part of the blocked time in waits shorter than the threshold: no stack was taken.
    pub short_ns: u64,
    /// Number of those short waits.
    pub short_count: u64,
    /// Number of waits, short ones included.
    pub wait_count: u64,
    /// Number of times the thread got a CPU.
    pub run_count: u64,
    /// `task_struct.comm`: a name set by the program, proof of nothing.
    pub comm: [u8; 16],
    /// When the last recorded wait of the thread was over; 0: none yet.
    pub last_end_ns: u64,
    /// Hash of its stack.
    pub last_stack: u64,
    /// Its [`wait_flags`].
    pub last_flags: u32,
    /// Device of the file that the thread last had a page fault on, until a wait is recorded; 0: none.
    pub fault_device: u32,
    /// User stack of the present or pending wait: a key of the table of user stacks, or one of
    /// [`mod@user_stack`].
    pub user_stack: u64,
    /// Kernel stack of the thread that ended the pending wait; 0: none.
    pub waker_stack: u64,
    /// Process id of that thread; 0: the idle task.
    pub waker_tgid: u32,
    /// 1 if the waker's fields belong to the present or pending wait.
    pub waker_noted: u32,
    /// Name of the waker.
    pub waker_comm: [u8; 16],
    /// By [`Self::site`], in about us: what its waits may spend on walks of the user stack.
    pub walk_budget: [i32; SITES],
    /// Call site of the present wait, as an index into [`Self::walk_budget`].
    pub site: u32,
    /// Explicit padding.
    pub pad_at_end: u32,
}
const _: () = assert!(size_of::<ThreadState>() == 248);

/// Call sites that are told apart per thread, a power of two.
pub const SITES: usize = 8;

/// Values of [`ThreadState::user_stack`] that are no key. Keys are odd.
pub mod user_stack {
    /// Not taken: a kernel thread, a wait that began before the window, or not asked for.
    pub const NONE: u64 = 0;
    /// Not walked because waits at the same call site had mostly been short.
    pub const NOT_WALKED: u64 = 2;
    /// Walked, and lost: counted in the losses.
    pub const LOST: u64 = 4;
}

/// Waits are summed by thread, stacks and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct WaitKey {
    /// Who waited.
    pub thread: ThreadKey,
    /// Hash of the kernel stack (key of the stack table); 0: no stack.
    pub stack: u64,
    /// [`wait_flags`].
    pub flags: u32,
    /// Process id of the thread.
    pub tgid: u32,
    /// Key of the user stack, or one of [`mod@user_stack`].
    pub user_stack: u64,
    /// Device (`super_block.s_dev`) of the file that a page fault shortly before was on; 0: none. Tells
    /// something only of waits whose stack shows such a fault.
    pub device: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<WaitKey>() == 40);

/// Sum over the waits of one [`WaitKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WaitSum {
    /// Number of waits.
    pub count: u64,
    /// Sum of their lengths.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
}
const _: () = assert!(size_of::<WaitSum>() == 24);

/// When one wait was: what the kernel side hands over of each uninterruptible wait that is long enough, as
/// sums cannot tell which waits were at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WaitSpan {
    /// Its begin, or that of the window (CLOCK_MONOTONIC).
    pub begin_ns: u64,
    /// Its end: the wake-up, or the end of the window.
    pub end_ns: u64,
    /// Hash of the kernel stack; 0: no stack.
    pub stack: u64,
    /// Process id of the thread.
    pub tgid: u32,
    /// [`wait_flags`].
    pub flags: u32,
}
const _: () = assert!(size_of::<WaitSpan>() == 32);

/// Room that one [`WaitSpan`] takes in the ring buffer: the kernel puts 8 bytes before each
/// (`BPF_RINGBUF_HDR_SZ`, `include/uapi/linux/bpf.h`).
pub const SPAN_BYTES_IN_RING: usize = size_of::<WaitSpan>() + 8;

/// One bucket of the wait histogram of a process and stack; the value is a `u64` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct WaitBucketKey {
    /// Hash of the kernel stack; 0: no stack.
    pub stack: u64,
    /// Process id.
    pub tgid: u32,
    /// [`wait_flags`], which fit.
    pub flags: u16,
    /// [`crate::buckets::coarse_bucket_of`] with [`WAIT_COARSE`].
    pub bucket: u16,
}
const _: () = assert!(size_of::<WaitBucketKey>() == 16);

/// A kernel stack, innermost frame first. Unused frames are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct KernelStack {
    /// Return addresses.
    pub frames: [u64; STACK_DEPTH],
}
const _: () = assert!(size_of::<KernelStack>() == 8 * STACK_DEPTH);

/// Deepest user stack kept.
pub const USER_STACK_DEPTH: usize = 64;

/// A user stack, walked by frame pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct UserStack {
    /// Process id.
    pub tgid: u32,
    /// Explicit padding.
    pub pad: u32,
    /// Tells the process's address spaces apart: another one after an exec.
    pub address_space: u64,
    /// Where it waits, then return addresses, innermost first. Unused frames are 0.
    pub frames: [u64; USER_STACK_DEPTH],
}
const _: () = assert!(size_of::<UserStack>() == 16 + 8 * USER_STACK_DEPTH);

/// The ends of long waits are summed by who waited for what, and who woke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct WakeKey {
    /// Hash of the kernel stack of the wait; 0: no stack.
    pub stack: u64,
    /// Hash of the waker's kernel stack; 0: no stack.
    pub waker_stack: u64,
    /// Process id of the thread that waited.
    pub tgid: u32,
    /// [`wait_flags`] of the wait.
    pub flags: u32,
    /// Process id of the thread on whose time the wake-up came; 0: the idle task.
    pub waker_tgid: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<WakeKey>() == 32);

/// Sum over the waits of one [`WakeKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WakeSum {
    /// Number of waits.
    pub count: u64,
    /// Sum of their lengths.
    pub total_ns: u64,
    /// Name of the thread that was first to wake.
    pub comm: [u8; 16],
}
const _: () = assert!(size_of::<WakeSum>() == 32);
