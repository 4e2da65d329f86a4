//! Counters of the whole machine: `/proc/stat`, `/proc/vmstat`, `/proc/softirqs`.

use std::{collections::BTreeMap, fs, path::Path};

use crate::model::{Counter, CpuTimes};

/// Counters of `/proc/vmstat` that are kept; a name that ends in `_` stands for all that begin so.
const VM: [&str; 15] = [
    "allocstall_",
    "compact_fail",
    "compact_stall",
    "compact_success",
    "kswapd_high_wmark_hit_quickly",
    "kswapd_low_wmark_hit_quickly",
    "oom_kill",
    "pageoutrun",
    "pgmajfault",
    "pgscan_direct",
    "pgscan_kswapd",
    "pgsteal_direct",
    "pgsteal_kswapd",
    "pswpin",
    "pswpout",
];

/// The counters at one moment, since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    cpus: Vec<CpuTimes>,
    vm: BTreeMap<String, u64>,
    softirqs: BTreeMap<String, u64>,
}

impl Counters {
    /// Reads them. What cannot be read stays empty.
    pub(crate) fn read(proc: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
        Self { cpus: cpu_times(&text("stat")), vm: vmstat(&text("vmstat")), softirqs: softirqs(&text("softirqs")) }
    }

    /// What was added since an earlier moment: CPU times, counters of `vmstat`, softirqs. CPUs that
    /// came or went in between are left out.
    pub(crate) fn since(&self, before: &Self) -> (Vec<CpuTimes>, Vec<Counter>, Vec<Counter>) {
        let cpus = self.cpus.iter().filter_map(|now| {
            let then = before.cpus.iter().find(|then| then.cpu == now.cpu)?;
            Some(difference(now, then))
        });
        let added = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            now.iter()
                .map(|(name, now)| Counter {
                    name: name.clone(),
                    added: now.saturating_sub(then.get(name).copied().unwrap_or(0)),
                })
                .collect()
        };
        (cpus.collect(), added(&self.vm, &before.vm), added(&self.softirqs, &before.softirqs))
    }
}

fn difference(now: &CpuTimes, then: &CpuTimes) -> CpuTimes {
    CpuTimes {
        cpu: now.cpu,
        user_ns: now.user_ns.saturating_sub(then.user_ns),
        system_ns: now.system_ns.saturating_sub(then.system_ns),
        idle_ns: now.idle_ns.saturating_sub(then.idle_ns),
        iowait_ns: now.iowait_ns.saturating_sub(then.iowait_ns),
        irq_ns: now.irq_ns.saturating_sub(then.irq_ns),
        softirq_ns: now.softirq_ns.saturating_sub(then.softirq_ns),
        steal_ns: now.steal_ns.saturating_sub(then.steal_ns),
    }
}

/// Steal time of each CPU since boot, by its number.
pub(crate) fn steal_ns(proc: &Path) -> Vec<(u32, u64)> {
    let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
    cpu_times(&stat).iter().map(|times| (times.cpu, times.steal_ns)).collect()
}

/// Length of a clock tick as `/proc/stat` counts (`USER_HZ`).
pub(crate) fn tick_ns() -> u64 {
    // SAFETY: `sysconf` has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    1_000_000_000 / u64::try_from(per_second).unwrap_or(100).max(1)
}

/// Lines `cpu0 user nice system idle iowait irq softirq steal ...` (`proc_stat(5)`).
fn cpu_times(stat: &str) -> Vec<CpuTimes> {
    let tick_ns = tick_ns();
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let cpu = words.next()?.strip_prefix("cpu")?.parse().ok()?;
        let ns: Vec<u64> = words.map_while(|word| word.parse::<u64>().ok()?.checked_mul(tick_ns)).collect();
        let at = |index: usize| ns.get(index).copied().unwrap_or(0);
        Some(CpuTimes {
            cpu,
            user_ns: at(0).saturating_add(at(1)),
            system_ns: at(2),
            idle_ns: at(3),
            iowait_ns: at(4),
            irq_ns: at(5),
            softirq_ns: at(6),
            steal_ns: at(7),
        })
    };
    stat.lines().filter_map(parse).collect()
}

fn vmstat(text: &str) -> BTreeMap<String, u64> {
    let wanted = |name: &str| VM.iter().any(|kept| name == *kept || (kept.ends_with('_') && name.starts_with(kept)));
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| wanted(name))
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

/// Lines `NET_RX: count of each CPU`.
fn softirqs(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, counts)| {
            let counts = counts.split_ascii_whitespace().filter_map(|count| count.parse::<u64>().ok());
            (name.trim().to_owned(), counts.fold(0, u64::saturating_add))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_cpu() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu3 1 2 3 4 5 6 7 8 9 10\nintr 7\n";
        let tick = tick_ns();
        let expected = CpuTimes {
            cpu: 3,
            user_ns: 3 * tick,
            system_ns: 3 * tick,
            idle_ns: 4 * tick,
            iowait_ns: 5 * tick,
            irq_ns: 6 * tick,
            softirq_ns: 7 * tick,
            steal_ns: 8 * tick,
        };
        assert_eq!(cpu_times(stat), [expected]);
    }

    #[test]
    fn what_was_added_is_told_and_what_is_new_is_no_jump() {
        let proc = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(proc.path().join(name), text).unwrap();
        write("stat", "cpu0 0 0 0 0 0 0 0 5\n");
        write("vmstat", "pgscan_direct 5\nallocstall_normal 7\nnr_free_pages 12\n");
        write("softirqs", "   CPU0 CPU1\n NET_RX: 1 2\n");
        let before = Counters::read(proc.path());
        write("stat", "cpu0 0 0 0 0 0 0 0 9\ncpu1 0 0 0 0 0 0 0 1000\n");
        write("vmstat", "pgscan_direct 6\nallocstall_normal 3\nnr_free_pages 99\n");
        write("softirqs", "   CPU0 CPU1\n NET_RX: 4 5\n");
        let (cpus, vm, softirqs) = Counters::read(proc.path()).since(&before);
        assert_eq!(cpus.iter().map(|times| times.steal_ns).collect::<Vec<_>>(), [4 * tick_ns()]);
        let counter = |name: &str, added| Counter { name: name.into(), added };
        assert_eq!(vm, [counter("allocstall_normal", 0), counter("pgscan_direct", 1)]);
        assert_eq!(softirqs, [counter("NET_RX", 6)]);
    }
}
