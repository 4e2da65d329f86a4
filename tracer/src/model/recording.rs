//! The recording as a whole.

use serde::{Deserialize, Serialize};

use super::{
    Cost, FileOpSeries, FileOpSlice, FileOpTimes, FileSystem, Host, InFlight, LockSeries, Loss, Machine, Mount,
    OpenFileOp, Pressure, ProbeStatus, Process, RpcClient, RpcErrorSlice, RpcMakerSlice, RpcSeries, RpcSlice,
    RpcStepSlice, SpanSlice, Stack, Tcp, TcpSlice, Thread, ThreadSlice, Transport, UserStack, WaitHistogramSlice,
    WaitSeries, WaitSlice, WaitedFile, WakeSeries,
};

/// One run of the tracer on one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// The machine.
    pub host: Host,
    /// When, and for how long.
    pub window: Window,
    /// What was asked for.
    pub options: Options,
    /// What could be measured and what could not, and why.
    pub probes: Vec<ProbeStatus>,
    /// NFS mounts seen during the run.
    pub mounts: Vec<Mount>,
    /// Mounted file systems of the devices that waits refer to.
    #[serde(default)]
    pub file_systems: Vec<FileSystem>,
    /// RPC clients seen during the run.
    pub clients: Vec<RpcClient>,
    /// Transports seen during the run.
    pub transports: Vec<Transport>,
    /// Operations x client x transport; slices refer to them by index.
    pub rpc_series: Vec<RpcSeries>,
    /// TCP connections of transports; `None` in recordings of older versions.
    #[serde(default)]
    pub tcp: Option<Tcp>,
    /// Process x file system x kind of operation on NFS files; slices refer to them by index.
    #[serde(default)]
    pub file_op_series: Vec<FileOpSeries>,
    /// Operations on NFS files open when the window closed.
    #[serde(default)]
    pub open_file_ops: Vec<OpenFileOp>,
    /// NFS files that threads were blocked on, most time first; empty if not asked for.
    #[serde(default)]
    pub waited_files: Vec<WaitedFile>,
    /// Processes of the threads below; threads refer to them by index.
    pub processes: Vec<Process>,
    /// Threads; wait series refer to them by index.
    pub threads: Vec<Thread>,
    /// Distinct kernel stacks; wait series refer to them by index.
    pub stacks: Vec<Stack>,
    /// Distinct user-space stacks; wait series refer to them by index.
    pub user_stacks: Vec<UserStack>,
    /// Thread x stack x flags; slices refer to them by index.
    pub waits: Vec<WaitSeries>,
    /// Lock waits by who held the lock, over the whole run. Each is also in `waits`.
    pub locks: Vec<LockSeries>,
    /// Who ended the long waits.
    pub wakes: Vec<WakeSeries>,
    /// Waits from this length on are in the slices' `spans`; `None`: none is, as in recordings of older versions.
    #[serde(default)]
    pub span_min_ns: Option<u64>,
    /// The run, cut in slices of about a second, in order. In a file each has a section of its own.
    #[serde(skip)]
    pub slices: Vec<Slice>,
    /// Calls open when the window closed.
    pub in_flight: Vec<InFlight>,
    /// PSI totals over the window; `None` where the kernel has none.
    pub pressure: Option<Pressure>,
    /// What the machine itself did over the window; `None` in recordings of older versions.
    pub machine: Option<Machine>,
    /// What was lost. Empty when nothing was.
    pub losses: Vec<Loss>,
    /// What measuring cost.
    pub cost: Cost,
}

impl Recording {
    /// Name of a process; of several that had the same id, the last. Empty if none is known.
    #[must_use]
    pub fn comm_of(&self, pid: u32) -> String {
        let process = self.processes.iter().rfind(|process| process.pid == pid);
        process.map_or_else(String::new, |process| process.comm.clone())
    }
}

/// The time that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Start, CLOCK_REALTIME.
    pub start_unix_ns: u64,
    /// Start, CLOCK_MONOTONIC: the clock of every other time here.
    pub start_mono_ns: u64,
    /// Length, CLOCK_MONOTONIC.
    pub duration_ns: u64,
    /// True if the user or a signal ended it before the time asked for.
    pub stopped_early: bool,
}

/// What the user asked for; filters are part of what a number means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Only this process.
    pub pid: Option<u32>,
    /// Only threads of this name.
    pub comm: Option<String>,
    /// Only this cgroup and those below it.
    pub cgroup: Option<String>,
    /// Only this mount point in the NFS part.
    pub mount: Option<String>,
    /// Waits shorter than this are summed without a stack.
    pub min_wait_ns: u64,
    /// The traced command and its arguments; empty: none.
    pub command: Vec<String>,
    /// Its exit code, if it ended.
    pub command_exit_code: Option<i32>,
}

/// About a second of the run. Only what changed in it is listed. A wait and a call count in the
/// slice in which they ended; those still open at the end of the window count in the last slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Start, from the start of the window.
    pub start_ns: u64,
    /// Length.
    pub duration_ns: u64,
    /// Calls done.
    pub rpc: Vec<RpcSlice>,
    /// What they spent time in before sending and after the reply.
    #[serde(default)]
    pub rpc_steps: Vec<RpcStepSlice>,
    /// Those that ended with an error.
    #[serde(default)]
    pub rpc_errors: Vec<RpcErrorSlice>,
    /// Calls by who made them.
    #[serde(default)]
    pub rpc_makers: Vec<RpcMakerSlice>,
    /// Operations on NFS files done.
    #[serde(default)]
    pub file_ops: Vec<FileOpSlice>,
    /// Their latencies.
    #[serde(default)]
    pub file_op_times: Vec<FileOpTimes>,
    /// Time of threads.
    pub threads: Vec<ThreadSlice>,
    /// Waits ended.
    pub waits: Vec<WaitSlice>,
    /// Histograms of the waits ended.
    pub wait_histograms: Vec<WaitHistogramSlice>,
    /// When the longer uninterruptible waits were.
    #[serde(default)]
    pub spans: Vec<SpanSlice>,
    /// State of TCP connections at its end.
    #[serde(default)]
    pub tcp: Vec<TcpSlice>,
}
