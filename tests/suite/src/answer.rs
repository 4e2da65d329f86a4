//! The tool's answer (`--json`), as a program that relies on the documented fields reads it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};
use serde::Deserialize;

/// The answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// Version of the schema.
    pub schema: String,
    /// False if anything was lost or cut.
    pub complete: bool,
    /// What was measured when.
    pub window: Window,
    /// The machine.
    pub host: Host,
    /// Statements.
    pub findings: Vec<Finding>,
    /// NFS calls.
    pub rpc: Vec<Rpc>,
    /// Processes, the most stalled first.
    pub processes: Vec<ProcessRow>,
    /// Threads.
    pub threads: Vec<Thread>,
    /// Waits.
    pub waits: Vec<Wait>,
    /// Lock waits by holder.
    pub locks: Vec<Lock>,
    /// Waits for mmap_locks by whose memory map it is.
    pub memory_maps: Vec<MemoryMap>,
    /// Where in the programs waits began.
    pub user_stacks: UserStacks,
    /// Who ended the long waits.
    pub wakers: Vec<Waker>,
    /// Stall time by group of classes.
    pub groups: BTreeMap<String, u64>,
    /// For how much of the window some thread waited.
    pub some_thread: SomeThread,
    /// What was lost.
    pub losses: Vec<Loss>,
}

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

/// The time that was measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Window {
    /// Start.
    pub start_unix_ns: u64,
    /// Length.
    pub duration_ns: u64,
}

/// The machine that was measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// Its kernel's release.
    pub kernel: String,
}

/// A statement.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// Short stable name.
    pub id: String,
    /// What it states.
    pub claim: String,
}

/// Calls of one operation on one mount over one transport.
#[derive(Clone, Debug, Deserialize)]
pub struct Rpc {
    /// Mount point.
    pub mount: Option<String>,
    /// RPC program.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// Operation.
    pub op: String,
    /// Calls done.
    pub count: u64,
    /// Calls that ended in an error.
    pub errors: u64,
    /// Calls transmitted more than once.
    pub retransmitted: u64,
    /// Calls open at the end.
    pub in_flight: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Before the last transmit.
    pub backlog_ns: Distribution,
    /// Last transmit to reply seen.
    pub rtt_ns: Distribution,
    /// Reply seen to done.
    pub tail_ns: Distribution,
    /// The whole.
    pub execute_ns: Distribution,
}

/// How long something took.
#[derive(Clone, Debug, Deserialize)]
pub struct Distribution {
    /// Number of values.
    pub count: u64,
    /// Their sum; the kernel's statistics are signed.
    pub sum: i64,
    /// Smallest.
    pub min: Option<u64>,
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
    /// HdrHistogram, V2 deflate, base64.
    pub hdr: String,
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

/// Something that was lost.
#[derive(Clone, Debug, Deserialize)]
pub struct Loss {
    /// Short stable name.
    pub what: String,
    /// How many.
    pub count: u64,
    /// What that means, and where.
    pub meaning: String,
}

impl Answer {
    /// How often something of this name was lost.
    #[must_use]
    pub fn loss(&self, what: &str) -> u64 {
        self.losses.iter().filter(|loss| loss.what == what).map(|loss| loss.count).sum()
    }

    /// The thread of that id.
    #[must_use]
    pub fn thread(&self, tid: u32) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.tid == tid)
    }
}

impl Distribution {
    /// The values, as another program reads them.
    pub fn histogram(&self) -> Result<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.hdr).context("it is not base64")?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).context("it is no histogram")
    }
}

impl Thread {
    /// Time blocked in any of these classes.
    #[must_use]
    pub fn blocked_in(&self, classes: &[&str]) -> u64 {
        classes.iter().filter_map(|class| self.classes.get(*class)).sum()
    }
}
