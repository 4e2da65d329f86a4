//! A tracing session: the kernel side loaded and attached, and its measuring window.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap},
    programs::{BtfTracePoint, Iter, KProbe, ProgramError, RawTracePoint},
};
use nfslat_common::config::{Control, RpcOffsets, filter};

use super::{
    kernel::{btf::KernelTypes, maps},
    load::load,
    preflight,
    proc::{Roots, own_cost},
    second::{self, LeftOut},
    settings::Settings,
};
use crate::model::{ProbeState, ProbeStatus, ProgramCost};

/// NFS tracepoints that lead from an inode to its mount's client.
const INODE_HOOKS: [&str; 4] =
    ["nfs_getattr_enter", "nfs_lookup_enter", "nfs_access_enter", "nfs_revalidate_inode_enter"];
/// The same, from a page I/O header.
const PGIO_HOOKS: [&str; 2] = ["nfs_initiate_read", "nfs_initiate_write"];
/// The RPC layer's tracepoints besides the one that counts, with what is missing without them.
const CALL_HOOKS: [(&str, &str); 3] = [
    ("rpc_task_begin", "calls in flight"),
    ("rpc_task_sleep", "the queue a call in flight waits in"),
    ("rpc_task_end", "calls in flight"),
];

/// What the walk of user stacks is called among the probes.
pub(super) const USER_STACKS: &str = "user stacks";
/// What it measures.
const USER_STACKS_MEASURE: &str = "where in a program a wait begins, by frame pointers";

/// Longer than an event stays between the two programs of a hook.
const BETWEEN_PROGRAMS: Duration = Duration::from_millis(50);

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
    pub(super) roots: Roots,
    pub(super) probes: Vec<ProbeStatus>,
    rpc_attached: bool,
    /// True if hooks that can have two programs get both.
    second_programs: bool,
    /// What the kernel left out before the window.
    left_out_before: LeftOut,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
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
        let rpc_offsets = roots.has_module("sunrpc").then(|| types.rpc_offsets(&roots.btf()));
        // They take some 20 MiB, and so does what the loader reads next.
        drop(types);
        let second_programs = second::needed(&roots.proc);
        let mut bpf = load(settings, &layout, second_programs)?;
        let logger = log::log_enabled!(log::Level::Warn).then(|| aya_log::EbpfLogger::init(&mut bpf).ok()).flatten();
        let mut session = Self {
            bpf,
            roots,
            probes: Vec::new(),
            rpc_attached: false,
            second_programs,
            left_out_before: LeftOut::default(),
            start_ns: 0,
            end_ns: 0,
            logger,
        };
        session.attach_scheduler(settings.filter.command)?;
        session.probes.push(user_stacks_status(settings.user_stacks, layout.task_registers));
        session.attach_rpc(rpc_offsets, false);
        Ok(session)
    }

    fn attach_scheduler(&mut self, follow_children: bool) -> Result<()> {
        const LOCKS: &str = "which lock a thread waits for";
        const WAKERS: &str = "who ended the long waits";
        let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        let mut hooks = vec![
            ("sched_switch", "time on CPU, runnable and blocked"),
            ("sched_wakeup", "end of waits"),
            ("sched_wakeup_new", "new threads"),
        ];
        if follow_children {
            hooks.push(("sched_process_fork", "descendants of the command"));
        }
        for (hook, measures) in hooks {
            self.attach_btf(hook, &btf)
                .map_err(brief)
                .with_context(|| format!("cannot attach to the kernel's tracepoint {hook}"))?;
            self.probes.push(attached(&format!("sched:{hook}"), measures));
        }
        for hook in ["contention_begin", "contention_end"] {
            let result = self.attach_btf(hook, &btf);
            self.probes.push(match result {
                Ok(()) => attached(&format!("lock:{hook}"), LOCKS),
                Err(error) => ProbeStatus {
                    state: ProbeState::Fallback,
                    detail: format!(
                        "lock waits are told by the function that waits, not by the lock: {:#}",
                        brief(error)
                    ),
                    remedy: "use a kernel from 5.19 on".to_owned(),
                    ..attached(&format!("lock:{hook}"), LOCKS)
                },
            });
        }
        let result = self.attach_btf("sched_waking", &btf);
        self.probes.push(match result {
            Ok(()) => attached("sched:sched_waking", WAKERS),
            Err(error) => not_attached("sched:sched_waking", WAKERS, &brief(error)),
        });
        let faults = self.attach_faults(&btf);
        self.probes.push(faults);
        if let Err(error) = self.attach_btf("sched_process_exec", &btf) {
            let error = brief(error);
            self.probes.push(not_attached("sched:sched_process_exec", "whose mmap_lock it is, after an exec", &error));
        }
        for name in ["open_window", "close_window"] {
            let program: &mut Iter = program(&mut self.bpf, name)?;
            let measures = "waits open at the start or the end";
            self.probes.push(match program.load("task", &btf) {
                Ok(()) => attached(&format!("iter:task ({name})"), measures),
                Err(error) => ProbeStatus {
                    hook: format!("iter:task ({name})"),
                    measures: measures.to_owned(),
                    state: ProbeState::Missing,
                    detail: format!("threads that never run are not seen: {:#}", brief(error)),
                    remedy: String::new(),
                },
            });
        }
        Ok(())
    }

    /// Loads and attaches the program of a hook, and its second one if there is to be one.
    fn attach_btf(&mut self, hook: &str, btf: &Btf) -> Result<(), ProgramError> {
        let names = [hook.to_owned(), second::name(hook)];
        for name in names {
            if let Some(program) = self.bpf.program_mut(&name)
                && (name == hook || self.second_programs)
            {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(hook, btf)?;
                program.attach()?;
            }
        }
        Ok(())
    }

    /// Attaches to page faults on files: to the tracepoint, or to the function on kernels without it.
    fn attach_faults(&mut self, btf: &Btf) -> ProbeStatus {
        const MEASURES: &str = "the file system of a page fault's file";
        if self.attach_btf("mm_filemap_fault", btf).is_ok() {
            return attached("filemap:mm_filemap_fault", MEASURES);
        }
        let result = program(&mut self.bpf, "filemap_fault").and_then(|program: &mut KProbe| {
            program.load()?;
            Ok(program.attach("filemap_fault", 0)?)
        });
        match result {
            Ok(_) => attached("kprobe:filemap_fault", MEASURES),
            Err(error) => ProbeStatus {
                state: ProbeState::Fallback,
                detail: format!("waits for mapped files are not told apart by file system: {error:#}"),
                remedy: "use a kernel from 6.10 on".to_owned(),
                ..attached("filemap:mm_filemap_fault", MEASURES)
            },
        }
    }

    /// Loads and attaches the program of a raw tracepoint, and its second one likewise.
    fn attach_call_hook(&mut self, hook: &str) -> Result<()> {
        attach_raw(&mut self.bpf, hook, &[hook])?;
        let name = second::name(hook);
        if self.second_programs && self.bpf.program(&name).is_some() {
            // After the first one: the kernel runs them in this order.
            attach_raw(&mut self.bpf, &name, &[hook])?;
        }
        Ok(())
    }

    /// Attaches to the NFS client if it is there; then the layout of its structures must be given.
    /// `late`: the window is open already.
    fn attach_rpc(&mut self, offsets: Option<Result<RpcOffsets>>, late: bool) {
        const HOOK: &str = "sunrpc:rpc_stats_latency";
        const MEASURES: &str = "NFS calls";
        self.probes.retain(|probe| probe.hook != HOOK);
        let missing = |state, detail: &str, remedy: &str| ProbeStatus {
            hook: HOOK.to_owned(),
            measures: MEASURES.to_owned(),
            state,
            detail: detail.to_owned(),
            remedy: remedy.to_owned(),
        };
        let Some(offsets) = offsets else {
            self.probes.push(missing(
                ProbeState::NotApplicable,
                "the sunrpc module is not loaded: this machine has no NFS client running",
                "",
            ));
            return;
        };
        if let Err(error) = offsets.and_then(|offsets| self.attach_rpc_programs(offsets)) {
            let detail = format!("{error:#}");
            log::debug!("NFS calls cannot be measured: {detail}");
            self.probes.push(missing(
                ProbeState::Missing,
                &detail,
                "use a kernel with module BTF (CONFIG_DEBUG_INFO_BTF_MODULES, 5.11 and later)",
            ));
            return;
        }
        self.rpc_attached = true;
        let mut status = attached(HOOK, MEASURES);
        if late {
            status.state = ProbeState::AttachedLate;
            status.detail = "the sunrpc module was loaded during the run: calls before that are missing".to_owned();
        }
        self.probes.push(status);
    }

    fn attach_rpc_programs(&mut self, offsets: RpcOffsets) -> Result<()> {
        let mut map: Array<_, RpcOffsets> = Array::try_from(map_mut(&mut self.bpf, "RPC_OFFSETS")?)?;
        map.set(0, offsets, 0).context("cannot hand over the layout of the NFS client")?;

        self.attach_call_hook("rpc_stats_latency")?;
        for (hook, measures) in CALL_HOOKS {
            let result = self.attach_call_hook(hook);
            self.probes.push(match result {
                Ok(()) => attached(&format!("sunrpc:{hook}"), measures),
                Err(error) => not_attached(&format!("sunrpc:{hook}"), measures, &error),
            });
        }
        let mounts = "the mount point of an NFS client";
        for (program, hooks) in [("nfs_inode_event", &INODE_HOOKS[..]), ("nfs_pgio_event", &PGIO_HOOKS[..])] {
            let hook = format!("nfs:{}", hooks.join(","));
            self.probes.push(match attach_raw(&mut self.bpf, program, hooks) {
                Ok(()) => attached(&hook, mounts),
                Err(error) => not_attached(&hook, mounts, &error),
            });
        }
        Ok(())
    }

    /// Opens the measuring window, for `duration` at most.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn open_window(&mut self, duration: Duration) -> Result<()> {
        self.left_out_before = LeftOut::read(&self.bpf, &self.roots.proc)?;
        // A little ahead, so that the setting is in place on every CPU when the window opens.
        self.start_ns = monotonic_ns() + 1_000_000;
        self.end_ns = self.start_ns.saturating_add(duration.as_nanos().try_into().unwrap_or(u64::MAX / 4));
        self.set_control(Phase::Opening)?;
        while monotonic_ns() <= self.start_ns {
            std::hint::spin_loop();
        }
        self.run_over_threads("open_window")?;
        self.set_control(Phase::Open)
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
            let offsets = KernelTypes::read(&self.roots.btf()).and_then(|types| types.rpc_offsets(&self.roots.btf()));
            self.attach_rpc(Some(offsets), true);
        }
    }

    /// Closes the window, now or at its planned end, whichever is first, and ends the waits that
    /// are still open.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn close_window(&mut self) -> Result<()> {
        let now_ns = monotonic_ns();
        if now_ns < self.end_ns {
            // A little ahead again: the cut is the same for every CPU.
            self.end_ns = self.end_ns.min(now_ns + 1_000_000);
            self.set_control(Phase::Open)?;
        }
        while monotonic_ns() <= self.end_ns {
            std::hint::spin_loop();
        }
        self.set_control(Phase::ClosingOthers)?;
        self.run_over_threads("close_window")?;
        self.set_control(Phase::ClosingLocks)?;
        self.run_over_threads("close_window")
    }

    fn set_control(&mut self, phase: Phase) -> Result<()> {
        let control = Control {
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            snapshot_done: u32::from(phase != Phase::Opening),
            locks_later: u32::from(phase == Phase::ClosingOthers),
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
        self.bpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                let file = info.fd().ok()?;
                let (runs, ns) = run_statistics(&self.roots, file.as_fd().as_raw_fd())?;
                let counted = runs > 0;
                Some(ProgramCost { name: name.to_owned(), runs: counted.then_some(runs), ns: counted.then_some(ns) })
            })
            .collect()
    }

    /// Events since the window opened that the kernel handed to no program of their hook.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(super) fn left_out(&self) -> Result<BTreeMap<&'static str, u64>> {
        let read = || LeftOut::read(&self.bpf, &self.roots.proc).map(|now| now.since(&self.left_out_before));
        let first = read()?;
        if first.is_empty() {
            return Ok(first);
        }
        // They may be between the two programs just now.
        std::thread::sleep(BETWEEN_PROGRAMS);
        let mut again = read()?;
        again.retain(|hook, count| {
            *count = (*count).min(first.get(hook).copied().unwrap_or(0));
            *count > 0
        });
        Ok(again)
    }

    /// Memory of all maps.
    pub(super) fn map_bytes(&self) -> u64 {
        self.bpf
            .maps()
            .filter_map(|(name, _)| maps::data(&self.bpf, name).ok())
            .map(|data| own_cost::map_bytes(&self.roots.proc, data.fd().as_fd().as_raw_fd()))
            .sum()
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

/// Loads a program (once) and attaches it to raw tracepoints.
fn attach_raw(bpf: &mut Ebpf, name: &str, hooks: &[&str]) -> Result<()> {
    let program: &mut RawTracePoint = program(bpf, name)?;
    if program.fd().is_err() {
        program.load().map_err(brief).with_context(|| format!("the kernel rejects the program {name}"))?;
    }
    for hook in hooks {
        program.attach(hook).with_context(|| format!("cannot attach to {hook}"))?;
    }
    Ok(())
}

/// A program error without the thousands of lines that the verifier may have to say; the log has
/// them.
fn brief(error: ProgramError) -> anyhow::Error {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        log::debug!("the verifier says:\n{log}");
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(6)..].join("; ");
        return anyhow!("the kernel rejects the program ({io_error}): {last}");
    }
    error.into()
}

/// What is said of user stacks. `sites_told_apart`: the kernel shows from where a thread came in.
fn user_stacks_status(wanted: bool, sites_told_apart: bool) -> ProbeStatus {
    let status = |state, detail: &str| ProbeStatus {
        state,
        detail: detail.to_owned(),
        ..attached(USER_STACKS, USER_STACKS_MEASURE)
    };
    match (wanted, sites_told_apart) {
        (false, _) => status(ProbeState::NotApplicable, "not asked for (--user-stacks=off)"),
        (true, true) => status(ProbeState::Attached, ""),
        (true, false) => status(
            ProbeState::Attached,
            "taken unless a thread's waits are mostly short: before 5.15 the kernel does not tell its call sites apart",
        ),
    }
}

fn attached(hook: &str, measures: &str) -> ProbeStatus {
    ProbeStatus {
        hook: hook.to_owned(),
        measures: measures.to_owned(),
        state: ProbeState::Attached,
        detail: String::new(),
        remedy: String::new(),
    }
}

fn not_attached(hook: &str, measures: &str, error: &anyhow::Error) -> ProbeStatus {
    ProbeStatus { state: ProbeState::Missing, detail: format!("{error:#}"), ..attached(hook, measures) }
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
