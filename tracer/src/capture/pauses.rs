//! Pauses of CPUs: times at which none of the threads of a CPU ran, and that the kernel does not
//! account for. The guest was stopped, the firmware took the CPU (SMI), or interrupts were off.
//!
//! One thread for each watched CPU sleeps until the same absolute instants, ten a second. If it
//! wakes late, and neither its time on the run queue (`schedstat`) nor steal time explains that,
//! its CPU stood still. All CPUs at one instant: the machine did. A pause that the hypervisor hides
//! from the guest's clock is not seen. With PREEMPT_RT such timers fire in a thread that handles
//! softirqs: there a starved one looks the same.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    mem::{size_of, zeroed},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{
    proc::{Roots, counters},
    session::monotonic_ns,
};
use crate::model::{Pause, Pauses};

/// Time between two instants.
const INTERVAL_NS: u64 = 100_000_000;
/// Less lateness than this is not noted: leaving deep idle states takes less.
const THRESHOLD_NS: u64 = 5_000_000;
/// CPUs watched at most.
const MOST_CPUS: usize = 16;
/// Late wake-ups noted at most, for each CPU.
const MOST_NOTED: usize = 1000;

/// The threads that watch.
pub(super) struct Watch {
    start_ns: u64,
    stop: Arc<AtomicBool>,
    steal: Arc<Steal>,
    seen: Vec<Arc<Seen>>,
}

/// What a thread saw so far; `None` until it watches.
type Seen = Mutex<Option<Late>>;

/// Steal time of each watched CPU as last read.
struct Steal(Vec<(u32, AtomicU64)>);

/// What one thread saw: how late it was at which instant, and how often there was no room.
#[derive(Default)]
struct Late {
    noted: Vec<(u64, u64)>,
    not_noted: u64,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn begin(roots: &Roots) -> Self {
        let cpus = choose(&allowed_cpus(), &kept_free(&roots.sys));
        let steal = Arc::new(Steal(cpus.iter().map(|&cpu| (cpu, AtomicU64::new(0))).collect()));
        let mut watch =
            Self { start_ns: monotonic_ns(), stop: Arc::default(), steal, seen: Vec::with_capacity(cpus.len()) };
        watch.note_steal(&roots.proc);
        for cpu in cpus {
            let (start_ns, proc) = (watch.start_ns, roots.proc.clone());
            let (stop, steal) = (Arc::clone(&watch.stop), Arc::clone(&watch.steal));
            let seen = Arc::<Seen>::default();
            watch.seen.push(Arc::clone(&seen));
            let thread = thread::Builder::new().name(format!("nfslat-cpu{cpu}")).stack_size(128 << 10);
            if let Err(error) = thread.spawn(move || observe(cpu, start_ns, &proc, &stop, &steal, &seen)) {
                log::debug!("CPU {cpu} is not watched for pauses: {error}");
            }
        }
        watch
    }

    /// Notes the steal time so far, so that a late wake-up is compared with recent steal time only.
    /// Call it about once a second.
    pub(super) fn note_steal(&self, proc: &Path) {
        self.steal.update(&counters::steal_ns(proc));
    }

    /// Ends it. Pauses are those of the window from `start_ns` to `end_ns`; `None` if no CPU could be
    /// watched. The threads end by themselves at their next instant: to wait for one would be to
    /// wait for a CPU that may stand still.
    pub(super) fn finish(self, start_ns: u64, end_ns: u64) -> Option<Pauses> {
        self.stop.store(true, Ordering::Relaxed);
        let late: Vec<Late> =
            self.seen.iter().filter_map(|seen| seen.lock().ok().and_then(|mut seen| seen.take())).collect();
        let mut pauses = merge(&late, self.start_ns.saturating_sub(start_ns));
        pauses.seen.retain(|pause| pause.at_ns <= end_ns.saturating_sub(start_ns));
        (!late.is_empty()).then_some(pauses)
    }
}

impl Late {
    fn note(&mut self, instant: u64, ns: u64) {
        if self.noted.len() < MOST_NOTED {
            self.noted.push((instant, ns));
        } else {
            self.not_noted += 1;
        }
    }
}

impl Steal {
    fn update(&self, now: &[(u32, u64)]) {
        for (cpu, steal_ns) in &self.0 {
            if let Some((_, now)) = now.iter().find(|(number, _)| number == cpu) {
                steal_ns.store(*now, Ordering::Relaxed);
            }
        }
    }

    /// What a CPU lost since the last update, rounded up to whole ticks.
    fn since_update_ns(&self, cpu: u32, proc: &Path) -> u64 {
        let last = |list: &[(u32, u64)]| list.iter().find(|(number, _)| *number == cpu).map(|(_, ns)| *ns);
        let noted = self.0.iter().find(|(number, _)| *number == cpu).map(|(_, ns)| ns.load(Ordering::Relaxed));
        match last(&counters::steal_ns(proc)).zip(noted) {
            Some((now, noted)) if now > noted => now - noted + counters::tick_ns(),
            _ => 0,
        }
    }
}

/// The work of one thread. It ends if it cannot be pinned, or the kernel has no `schedstat`.
fn observe(cpu: u32, start_ns: u64, proc: &Path, stop: &AtomicBool, steal: &Steal, seen: &Seen) -> Option<()> {
    pin_to(cpu).ok()?;
    let schedstat = File::open(proc.join("thread-self/schedstat")).ok()?;
    let mut last = Runs::read(&schedstat)?;
    *seen.lock().ok()? = Some(Late::default());
    while !stop.load(Ordering::Relaxed) {
        let instant = monotonic_ns().saturating_sub(start_ns) / INTERVAL_NS + 1;
        let due_ns = start_ns + instant * INTERVAL_NS;
        sleep_until(due_ns);
        let late_ns = monotonic_ns().saturating_sub(due_ns);
        let now = Runs::read(&schedstat)?;
        let unexplained_ns = now.unexplained_ns(std::mem::replace(&mut last, now), late_ns);
        if unexplained_ns < THRESHOLD_NS {
            continue;
        }
        let unexplained_ns = unexplained_ns.saturating_sub(steal.since_update_ns(cpu, proc));
        if unexplained_ns >= THRESHOLD_NS {
            seen.lock().ok()?.as_mut()?.note(instant, unexplained_ns);
        }
    }
    Some(())
}

/// What the kernel says of how a thread ran, since it began.
#[derive(Clone, Copy)]
struct Runs {
    /// Time on the run queue.
    delay_ns: u64,
    /// Times it got a CPU.
    count: u64,
}

impl Runs {
    /// The second and third number (`Documentation/scheduler/sched-stats.rst`).
    fn read(schedstat: &File) -> Option<Self> {
        let mut text = [0; 96];
        let length = schedstat.read_at(&mut text, 0).ok()?;
        let mut numbers = std::str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace().skip(1);
        Some(Self { delay_ns: numbers.next()?.parse().ok()?, count: numbers.next()?.parse().ok()? })
    }

    /// The part of a late wake-up that was not spent on the run queue. 0 if the thread ran more
    /// than once since: then a signal stopped it (job control), or it was frozen or preempted.
    fn unexplained_ns(self, before: Self, late_ns: u64) -> u64 {
        if self.count.wrapping_sub(before.count) != 1 {
            return 0;
        }
        late_ns.saturating_sub(self.delay_ns.saturating_sub(before.delay_ns))
    }
}

fn sleep_until(due_ns: u64) {
    let due = libc::timespec { tv_sec: (due_ns / 1_000_000_000) as _, tv_nsec: (due_ns % 1_000_000_000) as _ };
    // SAFETY: both pointers are valid or null, as the call allows. A signal ends it early: harmless.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const due, std::ptr::null_mut()) };
}

fn pin_to(cpu: u32) -> io::Result<()> {
    // SAFETY: an all-zero `cpu_set_t` is the empty set; `CPU_SET` checks nothing, so the number is
    // checked first; the set lives through the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        if cpu as usize >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        libc::CPU_SET(cpu as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPUs that this process may run on.
fn allowed_cpus() -> Vec<u32> {
    // SAFETY: an all-zero `cpu_set_t` is the empty set, and the call only fills it.
    let set = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    };
    // SAFETY: the numbers are below the size of the set.
    (0..8 * size_of::<libc::cpu_set_t>())
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .map(|cpu| cpu as u32)
        .collect()
}

/// CPUs that are kept free of others' work (`isolcpus`, `nohz_full`): no thread is to wake there.
fn kept_free(sys: &Path) -> Vec<u32> {
    let list = |name: &str| fs::read_to_string(sys.join("devices/system/cpu").join(name)).unwrap_or_default();
    ["isolated", "nohz_full"].iter().flat_map(|name| parse_list(&list(name))).collect()
}

/// `0-2,7`
fn parse_list(text: &str) -> Vec<u32> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
        })
        .flat_map(|range| range.take(1 << 16))
        .collect()
}

/// The CPUs to watch: all, or as many as are watched at most, spread over all.
fn choose(allowed: &[u32], kept_free: &[u32]) -> Vec<u32> {
    let usable: Vec<u32> = allowed.iter().copied().filter(|cpu| !kept_free.contains(cpu)).collect();
    let number = usable.len().min(MOST_CPUS);
    (0..number).map(|index| usable[index * usable.len() / number]).collect()
}

/// Late wake-ups of several CPUs at one instant are one pause.
fn merge(late: &[Late], begun_ns: u64) -> Pauses {
    let mut instants = BTreeMap::<u64, Vec<u64>>::new();
    for (instant, ns) in late.iter().flat_map(|late| &late.noted) {
        instants.entry(*instant).or_default().push(*ns);
    }
    let pause = |(instant, ns): (u64, Vec<u64>)| Pause {
        at_ns: begun_ns + instant * INTERVAL_NS,
        cpus: ns.len() as u32,
        shortest_ns: ns.iter().copied().min().unwrap_or(0),
        longest_ns: ns.iter().copied().max().unwrap_or(0),
    };
    Pauses {
        cpus: late.len() as u32,
        interval_ns: INTERVAL_NS,
        threshold_ns: THRESHOLD_NS,
        seen: instants.into_iter().map(pause).collect(),
        not_listed: late.iter().map(|late| late.not_noted).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn cpus_at_one_instant_are_one_pause() {
        let of = |noted: &[(u64, u64)]| Late { noted: noted.to_vec(), not_noted: 1 };
        let pauses = merge(&[of(&[(3, 40), (9, 10)]), of(&[(3, 50)])], 7);
        assert_eq!((pauses.cpus, pauses.not_listed), (2, 2));
        let pause = |instant: u64, cpus, shortest_ns, longest_ns| Pause {
            at_ns: 7 + instant * INTERVAL_NS,
            cpus,
            shortest_ns,
            longest_ns,
        };
        assert_eq!(pauses.seen, [pause(3, 2, 40, 50), pause(9, 1, 10, 10)]);
    }

    #[test]
    fn a_queue_or_a_stop_by_a_signal_explains_lateness() {
        let before = Runs { delay_ns: 100, count: 7 };
        let after = |delay_ns, count| Runs { delay_ns, count }.unexplained_ns(before, 1000);
        assert_eq!(after(100, 8), 1000);
        assert_eq!(after(500, 8), 600);
        assert_eq!(after(5000, 8), 0);
        assert_eq!(after(100, 9), 0);
    }

    #[test]
    fn many_cpus_are_sampled_evenly_and_some_are_left_alone() {
        assert_eq!(parse_list("0-2,7\n"), [0, 1, 2, 7]);
        assert!(parse_list("\n").is_empty());
        assert_eq!(choose(&[0, 1, 2, 3], &[1, 2]), [0, 3]);
        let chosen = choose(&(0..64).collect::<Vec<_>>(), &[]);
        assert_eq!((chosen.len(), chosen[0], chosen[1], chosen[15]), (16, 0, 4, 60));
        assert!(choose(&[], &[]).is_empty());
    }

    #[test]
    fn watches_this_machine_and_ends() {
        let watch = Watch::begin(&Roots::default());
        thread::sleep(Duration::from_millis(250));
        watch.note_steal(Path::new("/proc"));
        let pauses = watch.finish(0, u64::MAX).unwrap();
        assert!(pauses.cpus >= 1);
        assert!(pauses.seen.iter().all(|pause| pause.cpus <= pauses.cpus && pause.shortest_ns >= THRESHOLD_NS));
    }
}
