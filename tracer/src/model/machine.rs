//! The machine beneath the threads: CPU time taken away, reclaim, interrupts, pauses.

use serde::{Deserialize, Serialize};

/// What the machine did over the window. Counters are what was added in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Whether it is a guest, and whose.
    pub virtualisation: Virtualisation,
    /// Time of each CPU by what it did.
    pub cpus: Vec<CpuTimes>,
    /// Counters of `/proc/vmstat` about reclaim, compaction, swap and major faults. Reclaim for the
    /// limit of a cgroup is not in `allocstall_*`, and in `pgscan_*` and `pgsteal_*` only on newer
    /// kernels (7.x; `do_try_to_free_pages` and `shrink_inactive_list` in `mm/vmscan.c`).
    pub vm: Vec<Counter>,
    /// Softirqs handled, over all CPUs, by kind (`/proc/softirqs`).
    pub softirqs: Vec<Counter>,
    /// Times at which CPUs stood still; `None` if that was not watched.
    pub pauses: Option<Pauses>,
}

impl Machine {
    /// What a counter of `vm` added; `None` where the kernel has no such counter.
    #[must_use]
    pub fn vm(&self, name: &str) -> Option<u64> {
        self.vm.iter().find(|counter| counter.name == name).map(|counter| counter.added)
    }
}

/// Whether the machine is a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Virtualisation {
    /// True if the CPU says that a hypervisor is below it (`/proc/cpuinfo`, x86); `None` if it
    /// says nothing of the kind on this architecture.
    pub hypervisor_flag: Option<bool>,
    /// `/sys/hypervisor/type`, such as `xen`; empty if there is none.
    pub hypervisor: String,
    /// Maker of the machine by its firmware (DMI); empty if not known.
    pub vendor: String,
    /// Product by its firmware; empty if not known.
    pub product: String,
}

/// Time of one CPU (`/proc/stat`; in steps of a clock tick, mostly 10 ms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTimes {
    /// Its number.
    pub cpu: u32,
    /// In user space; time in guests of this machine is part of it.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Idle.
    pub idle_ns: u64,
    /// Idle while a thread that last ran on it was in iowait.
    pub iowait_ns: u64,
    /// Handling interrupts.
    pub irq_ns: u64,
    /// Handling softirqs.
    pub softirq_ns: u64,
    /// Ready to run, while the hypervisor ran something else.
    pub steal_ns: u64,
}

impl CpuTimes {
    /// All of it.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        [self.user_ns, self.system_ns, self.idle_ns, self.iowait_ns, self.irq_ns, self.softirq_ns, self.steal_ns]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// A counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The kernel's name for it.
    pub name: String,
    /// What was added in the window.
    pub added: u64,
}

/// A timer of each watched CPU that fires at the same instants: a CPU whose timer comes late,
/// although its thread did not wait for the CPU and nothing was stolen, stood still.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// CPUs watched.
    pub cpus: u32,
    /// Time between two instants. A shorter pause is seen only if an instant falls into it.
    pub interval_ns: u64,
    /// Less than this is not noted.
    pub threshold_ns: u64,
    /// The pauses, by time.
    pub seen: Vec<Pause>,
    /// Pauses that found no room in that list.
    pub not_listed: u64,
}

/// A pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The instant it was seen at, from the start of the window.
    pub at_ns: u64,
    /// Number of the watched CPUs that stood still.
    pub cpus: u32,
    /// How long the first of them stood still after that instant, at least.
    pub shortest_ns: u64,
    /// How long the last of them did.
    pub longest_ns: u64,
}
