//! The answer: what `--json` prints and the text is made of. docs/json.md describes it for users.
//!
//! Names and meanings are kept; fields may be added. Times are in ns.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

pub use super::rpc::{ErrorRow, InFlightRow, Latency, ResentRow, RpcRow, StepRow};
use super::{
    classify::{Class, Group, LockMode},
    findings::Finding,
    identity::IdentityRow,
    layers::LayersRow,
    locks::LockRow,
    memory_maps::MemoryMapRow,
    pressure::PressureExplained,
    some_thread::SomeThread,
    totals::TotalRow,
    transports::TransportRow,
};
use crate::model::{Cost, Host, Loss, Machine, Mount, Options, Pressure, ProbeStatus};

/// Name and version of this shape.
pub const SCHEMA: &str = "nfslat/1";

/// Everything nfslat has to say about a recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Version of the tool that made the recording.
    pub tool_version: String,
    /// False if anything was lost or missed; `losses` says what.
    pub complete: bool,
    /// The time that was measured.
    pub window: AnswerWindow,
    /// The machine.
    pub host: Host,
    /// What was asked for: filters are part of what the numbers mean.
    pub options: Options,
    /// What the numbers say, most important first.
    pub findings: Vec<Finding>,
    /// Time by group over all threads.
    pub groups: GroupTimes,
    /// Time by class over all threads, largest first.
    pub classes: Vec<ClassRow>,
    /// Processes, most stalled first.
    pub processes: Vec<ProcessRow>,
    /// Time by thread name, most stalled first.
    pub comms: Vec<TotalRow>,
    /// Time by cgroup, most stalled first.
    pub cgroups: Vec<TotalRow>,
    /// Waits by process and class, largest first.
    pub waits: Vec<WaitRow>,
    /// Waits for kernel locks by who held the lock; most time first. All are in `waits` too.
    pub locks: Vec<LockRow>,
    /// Waits for mmap_locks by whose memory map it is; most time first. All are in `locks` too.
    pub memory_maps: Vec<MemoryMapRow>,
    /// Threads, by pid and tid.
    pub threads: Vec<ThreadRow>,
    /// Where in the programs waits began.
    pub user_stacks: UserStacks,
    /// Who ended the long waits, most time first.
    pub wakers: Vec<WakerRow>,
    /// NFS mounts seen.
    pub mounts: Vec<Mount>,
    /// Which layer held up the NFS calls of each mount; most time first.
    pub layers: Vec<LayersRow>,
    /// NFS calls by mount, server, transport and operation; most time first.
    pub rpc: Vec<RpcRow>,
    /// NFS calls open when the window closed, oldest first.
    pub in_flight: Vec<InFlightRow>,
    /// Transports of NFS calls and their TCP connections; most calls first.
    pub transports: Vec<TransportRow>,
    /// Pressure stall totals over the window; `null` where the kernel has none.
    pub pressure: Option<Pressure>,
    /// The waits that can feed each pressure file, and those that feed none.
    pub pressure_explained: PressureExplained,
    /// For how much of the window at least one traced thread waited; `null` in recordings of older versions.
    pub some_thread: Option<SomeThread>,
    /// What the machine itself did; `null` in recordings of older versions.
    pub machine: Option<Machine>,
    /// What was measured and what was not, and why.
    pub probes: Vec<ProbeStatus>,
    /// What was lost; empty if `complete`.
    pub losses: Vec<Loss>,
    /// What measuring cost.
    pub cost: Cost,
}

/// The time that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AnswerWindow {
    /// Start, Unix time.
    pub start_unix_ns: u64,
    /// Length.
    pub duration_ns: u64,
    /// True if it ended before the time asked for.
    pub stopped_early: bool,
}

/// User stacks of waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UserStacks {
    /// How many different ones there are.
    pub distinct: u64,
    /// Number of waits that have one.
    pub waits: u64,
    /// By process, those with the most time, most first.
    pub most: Vec<UserStackRow>,
}

/// Waits of one process with one user stack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserStackRow {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Innermost first: a function, or `FILE+OFFSET`, or an address.
    pub frames: Vec<String>,
    /// Why outer frames are missing; `null` if they do not seem to be.
    pub cut: Option<String>,
}

/// Ends of long waits of one process by one waker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WakerRow {
    /// Process that waited.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Process of the thread on whose time the wake-up came; 0: the idle task.
    pub waker_pid: u32,
    /// Name of that thread.
    pub waker_comm: String,
    /// True if it came in an interrupt: then that thread has nothing to do with it.
    pub interrupt: bool,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
}

/// Time by group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupTimes([u64; Group::ALL.len()]);

impl GroupTimes {
    /// Time in a group.
    #[must_use]
    pub const fn get(&self, group: Group) -> u64 {
        self.0[group as usize]
    }

    pub(super) const fn add(&mut self, group: Group, ns: u64) {
        self.0[group as usize] = self.0[group as usize].saturating_add(ns);
    }

    /// Time in the groups that are stalls.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        Group::ALL
            .into_iter()
            .filter(|group| group.is_stall())
            .fold(0, |sum, group| sum.saturating_add(self.get(group)))
    }
}

impl Serialize for GroupTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Group::ALL.map(|group| (group.name(), self.get(group))))
    }
}

/// Waits of one class over all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// The class.
    pub class: Class,
    /// Its group.
    pub group: Group,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Percentiles (within 3.2%); `null` if none was counted.
    pub p50: Option<u64>,
    /// See `p50`.
    pub p99: Option<u64>,
    /// The longest, exact.
    pub max: u64,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread; a name, proof of nothing.
    pub comm: String,
    /// Path of its executable; empty if not known.
    pub exe: String,
    /// cgroup v2 path; empty if not known.
    pub cgroup: String,
    /// True for a kernel thread.
    pub kernel: bool,
    /// Who it really is; `null` for kernel threads and all but the most stalled.
    pub identity: Option<IdentityRow>,
    /// Number of its threads that were seen.
    pub threads: u64,
    /// Sum over its threads of the time each was traced.
    pub window_ns: u64,
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time ready to run, waiting for a CPU.
    pub runnable_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// Time by group; `cpu` is `runnable_ns`.
    pub groups: GroupTimes,
}

/// A thread. `on_cpu_ns + runnable_ns + blocked_ns` is `window_ns`, and the classes add up to
/// `blocked_ns`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadRow {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// How long it was traced: its life within the window.
    pub window_ns: u64,
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time ready to run, waiting for a CPU.
    pub runnable_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// Time blocked, by class.
    pub classes: BTreeMap<Class, u64>,
}

/// Waits of one process in one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitRow {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread.
    pub comm: String,
    /// The class.
    pub class: Class,
    /// Its group.
    pub group: Group,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Percentiles (within 3.2%); `null` if none was counted.
    pub p50: Option<u64>,
    /// See `p50`.
    pub p99: Option<u64>,
    /// The longest, exact; 0 if not known (class `short`).
    pub max: u64,
    /// More about them.
    pub detail: WaitDetail,
}

/// More about the waits of one process in one class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WaitDetail {
    /// The stacks' decisive frames, most time first, at most [`WaitDetail::MAX_EVIDENCE`].
    pub evidence: Vec<Evidence>,
    /// File systems whose mapped files were waited for, most time first, at most
    /// [`WaitDetail::MAX_EVIDENCE`]; empty for waits of other kinds, and where that is not known.
    pub file_systems: Vec<FileSystemTime>,
    /// Part of the time that the kernel accounted as iowait, which feeds PSI io.
    pub iowait_ns: u64,
    /// Part that it accounted as memory stall, which feeds PSI memory.
    pub memstall_ns: u64,
    /// Part that is either: what feeds a pressure file.
    pub pressure_ns: u64,
    /// Part spent uninterruptibly (state D).
    pub uninterruptible_ns: u64,
    /// Waits that had begun before the window: counted from its start.
    pub open_at_start: u64,
    /// Waits that had not ended when it closed: counted to its end.
    pub open_at_end: u64,
}

/// Time waited for one file system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileSystemTime {
    /// A mount point of it.
    pub mount_point: String,
    /// Its type, such as `ext4`.
    pub kind: String,
    /// Sum of the waits.
    pub total_ns: u64,
}

impl WaitDetail {
    /// Most rows of evidence kept for one row of waits.
    pub const MAX_EVIDENCE: usize = 8;
}

/// Frames that put waits into their class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The function the thread slept in.
    pub frame: String,
    /// What called it: for a lock, the function that asked for it.
    pub caller: String,
    /// The function further out that decided; empty if none was needed.
    pub context: String,
    /// `read` or `write` for a lock that has both and where it is known.
    pub mode: Option<LockMode>,
    /// True if the kernel told which lock it is (its kind, for an mmap_lock its address); false if
    /// the stack told.
    pub lock_seen: bool,
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Evidence {
    /// The frames as a short stack: `rwsem_down_write_slowpath < down_write .. do_exit`; empty if
    /// there was no stack.
    #[must_use]
    pub fn frames(&self) -> String {
        let mut text = self.frame.clone();
        if !self.caller.is_empty() {
            text.push_str(" < ");
            text.push_str(&self.caller);
        }
        if !self.context.is_empty() {
            text.push_str(" .. ");
            text.push_str(&self.context);
        }
        text
    }
}
