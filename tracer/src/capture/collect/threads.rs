//! Threads, their waits and their stacks.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use nfslat_common::{
    buckets,
    sched::{
        KernelStack, Occupant, STACK_DEPTH, ThreadKey, ThreadState, WAIT_COARSE, WaitBucketKey, WaitKey, WaitSum,
        WakeKey, WakeSum, state, wait_flags,
    },
};

use super::{
    clients::device,
    processes::Processes,
    remove,
    spans::Spans,
    symbols, text,
    user_stacks::{NamedStacks, UserStacks},
    wakers,
};
use crate::{
    capture::{kernel::maps, session::Session},
    model::{
        Histogram, ProbeStatus, Process, Slice, Stack, Thread, ThreadSlice, ThreadTimes, WaitHistogramSlice,
        WaitSeries, WaitSlice, WakeSeries, Window,
    },
};

/// What the maps said of threads so far.
#[derive(Default)]
pub(super) struct Threads {
    threads: HashMap<ThreadKey, SeenThread>,
    waits: HashMap<WaitKey, SeenWait>,
    /// Last count of each bucket.
    buckets: HashMap<WaitBucketKey, u64>,
    pub(super) processes: Processes,
    /// Stack hashes in the order of their index.
    stacks: Vec<u64>,
    stack_index: HashMap<u64, u32>,
    series: Vec<WaitSeries>,
    user_stacks: UserStacks,
    wakes: Vec<WakeSeries>,
    wake_index: HashMap<WakeKey, usize>,
    spans: Spans,
    listed: Vec<ListedThread>,
    /// Who had the CPUs when the window had closed.
    occupants: HashSet<ThreadKey>,
}

/// A thread as last read.
struct ListedThread {
    key: ThreadKey,
    process: u32,
    state: ThreadState,
}

struct SeenThread {
    index: u32,
    times: ThreadTimes,
}

struct SeenWait {
    index: u32,
    sum: WaitSum,
}

/// The parts of a recording that are about threads.
pub(super) struct ThreadParts {
    pub(super) processes: Vec<Process>,
    pub(super) threads: Vec<Thread>,
    pub(super) waits: Vec<WaitSeries>,
    pub(super) wakes: Vec<WakeSeries>,
}

impl Threads {
    pub(super) fn count(&self) -> usize {
        self.listed.len()
    }

    /// A wait series by its index.
    pub(super) fn series(&self, index: u32) -> &WaitSeries {
        &self.series[index as usize]
    }

    /// Index of a thread's process.
    pub(super) fn process_of(&self, thread: u32) -> u32 {
        self.listed[thread as usize].process
    }

    /// Reads the maps, adds what is new to the slice, and frees the entries of dead threads.
    pub(super) fn read(&mut self, session: &mut Session, slice: &mut Slice) -> Result<()> {
        // Threads first: a thread that is dead here can have no wait that is not read after it.
        let states = maps::read_all::<ThreadKey, ThreadState>(maps::data(session.bpf(), "THREADS")?)?;
        let waits = maps::read_all::<WaitKey, WaitSum>(maps::data(session.bpf(), "WAITS")?)?;
        let counts = maps::read_all::<WaitBucketKey, u64>(maps::data(session.bpf(), "WAIT_BUCKETS")?)?;
        let wakes = maps::read_all::<WakeKey, WakeSum>(maps::data(session.bpf(), "WAKES")?)?;
        for (key, thread) in &states {
            self.add_thread(session, *key, thread, slice);
        }
        for (key, sum) in &waits {
            self.add_wait(session, *key, *sum, slice);
        }
        self.add_histograms(session, &counts, slice);
        for (key, sum) in &wakes {
            self.add_wake(session, *key, sum);
        }
        self.add_spans(session, slice);
        self.free_dead(session, &states, &waits, &counts)
    }

    /// Notes the user stacks of the waits so far.
    pub(super) fn look(&mut self, session: &Session) -> Result<()> {
        for (key, _) in maps::read_all::<WaitKey, WaitSum>(maps::data(session.bpf(), "WAITS")?)? {
            self.user_stacks.index(session, &key);
        }
        Ok(())
    }

    fn add_thread(&mut self, session: &Session, key: ThreadKey, now: &ThreadState, slice: &mut Slice) {
        let process = self.processes.index(session, now.tgid, now.kernel_thread != 0);
        let times = times_of(now);
        let seen = self.threads.entry(key).or_insert_with(|| {
            self.listed.push(ListedThread { key, process, state: *now });
            SeenThread { index: (self.listed.len() - 1) as u32, times: ThreadTimes::default() }
        });
        let listed = &mut self.listed[seen.index as usize];
        (listed.process, listed.state) = (process, *now);
        let added = difference(&times, &seen.times);
        seen.times = times;
        if added != ThreadTimes::default() {
            slice.threads.push(ThreadSlice { thread: seen.index, times: added });
        }
        if key.tid == now.tgid {
            self.processes.name(process, &text(&now.comm));
        }
    }

    fn add_wait(&mut self, session: &Session, key: WaitKey, sum: WaitSum, slice: &mut Slice) {
        if !self.waits.contains_key(&key) {
            let Some(thread) = self.threads.get(&key.thread).map(|thread| thread.index) else {
                // Its thread was made between the two readings: the next slice has both.
                return;
            };
            let stack = self.stack(key.stack);
            let user_stack = self.user_stacks.index(session, &key);
            let device = (key.device != 0).then(|| device(key.device));
            self.series.push(WaitSeries { thread, stack, user_stack, flags: key.flags, device, max_ns: 0 });
            let index = (self.series.len() - 1) as u32;
            self.waits.insert(key, SeenWait { index, sum: WaitSum::default() });
            self.processes.index(session, key.tgid, key.flags & wait_flags::KERNEL_THREAD != 0);
        }
        let seen = self.waits.get_mut(&key).expect("added above");
        let count = sum.count - seen.sum.count;
        if count > 0 {
            let total_ns = sum.total_ns - seen.sum.total_ns;
            slice.waits.push(WaitSlice { wait: seen.index, count, total_ns });
            self.series[seen.index as usize].max_ns = sum.max_ns;
            seen.sum = sum;
            self.user_stacks.count(&key, count);
        }
    }

    fn add_wake(&mut self, session: &Session, key: WakeKey, sum: &WakeSum) {
        let index = match self.wake_index.get(&key) {
            Some(&index) => index,
            None => {
                let series = WakeSeries {
                    process: self.processes.index(session, key.tgid, key.flags & wait_flags::KERNEL_THREAD != 0),
                    stack: self.stack(key.stack),
                    flags: key.flags,
                    waker_pid: key.waker_tgid,
                    waker_comm: text(&sum.comm),
                    waker_stack: self.stack(key.waker_stack),
                    ..WakeSeries::default()
                };
                self.wakes.push(series);
                self.wake_index.insert(key, self.wakes.len() - 1);
                self.wakes.len() - 1
            }
        };
        let series = &mut self.wakes[index];
        (series.count, series.total_ns) = (sum.count, sum.total_ns);
    }

    fn add_spans(&mut self, session: &mut Session, slice: &mut Slice) {
        let waits = session.take_spans();
        let mut spans = std::mem::take(&mut self.spans);
        slice.spans = spans.pack(&waits, session.start_ns, |wait| {
            let process = self.processes.index(session, wait.tgid, wait.flags & wait_flags::KERNEL_THREAD != 0);
            (process, self.stack(wait.stack), wait.flags)
        });
        self.spans = spans;
    }

    fn add_histograms(&mut self, session: &Session, counts: &[(WaitBucketKey, u64)], slice: &mut Slice) {
        let mut added: HashMap<(u32, u64, u16), Histogram> = HashMap::new();
        for (key, count) in counts {
            let last = self.buckets.insert(*key, *count).unwrap_or(0);
            added
                .entry((key.tgid, key.stack, key.flags))
                .or_default()
                .record(buckets::midpoint_ns(key.bucket, WAIT_COARSE), count - last);
        }
        for ((tgid, stack, flags), histogram) in added {
            if histogram.is_empty() {
                continue;
            }
            let flags = u32::from(flags);
            slice.wait_histograms.push(WaitHistogramSlice {
                process: self.processes.index(session, tgid, flags & wait_flags::KERNEL_THREAD != 0),
                stack: self.stack(stack),
                flags,
                histogram,
            });
        }
    }

    /// Frees the entries of threads that are gone. All their sums have been read, and no event
    /// can add to them.
    fn free_dead(
        &mut self,
        session: &mut Session,
        states: &[(ThreadKey, ThreadState)],
        waits: &[(WaitKey, WaitSum)],
        counts: &[(WaitBucketKey, u64)],
    ) -> Result<()> {
        let dead: HashSet<ThreadKey> =
            states.iter().filter(|(_, thread)| thread.state == state::DEAD).map(|(key, _)| *key).collect();
        if dead.is_empty() {
            return Ok(());
        }
        let alive: HashSet<u32> =
            states.iter().filter(|(key, _)| !dead.contains(key)).map(|(_, thread)| thread.tgid).collect();
        let gone: HashSet<u32> = states
            .iter()
            .filter(|(key, thread)| dead.contains(key) && !alive.contains(&thread.tgid))
            .map(|(_, thread)| thread.tgid)
            .collect();
        let bpf = session.bpf_mut();
        let dead_waits = waits.iter().map(|(key, _)| *key).filter(|key| dead.contains(&key.thread));
        for key in dead_waits {
            remove::<WaitKey, WaitSum>(bpf, "WAITS", &key)?;
            self.waits.remove(&key);
        }
        let gone_buckets = counts.iter().map(|(key, _)| *key).filter(|key| gone.contains(&key.tgid));
        for key in gone_buckets {
            remove::<WaitBucketKey, u64>(bpf, "WAIT_BUCKETS", &key)?;
            self.buckets.remove(&key);
        }
        for key in &dead {
            remove::<ThreadKey, ThreadState>(bpf, "THREADS", key)?;
            self.threads.remove(key);
        }
        let gone_wakes: Vec<_> = self.wake_index.keys().copied().filter(|key| gone.contains(&key.tgid)).collect();
        for key in gone_wakes {
            remove::<WakeKey, WakeSum>(bpf, "WAKES", &key)?;
            self.wake_index.remove(&key);
        }
        for tgid in &gone {
            self.processes.end(*tgid);
        }
        if !gone.is_empty() {
            UserStacks::free(session, &gone)?;
        }
        Ok(())
    }

    /// Index of a stack; `None` for no stack.
    pub(super) fn stack(&mut self, hash: u64) -> Option<u32> {
        (hash != 0).then(|| {
            *self.stack_index.entry(hash).or_insert_with(|| {
                self.stacks.push(hash);
                (self.stacks.len() - 1) as u32
            })
        })
    }

    /// The stacks seen, with the names of their functions.
    pub(super) fn resolve_stacks(&self, session: &Session, probes: &mut Vec<ProbeStatus>) -> Result<Vec<Stack>> {
        let kept: HashMap<u64, KernelStack> =
            maps::read_all(maps::data(session.bpf(), "STACKS")?)?.into_iter().collect();
        let frames = |hash: &u64| {
            let all: &[u64] = kept.get(hash).map_or(&[], |stack| &stack.frames);
            all.split(|&address| address == 0).next().unwrap_or_default()
        };
        let mut addresses: Vec<u64> = self.stacks.iter().flat_map(frames).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let names = symbols(session, &addresses, probes);
        let name = |address: &u64| {
            let index = addresses.binary_search(address).expect("collected above");
            names[index].clone().unwrap_or_else(|| format!("{address:#x}"))
        };
        Ok(self
            .stacks
            .iter()
            .map(|hash| {
                let frames = frames(hash);
                let names: Vec<_> = frames.iter().map(name).collect();
                Stack { frames: wakers::without_tracer(&names).to_vec(), truncated: frames.len() == STACK_DEPTH }
            })
            .collect())
    }

    /// The user stacks seen, with the names of their functions. Waits refer to them from here on.
    pub(super) fn resolve_user_stacks(&mut self, probes: &mut [ProbeStatus]) -> NamedStacks {
        let named = std::mem::take(&mut self.user_stacks).finish(probes);
        for wait in &mut self.series {
            wait.user_stack = wait.user_stack.and_then(|index| named.renumbered.get(index as usize).copied());
        }
        named
    }

    /// Notes who has the CPUs. To be called between the end of the window and the last reading of the
    /// threads: whoever is on a CPU then and not here has got it after the end.
    ///
    /// # Errors
    /// If the kernel refuses to hand over a map.
    pub(super) fn note_occupants(&mut self, session: &Session) -> Result<()> {
        let occupants = maps::read_per_cpu_array::<Occupant>(session.bpf(), "ON_CPU")?;
        self.occupants = occupants.concat().iter().map(|occupant| occupant.thread).collect();
        Ok(())
    }

    /// Closes the books: states that last to the end of the window are added.
    pub(super) fn finish(mut self, session: &Session, window: Window, stacks: &[Stack]) -> ThreadParts {
        for wake in &mut self.wakes {
            let stack = wake.waker_stack.and_then(|index| stacks.get(index as usize));
            wake.interrupt = stack.is_some_and(|stack| wakers::in_interrupt(&stack.frames));
        }
        let end_ns = session.end_ns;
        let threads = self
            .listed
            .iter()
            .map(|ListedThread { key, process, state: thread }| {
                let mut times = times_of(thread);
                let open_ns = end_ns.saturating_sub(thread.since_ns);
                match thread.state {
                    // Else its departure went unreported: what it did since is not known.
                    state::ON_CPU if self.occupants.contains(key) => times.on_cpu_ns += open_ns,
                    state::RUNNABLE => times.runnable_ns += open_ns,
                    // Only where the kernel has no task iterator; else the wait ended at `end_ns`.
                    state::BLOCKED => times.blocked_ns += open_ns,
                    _ => {}
                }
                let last_ns = if thread.state == state::DEAD { thread.since_ns } else { end_ns };
                Thread {
                    tid: key.tid,
                    process: *process,
                    comm: text(&thread.comm),
                    first_ns: thread.first_ns.saturating_sub(session.start_ns),
                    last_ns: last_ns.saturating_sub(session.start_ns).min(window.duration_ns),
                    times,
                }
            })
            .collect();
        ThreadParts { processes: self.processes.into_list(), threads, waits: self.series, wakes: self.wakes }
    }
}

fn times_of(thread: &ThreadState) -> ThreadTimes {
    ThreadTimes {
        on_cpu_ns: thread.time_ns[state::ON_CPU as usize],
        runnable_ns: thread.time_ns[state::RUNNABLE as usize],
        blocked_ns: thread.time_ns[state::BLOCKED as usize],
        short_ns: thread.short_ns,
        short_count: thread.short_count,
        wait_count: thread.wait_count,
        run_count: thread.run_count,
    }
}

fn difference(now: &ThreadTimes, before: &ThreadTimes) -> ThreadTimes {
    ThreadTimes {
        on_cpu_ns: now.on_cpu_ns - before.on_cpu_ns,
        runnable_ns: now.runnable_ns - before.runnable_ns,
        blocked_ns: now.blocked_ns - before.blocked_ns,
        short_ns: now.short_ns - before.short_ns,
        short_count: now.short_count - before.short_count,
        wait_count: now.wait_count - before.wait_count,
        run_count: now.run_count - before.run_count,
    }
}
