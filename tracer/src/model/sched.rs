//! Processes, threads, stacks and waits.

use serde::{Deserialize, Serialize};

use super::{Histogram, Identity};

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread; a name set by the program, proof of nothing.
    pub comm: String,
    /// Path of its executable; empty for kernel threads and where it could not be read.
    pub exe: String,
    /// cgroup v2 path; empty if not known.
    pub cgroup: String,
    /// True for a kernel thread.
    pub kernel: bool,
    /// Who it really is; `None` for kernel threads and for all but the most stalled.
    pub identity: Option<Identity>,
}

/// Time of a thread by state. While a thread is traced
/// `on_cpu + runnable + blocked` is the time that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTimes {
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time waiting for a CPU.
    pub runnable_ns: u64,
    /// Time blocked, short waits included.
    pub blocked_ns: u64,
    /// Part of `blocked_ns` in waits below the threshold, which have no stack.
    pub short_ns: u64,
    /// Number of those.
    pub short_count: u64,
    /// Number of waits, short ones included.
    pub wait_count: u64,
    /// Times the thread got a CPU.
    pub run_count: u64,
}

/// A thread and its totals over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Index into the recording's `processes`.
    pub process: u32,
    /// Its name.
    pub comm: String,
    /// When tracing of it began, from the start of the window.
    pub first_ns: u64,
    /// When tracing of it ended (its death or the end of the window), likewise.
    pub last_ns: u64,
    /// Totals, waits still open at the end included.
    pub times: ThreadTimes,
}

/// A thread's time in one slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSlice {
    /// Index into the recording's `threads`.
    pub thread: u32,
    /// What the slice added. (A state that lasts over slices is added where it ends.)
    pub times: ThreadTimes,
}

/// A kernel stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Function names, innermost first, without offsets; `0x...` where no symbol was found;
    /// `[module]` is not part of the name. A stack walked from outside the thread lacks the
    /// functions of `.sched.text`: the scheduler, sleeping locks, completions, bit waits.
    pub frames: Vec<String>,
    /// True if outer frames were cut off.
    pub truncated: bool,
}

/// A user-space stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserStack {
    /// Innermost frame first.
    pub frames: Vec<UserFrame>,
    /// Why outer frames are missing, if they visibly are (no frame pointers, too deep); empty if
    /// the walk ended where a thread's stack begins.
    pub cut: String,
}

/// A frame of a user-space stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserFrame {
    /// Demangled name; empty where no symbol was found.
    pub function: String,
    /// File that holds the code, such as `/usr/bin/x` or `[vdso]`; empty if not known.
    pub module: String,
    /// Offset in that file (not its own addresses, which may differ), or the address itself if the
    /// file is not known.
    pub offset: u64,
}

/// Wake-ups that ended long waits of one process with one kernel stack: who woke it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeSeries {
    /// Index into the recording's `processes`: who waited.
    pub process: u32,
    /// Index into the recording's `stacks`: the wait's; `None`: the kernel gave no stack.
    pub stack: Option<u32>,
    /// `nfslat_common::sched::wait_flags` of the wait.
    pub flags: u32,
    /// Process id of the thread on whose time the wake-up came; 0: the idle task.
    pub waker_pid: u32,
    /// Name of that thread.
    pub waker_comm: String,
    /// True if it came in an interrupt: then that thread has nothing to do with it.
    pub interrupt: bool,
    /// Index into the recording's `stacks`: the waker's.
    pub waker_stack: Option<u32>,
    /// Number of waits it ended.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
}

/// Waits of one thread with one stack and the same circumstances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSeries {
    /// Index into the recording's `threads`.
    pub thread: u32,
    /// Index into the recording's `stacks`; `None`: the kernel gave no stack.
    pub stack: Option<u32>,
    /// Index into the recording's `user_stacks`; `None`: not taken, or a kernel thread.
    pub user_stack: Option<u32>,
    /// `nfslat_common::sched::wait_flags`.
    pub flags: u32,
    /// Device (major, minor) of the file that a page fault shortly before was on. Tells something only of
    /// waits whose stack shows such a fault.
    #[serde(default)]
    pub device: Option<(u32, u32)>,
    /// Longest wait of the run, exact.
    pub max_ns: u64,
}

/// Waits of one series that ended in one slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSlice {
    /// Index into the recording's `waits`.
    pub wait: u32,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
}

/// Histogram of the waits of one process with one stack that ended in one slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitHistogramSlice {
    /// Index into the recording's `processes`.
    pub process: u32,
    /// Index into the recording's `stacks`; `None`: the kernel gave no stack.
    pub stack: Option<u32>,
    /// `nfslat_common::sched::wait_flags`.
    pub flags: u32,
    /// The waits; percentiles within 3.2%.
    pub histogram: Histogram,
}
