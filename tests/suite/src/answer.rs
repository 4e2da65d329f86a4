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
    /// Which layer held up the calls of each mount.
    pub layers: Vec<Layers>,
    /// Operations on NFS files as programs see them.
    pub file_ops: Vec<FileOp>,
    /// Those open at the end.
    pub open_file_ops: Vec<OpenFileOp>,
    /// NFS files that threads were blocked on.
    pub files: Vec<WaitedFile>,
    /// What was measured.
    pub probes: Vec<Probe>,
    /// Transports of NFS calls.
    pub transports: Vec<Transport>,
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

/// Calls of one maker.
#[derive(Clone, Debug, Deserialize)]
pub struct MadeBy {
    /// Who.
    pub maker: Maker,
    /// Number of calls.
    pub count: u64,
}

/// Who made calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// A process.
    Process(u32),
    /// The kernel itself.
    Kernel,
    /// Not known.
    Unknown,
}

/// Operations of one kind on one mount.
#[derive(Clone, Debug, Deserialize)]
pub struct FileOp {
    /// Mount points.
    pub mounts: Vec<String>,
    /// The kind.
    pub op: String,
    /// Sums over all processes.
    #[serde(flatten)]
    pub sums: FileSums,
    /// Latencies of those that were blocked.
    pub waited_ns: Option<FileTimes>,
    /// And of the others.
    pub cached_ns: Option<FileTimes>,
    /// By process.
    pub processes: Vec<FileProcess>,
}

/// Sums of operations on files.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct FileSums {
    /// Operations.
    pub count: u64,
    /// Those that were blocked.
    pub waited: u64,
    /// Time.
    pub total_ns: u64,
}

/// Latencies of operations on files.
#[derive(Clone, Debug, Deserialize)]
pub struct FileTimes {
    /// How many.
    pub count: u64,
}

/// Operations of one process.
#[derive(Clone, Debug, Deserialize)]
pub struct FileProcess {
    /// Process id.
    pub pid: u32,
    /// Its sums.
    #[serde(flatten)]
    pub sums: FileSums,
}

/// An operation that was open at the end.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenFileOp {
    /// Process id.
    pub pid: u32,
    /// Mount points.
    pub mounts: Vec<String>,
    /// The kind.
    pub op: String,
    /// For how long.
    pub age_ns: u64,
}

/// A file that threads were blocked on.
#[derive(Clone, Debug, Deserialize)]
pub struct WaitedFile {
    /// Mount points.
    pub mounts: Vec<String>,
    /// Its name.
    pub name: String,
    /// Number of operations.
    pub waited: u64,
}

/// What was measured, or not.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// Where.
    pub hook: String,
    /// How it went.
    pub state: String,
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
    /// Who made the calls.
    pub makers: Vec<MadeBy>,
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
    /// Those transmitted more than once, which the parts above leave out.
    pub resent: Option<Resent>,
    /// What they spent time in before sending and after the reply.
    pub steps: Vec<Step>,
    /// Errors.
    pub errors_by_name: Vec<NamedError>,
}

impl Rpc {
    /// Sum of a part over all calls, those transmitted more than once too.
    #[must_use]
    pub fn sum_ns(&self, once: fn(&Self) -> &Distribution, resent: fn(&Resent) -> &Distribution) -> i64 {
        once(self).sum + self.resent.as_ref().map_or(0, |calls| resent(calls).sum)
    }

    /// Time spent in a step.
    #[must_use]
    pub fn spent_in(&self, step: &str) -> u64 {
        self.steps.iter().filter(|part| part.step == step).map(|part| part.total_ns).sum()
    }
}

/// Which layer held up the calls of a mount.
#[derive(Clone, Debug, Deserialize)]
pub struct Layers {
    /// Mount points.
    pub mounts: Vec<String>,
    /// Which layer it is.
    pub verdict: String,
    /// Operations that are slow.
    pub operations: Vec<String>,
    /// The queue with most time.
    pub queue: Option<String>,
    /// The transport that is slower than the others.
    pub slow_transport: Option<u32>,
    /// Calls done.
    pub calls: u64,
    /// Time of all calls.
    pub spent_ns: u64,
    /// In queues before sending.
    pub queues_ns: u64,
    /// Before sending, in no queue.
    pub preparing_ns: u64,
    /// On the path.
    pub path_ns: Option<u64>,
    /// The server.
    pub server_ns: u64,
    /// Receiving.
    pub receive_ns: u64,
    /// Waking.
    pub wake_ns: u64,
    /// Calls sent again.
    pub resent_ns: u64,
    /// Median from sending to the reply.
    pub rtt_p50_ns: Option<u64>,
    /// TCP's shortest round trip.
    pub tcp_min_rtt_ns: Option<u64>,
    /// Segments sent again.
    pub tcp_retransmitted: u64,
}

/// Calls transmitted more than once.
#[derive(Clone, Debug, Deserialize)]
pub struct Resent {
    /// Calls.
    pub count: u64,
    /// Before the last transmit.
    pub backlog_ns: Distribution,
    /// Last transmit to reply seen.
    pub rtt_ns: Distribution,
    /// The whole.
    pub execute_ns: Distribution,
}

/// Time spent in one step of a call.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// Its name.
    pub step: String,
    /// Calls.
    pub count: u64,
    /// The time.
    pub total_ns: u64,
}

/// Calls that ended with one error.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedError {
    /// Its name.
    pub name: String,
    /// Calls.
    pub count: u64,
}

/// A transport of NFS calls.
#[derive(Clone, Debug, Deserialize)]
pub struct Transport {
    /// Its number, where the kernel has any.
    pub id: Option<u32>,
    /// Port of the server.
    pub port: u16,
    /// Mount points that use it.
    pub mounts: Vec<String>,
    /// What went over it, where the kernel tells.
    pub calls: Option<TransportCalls>,
    /// Its connection.
    pub tcp: Option<Tcp>,
}

/// Calls over one transport.
#[derive(Clone, Debug, Deserialize)]
pub struct TransportCalls {
    /// Calls done.
    pub count: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

/// A TCP connection over the run.
#[derive(Clone, Debug, Deserialize)]
pub struct Tcp {
    /// Ports on this side.
    pub client_ports: Vec<u16>,
    /// State at the end.
    pub state: String,
    /// How often another connection took the place of one.
    pub reconnects: u64,
    /// Smallest round-trip time.
    pub min_rtt_ns: Option<u64>,
    /// Smoothed round-trip time.
    pub srtt_ns: Option<u64>,
    /// Its mean deviation.
    pub rttvar_ns: Option<u64>,
    /// Segments sent again.
    pub retransmitted_segments: u64,
    /// Segments sent.
    pub sent_segments: Option<u64>,
    /// Segments received.
    pub received_segments: Option<u64>,
    /// Bytes acknowledged.
    pub acked_bytes: Option<u64>,
    /// Bytes received.
    pub received_bytes: Option<u64>,
    /// Time with something to send.
    pub busy_ns: Option<u64>,
    /// Time for which the counters were watched.
    pub observed_ns: u64,
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
