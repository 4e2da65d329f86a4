//! The machine, what the tracer could attach there, what it lost and what it cost.

use serde::{Deserialize, Serialize};

/// The machine the recording is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub hostname: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Machine hardware name (`uname -m`).
    pub arch: String,
    /// CPUs online.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// Whether a probe measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeState {
    /// Attached for the whole window.
    Attached,
    /// Attached after the window began: what came before is missing.
    AttachedLate,
    /// Something simpler was attached in its place; `detail` says what is missing.
    Fallback,
    /// Not attached, and nothing is lost: what it measures is not on this machine.
    NotApplicable,
    /// Not attached, and its measurement is missing.
    Missing,
}

/// Kernel hooks whose state decides what the answer may say. [`ProbeStatus::hook`] contains these
/// names; what stands before them (`raw_tp sunrpc:`) is free.
pub mod hook {
    use super::{ProbeState, ProbeStatus};

    /// Times of NFS calls.
    pub const RPC_LATENCY: &str = "rpc_stats_latency";
    /// States and waits of threads.
    pub const SCHED_SWITCH: &str = "sched_switch";

    /// True if a hook of that name measured, but in a simpler way.
    #[must_use]
    pub fn is_fallback(probes: &[ProbeStatus], name: &str) -> bool {
        probes.iter().any(|probe| probe.hook.contains(name) && probe.state == ProbeState::Fallback)
    }

    /// True if a hook of that name measured, even if late or in a simpler way.
    #[must_use]
    pub fn is_measured(probes: &[ProbeStatus], name: &str) -> bool {
        probes.iter().any(|probe| {
            probe.hook.contains(name)
                && matches!(probe.state, ProbeState::Attached | ProbeState::AttachedLate | ProbeState::Fallback)
        })
    }
}

/// One probe of the kernel side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Kernel hook, such as `sunrpc:rpc_stats_latency`.
    pub hook: String,
    /// What it measures, in a few words.
    pub measures: String,
    /// Whether it measured.
    pub state: ProbeState,
    /// Why not, or what is missing; empty when attached.
    pub detail: String,
    /// What the user can do about it; empty when nothing.
    pub remedy: String,
}

/// Something that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Short stable name.
    pub what: String,
    /// How many.
    pub count: u64,
    /// What one count means for the reader.
    pub meaning: String,
}

impl Loss {
    /// Addresses in user stacks that could not be given a name. What was waited for, and for how long, does
    /// not depend on these.
    pub const UNRESOLVED_USER_FRAMES: &'static str = "unresolved-user-frames";
}

/// Stall time of one PSI file over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PressureLine {
    /// At least one task stalled.
    pub some_ns: u64,
    /// All non-idle tasks stalled at once; `None` where the file has no such line.
    pub full_ns: Option<u64>,
}

/// PSI totals over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// `/proc/pressure/cpu`.
    pub cpu: PressureLine,
    /// `/proc/pressure/memory`.
    pub memory: PressureLine,
    /// `/proc/pressure/io`.
    pub io: PressureLine,
}

/// What measuring cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Process id of the user side; 0 in recordings of older versions.
    #[serde(default)]
    pub pid: u32,
    /// CPU time of the user side since the window opened.
    pub user_cpu_ns: u64,
    /// Largest resident set of the user side.
    pub rss_bytes: u64,
    /// Memory of all BPF maps, as the kernel states it.
    pub map_bytes: u64,
    /// Kernel-side programs.
    pub programs: Vec<ProgramCost>,
}

/// Cost of one kernel-side program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Program name.
    pub name: String,
    /// Number of runs; `None` where the kernel does not count (`kernel.bpf_stats_enabled` is 0).
    pub runs: Option<u64>,
    /// Time spent in it; likewise.
    pub ns: Option<u64>,
}
