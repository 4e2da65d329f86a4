//! What the answer says of threads and their waits.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One process.
#[derive(Clone, Debug, Deserialize)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// Who it is, for the most stalled.
    pub identity: Option<Identity>,
}

/// Who a process is.
#[derive(Clone, Debug, Deserialize)]
pub struct Identity {
    /// Its language.
    pub language: Option<Made>,
    /// Its runtime.
    pub runtime: Option<Made>,
    /// Its allocators.
    pub allocators: Vec<String>,
    /// How it is linked.
    pub linkage: Option<String>,
}

/// Something that a program is made of.
#[derive(Clone, Debug, Deserialize)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// What tells it.
    pub evidence: String,
}

/// For how much of the window at least one thread waited.
#[derive(Clone, Debug, Deserialize)]
pub struct SomeThread {
    /// Shorter waits are left out.
    pub min_wait_ns: u64,
    /// For storage.
    pub storage: SomeTime,
    /// For a memory lock.
    pub memory_lock: SomeTime,
}

/// For how much of the window at least one thread waited for something.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SomeTime {
    /// Time.
    pub some_ns: u64,
    /// Share of the window.
    pub share_of_wall: f64,
    /// Number of waits.
    pub waits: u64,
    /// Their sum.
    pub summed_ns: u64,
    /// Sum of the waits that are not in it.
    pub left_out_ns: u64,
    /// What it can be at most, with those.
    pub at_most_ns: u64,
}

/// Waits for a lock behind one holder.
#[derive(Clone, Debug, Deserialize)]
pub struct Lock {
    /// Process id of the waiter.
    pub pid: u32,
    /// Class of the wait.
    pub class: String,
    /// Process whose mmap_lock it is.
    pub mm_pid: Option<u32>,
    /// The waiter's call.
    pub call: String,
    /// How the lock was held.
    pub holder_kind: String,
    /// Process id of the holder.
    pub holder_pid: u32,
    /// Thread id of the holder.
    pub holder_tid: u32,
    /// The holder's call.
    pub holder_call: String,
    /// What the holder waited for.
    pub holder_class: Option<String>,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Time that the holder was blocked meanwhile.
    pub holder_blocked_ns: u64,
}

/// Waits for the mmap_lock of one process.
#[derive(Clone, Debug, Deserialize)]
pub struct MemoryMap {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Number of waits whose percentiles are known.
    pub histogram_count: u64,
}

/// A thread.
#[derive(Clone, Debug, Deserialize)]
pub struct Thread {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// How long it was traced.
    pub window_ns: u64,
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time waiting for a CPU.
    pub runnable_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// Time blocked, by class of wait.
    pub classes: BTreeMap<String, u64>,
}

/// Waits of one process in one class.
#[derive(Clone, Debug, Deserialize)]
pub struct Wait {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Class of wait.
    pub class: String,
    /// Group of the class.
    pub group: String,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
}

/// User stacks of waits.
#[derive(Clone, Debug, Deserialize)]
pub struct UserStacks {
    /// How many different ones.
    pub distinct: u64,
    /// Those with the most time.
    pub most: Vec<UserStack>,
}

/// Waits of one process with one user stack.
#[derive(Clone, Debug, Deserialize)]
pub struct UserStack {
    /// Number of waits.
    pub count: u64,
    /// Innermost first.
    pub frames: Vec<String>,
}

/// Ends of long waits of one process by one waker.
#[derive(Clone, Debug, Deserialize)]
pub struct Waker {
    /// Process that waited.
    pub pid: u32,
    /// Process of the waker.
    pub waker_pid: u32,
    /// Name of the waker's thread.
    pub waker_comm: String,
    /// Whether it came in an interrupt.
    pub interrupt: bool,
    /// Number of waits.
    pub count: u64,
}

impl Thread {
    /// Time blocked in any of these classes.
    #[must_use]
    pub fn blocked_in(&self, classes: &[&str]) -> u64 {
        classes.iter().filter_map(|class| self.classes.get(*class)).sum()
    }
}
