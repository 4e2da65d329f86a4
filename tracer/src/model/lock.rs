//! Lock waits by who held the lock.

use serde::{Deserialize, Serialize};

/// How a lock was held when a wait for it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HolderKind {
    /// The lock was changing hands, or did not say.
    #[default]
    Unknown,
    /// A writer, or the owner of a mutex: certain.
    Writer,
    /// The reader that came last: a hint, for it may be gone while others still hold the lock.
    Reader,
    /// Nobody: the next in line had been woken and had not run yet.
    Nobody,
}

/// What a holder was in when a wait for its lock began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Not known.
    #[default]
    Unknown,
    /// A page fault or another exception.
    Exception,
    /// A system call, by its name.
    System(String),
}

/// Who held a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// How.
    pub kind: HolderKind,
    /// Process id; 0 if there is none or it is not known.
    pub pid: u32,
    /// Thread id; 0 if not known.
    pub tid: u32,
    /// Name of the thread.
    pub comm: String,
    /// The call it was in; known of writers only.
    pub call: Call,
}

/// Lock waits of one process with one stack, behind one holder that itself waited in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSeries {
    /// Index into the recording's `processes`: who waited.
    pub process: u32,
    /// Index into the recording's `stacks`: where; `None`: the kernel gave no stack.
    pub stack: Option<u32>,
    /// `nfslat_common::sched::wait_flags` of the waits.
    pub flags: u32,
    /// Process whose mmap_lock it is; `None`: it is not an mmap_lock.
    pub mm_pid: Option<u32>,
    /// Who held the lock when the wait began.
    pub holder: Holder,
    /// Index into the recording's `stacks`: where the holder last waited meanwhile; `None`: it did
    /// not, or it is not known.
    pub holder_stack: Option<u32>,
    /// `wait_flags` of that wait.
    pub holder_flags: u32,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// What the holder did meanwhile, as far as it is traced: time on a CPU.
    pub holder_on_cpu_ns: u64,
    /// Time waiting for a CPU.
    pub holder_runnable_ns: u64,
    /// Time blocked.
    pub holder_blocked_ns: u64,
}
