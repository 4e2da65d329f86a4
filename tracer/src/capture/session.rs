//! A tracing session: the kernel side loaded and attached, and its measuring window.

mod attach;
mod attach_files;
mod attach_locks;
mod attach_rpc;

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, RingBuf},
    programs::{Iter, ProgramError},
};
use nfslat_common::{
    config::{Control, filter},
    sched::WaitSpan,
};

use super::{
    kernel::{btf::KernelTypes, functions::Attached, lock_functions::LockFunctions, maps},
    load::{load, span_min_ns},
    preflight,
    proc::{Roots, own_cost},
    settings::{FileOps, Settings},
    stand_ins::{self, LeftOut},
};
use crate::model::{ProbeState, ProbeStatus, ProgramCost};
pub(super) use attach::USER_STACKS;
use attach::{USER_STACKS_MEASURE, attached, user_stacks_status};
use attach_rpc::rpc_offsets;

/// Longer than an event stays between two programs of a hook.
const BETWEEN_PROGRAMS: Duration = Duration::from_millis(50);

/// How often waits that are open at the end are looked at before one counts as lost; a thread leaves its CPU within
/// microseconds, but a virtual CPU may be put off for milliseconds in the middle of that.
const PASSES: u32 = 10;
const BETWEEN_PASSES: Duration = Duration::from_millis(2);

/// Phases of the measuring window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Threads that existed at the start are being noted.
    Opening,
    /// All are noted.
    Open,
    /// Waits that are open at the end are being ended, but for those for locks.
    ClosingOthers,
    /// And those.
    ClosingLocks,
}

/// A session. Dropping it detaches everything.
pub struct Session {
    bpf: Ebpf,
    spans: RingBuf<MapData>,
    /// Waits from this length on are in it.
    pub(super) span_min_ns: u64,
    pub(super) roots: Roots,
    pub(super) probes: Vec<ProbeStatus>,
    rpc_attached: bool,
    file_ops: FileOps,
    /// Programs at functions, together those that make up for one another.
    file_programs: Vec<Vec<Attached>>,
    /// True if hooks that can have two programs get both.
    stand_ins: bool,
    /// What the kernel left out before the window.
    left_out_before: LeftOut,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    duration_ns: u64,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl Session {
    /// Loads and attaches the kernel side. Nothing is counted before [`Self::open_window`].
    ///
    /// # Errors
    /// If capabilities are missing, or the kernel refuses what cannot be done without.
    pub fn attach(settings: &Settings) -> Result<Self> {
        let result = Self::attach_all(settings);
        let Err(error) = result else { return result };
        if !settings.user_stacks {
            return Err(error);
        }
        // A kernel that cannot walk user stacks can do all the rest. If not, its first word counts.
        let without = Settings { user_stacks: false, ..settings.clone() };
        let Ok(mut session) = Self::attach_all(&without) else { return Err(error) };
        session.probes.retain(|probe| probe.hook != USER_STACKS);
        session.probes.push(ProbeStatus {
            state: ProbeState::Fallback,
            detail: format!("waits have no user stack: {error:#}"),
            ..attached(USER_STACKS, USER_STACKS_MEASURE)
        });
        Ok(session)
    }

    fn attach_all(settings: &Settings) -> Result<Self> {
        let roots = Roots::default();
        preflight::check(&roots.proc)?;
        let types = KernelTypes::read(&roots.btf())?;
        let layout = types.scheduler_layout()?;
        let rpc_offsets = roots.has_module("sunrpc").then(|| rpc_offsets(&types, &roots));
        let file_functions = (settings.file_ops != FileOps::Off).then(|| types.file_functions(&roots.btf()));
        // They take some 20 MiB, and so does what the loader reads next.
        drop(types);
        let lock_functions = if layout.lock_events {
            LockFunctions::default()
        } else {
            // Without them lock waits are told by their stacks, and the status says so.
            LockFunctions::read(&roots.proc).inspect_err(|error| log::debug!("{error:#}")).unwrap_or_default()
        };
        let stand_ins = stand_ins::needed(&roots.proc);
        let mut bpf = load(settings, &layout, &lock_functions, stand_ins)?;
        let logger = log::log_enabled!(log::Level::Warn).then(|| aya_log::EbpfLogger::init(&mut bpf).ok()).flatten();
        let spans = bpf.take_map("SPANS").ok_or_else(|| anyhow!("the kernel side has no map SPANS"))?;
        let mut session = Self {
            bpf,
            spans: spans.try_into()?,
            span_min_ns: span_min_ns(settings.min_wait.as_nanos().try_into().unwrap_or(u64::MAX)),
            roots,
            probes: Vec::new(),
            rpc_attached: false,
            file_ops: settings.file_ops,
            file_programs: Vec::new(),
            stand_ins,
            left_out_before: LeftOut::default(),
            start_ns: 0,
            end_ns: 0,
            duration_ns: 0,
            logger,
        };
        session.attach_scheduler(settings.filter.command, &lock_functions)?;
        session.probes.push(user_stacks_status(settings.user_stacks, layout.task_registers));
        session.attach_rpc(rpc_offsets, false);
        if session.rpc_attached {
            session.attach_file_functions(file_functions.as_deref());
        }
        Ok(session)
    }

    /// Opens the measuring window, for `duration` at most.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn open_window(&mut self, duration: Duration) -> Result<()> {
        self.left_out_before = LeftOut::read(&self.bpf, &self.file_programs, &self.roots.proc)?;
        self.duration_ns = duration.as_nanos().try_into().unwrap_or(u64::MAX).min(u64::MAX / 4);
        self.set_control(Phase::Opening, false)?;
        self.set_window("set_start")?;
        if self.start_ns == 0 {
            // Without task iterators.
            self.start_ns = monotonic_ns() + Control::LEAD_NS;
            self.end_ns = self.start_ns + self.duration_ns;
            self.set_control(Phase::Opening, false)?;
        }
        while monotonic_ns() <= self.start_ns {
            std::hint::spin_loop();
        }
        self.run_over_threads("open_window")?;
        self.set_control(Phase::Open, false)
    }

    /// Names the command's future parent: its children are traced, it is not.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn follow_children_of_this_process(&mut self, follow: bool) -> Result<()> {
        let mut tree: HashMap<_, u32, u8> = HashMap::try_from(map_mut(&mut self.bpf, "TREE")?)?;
        let own_pid = std::process::id();
        if follow {
            tree.insert(own_pid, filter::TREE_PARENT, 0).context("cannot mark the parent of the command")
        } else {
            tree.remove(&own_pid).context("cannot unmark the parent of the command")
        }
    }

    /// Attaches what came into being since, and prints what the kernel side has logged: call it
    /// about once a second.
    pub fn tick(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        if !self.rpc_attached && self.roots.has_module("sunrpc") && self.roots.has_module("nfs") {
            let types = KernelTypes::read(&self.roots.btf());
            let functions = types.as_ref().ok().filter(|_| self.file_ops != FileOps::Off);
            let functions = functions.map(|types| types.file_functions(&self.roots.btf()));
            self.attach_rpc(Some(types.and_then(|types| rpc_offsets(&types, &self.roots))), true);
            self.attach_file_functions(functions.as_deref());
        }
    }

    /// Closes the window, now or at its planned end, whichever is first, and ends the waits that
    /// are still open.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn close_window(&mut self) -> Result<()> {
        let planned_ns = self.end_ns;
        self.set_window("set_end")?;
        if self.end_ns == planned_ns && monotonic_ns() < planned_ns {
            // Without task iterators.
            self.end_ns = planned_ns.min(monotonic_ns() + Control::LEAD_NS);
            self.set_control(Phase::Open, false)?;
        }
        while monotonic_ns() <= self.end_ns {
            std::hint::spin_loop();
        }
        self.end_open_waits(Phase::ClosingOthers)?;
        self.end_open_waits(Phase::ClosingLocks)
    }

    /// Ends waits that are still open. Nobody can walk the stack of a thread that is just getting or leaving a CPU, so such
    /// ones are tried again a little later.
    fn end_open_waits(&mut self, phase: Phase) -> Result<()> {
        for pass in 1..=PASSES {
            self.set_control(phase, pass == PASSES)?;
            self.run_over_threads("close_window")?;
            if pass == PASSES || self.control()?.left == 0 {
                break;
            }
            std::thread::sleep(BETWEEN_PASSES);
        }
        Ok(())
    }

    /// Runs a program that sets the start or the end, if this kernel has task iterators, and reads what it has set.
    fn set_window(&mut self, name: &str) -> Result<()> {
        self.run_over_threads(name)?;
        let control = self.control()?;
        (self.start_ns, self.end_ns) = (control.start_ns, control.end_ns);
        Ok(())
    }

    fn control(&mut self) -> Result<Control> {
        let map: Array<_, Control> = Array::try_from(map_mut(&mut self.bpf, "CONTROL")?)?;
        map.get(&0, 0).context("cannot read the measuring window")
    }

    fn set_control(&mut self, phase: Phase, last_pass: bool) -> Result<()> {
        let control = Control {
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            duration_ns: self.duration_ns,
            snapshot_done: u32::from(phase != Phase::Opening),
            locks_later: u32::from(phase == Phase::ClosingOthers),
            last_pass: u32::from(last_pass),
            left: 0,
        };
        let mut map: Array<_, Control> = Array::try_from(map_mut(&mut self.bpf, "CONTROL")?)?;
        map.set(0, control, 0).context("cannot set the measuring window")
    }

    /// Runs a program over all threads, if this kernel has task iterators.
    fn run_over_threads(&mut self, name: &str) -> Result<()> {
        let program: &mut Iter = program(&mut self.bpf, name)?;
        if program.fd().is_err() {
            return Ok(());
        }
        let link_id = program.attach().with_context(|| format!("cannot run {name}"))?;
        let mut output = program.take_link(link_id)?.into_file()?;
        std::io::copy(&mut output, &mut std::io::sink()).with_context(|| format!("cannot run {name}"))?;
        Ok(())
    }

    /// True if operations on files are measured.
    pub(super) fn measures_files(&self) -> bool {
        !self.file_programs.is_empty()
    }

    /// The loaded object, for reading its maps.
    pub(super) fn bpf(&self) -> &Ebpf {
        &self.bpf
    }

    /// The same, for freeing entries.
    pub(super) fn bpf_mut(&mut self) -> &mut Ebpf {
        &mut self.bpf
    }

    /// Runs and time of each program, where the kernel counts them.
    pub(super) fn program_costs(&self) -> Vec<ProgramCost> {
        let cost = |name: &str, runs: u64, ns: u64| {
            let counted = runs > 0;
            ProgramCost { name: name.to_owned(), runs: counted.then_some(runs), ns: counted.then_some(ns) }
        };
        let loaded = self.bpf.programs().filter_map(|(name, program)| {
            let info = program.info().ok()?;
            let file = info.fd().ok()?;
            let (runs, ns) = run_statistics(&self.roots, file.as_fd().as_raw_fd())?;
            Some(cost(name, runs, ns))
        });
        let mut costs: Vec<_> = loaded.collect();
        let at_functions = self.file_programs.iter().flatten();
        let (runs, ns) = at_functions
            .filter_map(|program| run_statistics(&self.roots, program.fd()))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if self.measures_files() {
            costs.push(cost("file_op", runs, ns));
        }
        costs
    }

    /// Events since the window opened that the kernel handed to no program of their hook.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(super) fn left_out(&self) -> Result<BTreeMap<&'static str, u64>> {
        let read = || {
            LeftOut::read(&self.bpf, &self.file_programs, &self.roots.proc).map(|now| now.since(&self.left_out_before))
        };
        let first = read()?;
        if first.is_empty() {
            return Ok(first);
        }
        // They may be between two programs of a hook just now.
        std::thread::sleep(BETWEEN_PROGRAMS);
        let mut again = read()?;
        again.retain(|hook, count| {
            *count = (*count).min(first.get(hook).copied().unwrap_or(0));
            *count > 0
        });
        Ok(again)
    }

    /// Takes the waits that the kernel side has handed over one by one since the last time.
    pub(super) fn take_spans(&mut self) -> Vec<WaitSpan> {
        let mut spans = Vec::new();
        while let Some(item) = self.spans.next() {
            if item.len() == size_of::<WaitSpan>() {
                // SAFETY: as long as one, and any bytes are a valid one.
                spans.push(unsafe { item.as_ptr().cast::<WaitSpan>().read_unaligned() });
            }
        }
        spans
    }

    /// Memory of all maps.
    pub(super) fn map_bytes(&self) -> u64 {
        let tables = self.bpf.maps().filter_map(|(name, _)| maps::data(&self.bpf, name).ok());
        let fds = tables.map(|data| data.fd().as_fd().as_raw_fd()).chain([self.spans.as_raw_fd()]);
        fds.map(|fd| own_cost::map_bytes(&self.roots.proc, fd)).sum()
    }
}

/// CLOCK_MONOTONIC, the clock of the kernel side, in ns.
pub(super) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// A clock of the kernel, in ns.
pub(super) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid; the clocks used exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = bpf.program_mut(name).ok_or_else(|| anyhow!("the kernel side has no program {name}"))?;
    Ok(program.try_into()?)
}

fn map_mut<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::maps::Map> {
    bpf.map_mut(name).ok_or_else(|| anyhow!("the kernel side has no map {name}"))
}

/// `run_cnt` and `run_time_ns` of a program, from its `fdinfo`; they stand still while
/// `kernel.bpf_stats_enabled` is 0.
fn run_statistics(roots: &Roots, fd: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(roots.proc.join(format!("self/fdinfo/{fd}"))).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok())
    };
    Some((field("run_cnt")?, field("run_time_ns")?))
}
