//! A tracing session: the kernel side loaded and attached, and its measuring window.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap},
    programs::{BtfTracePoint, Iter, ProgramError, RawTracePoint},
};
use nfslat_common::config::{Control, RpcOffsets, filter};

use super::{
    kernel::{btf::KernelTypes, maps},
    load::load,
    preflight,
    proc::{Roots, own_cost},
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

/// Programs whose every run counts something.
const COUNTING_PROGRAMS: [&str; 4] = ["rpc_stats_latency", "sched_switch", "sched_wakeup", "sched_wakeup_new"];

/// A session. Dropping it detaches everything.
pub struct Session {
    bpf: Ebpf,
    types: KernelTypes,
    pub(super) roots: Roots,
    pub(super) probes: Vec<ProbeStatus>,
    rpc_attached: bool,
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
        let mut bpf = load(settings, &types)?;
        let logger = log::log_enabled!(log::Level::Warn).then(|| aya_log::EbpfLogger::init(&mut bpf).ok()).flatten();
        let mut session =
            Self { bpf, types, roots, probes: Vec::new(), rpc_attached: false, start_ns: 0, end_ns: 0, logger };
        session.attach_scheduler(settings.filter.command)?;
        session.attach_wakers()?;
        session.probes.push(session.user_stacks_status(settings.user_stacks));
        session.attach_rpc(false);
        Ok(session)
    }

    fn attach_scheduler(&mut self, follow_children: bool) -> Result<()> {
        const LOCKS: &str = "which lock a thread waits for";
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
            let program: &mut BtfTracePoint = program(&mut self.bpf, hook)?;
            program
                .load(hook, &btf)
                .and_then(|()| program.attach())
                .map_err(brief)
                .with_context(|| format!("cannot attach to the kernel's tracepoint {hook}"))?;
            self.probes.push(attached(&format!("sched:{hook}"), measures));
        }
        for hook in ["contention_begin", "contention_end"] {
            let program: &mut BtfTracePoint = program(&mut self.bpf, hook)?;
            let result = program.load(hook, &btf).and_then(|()| program.attach());
            self.probes.push(match result {
                Ok(_) => attached(&format!("lock:{hook}"), LOCKS),
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

    /// Attaches to what tells who ends a wait.
    fn attach_wakers(&mut self) -> Result<()> {
        const HOOK: &str = "sched_waking";
        const MEASURES: &str = "who ended the long waits";
        let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        let program: &mut BtfTracePoint = program(&mut self.bpf, HOOK)?;
        let result = program.load(HOOK, &btf).and_then(|()| program.attach());
        let hook = format!("sched:{HOOK}");
        self.probes.push(match result {
            Ok(_) => attached(&hook, MEASURES),
            Err(error) => not_attached(&hook, MEASURES, &brief(error)),
        });
        Ok(())
    }

    fn user_stacks_status(&self, wanted: bool) -> ProbeStatus {
        let status = |state, detail: &str| ProbeStatus {
            state,
            detail: detail.to_owned(),
            ..attached(USER_STACKS, USER_STACKS_MEASURE)
        };
        match (wanted, self.types.has_function("bpf_task_pt_regs")) {
            (false, _) => status(ProbeState::NotApplicable, "not asked for (--user-stacks=off)"),
            (true, true) => status(ProbeState::Attached, ""),
            (true, false) => status(
                ProbeState::Attached,
                "taken unless a thread's waits are mostly short: before 5.15 the kernel does not tell its call sites apart",
            ),
        }
    }

    /// Attaches to the NFS client if it is there. `late`: the window is open already.
    fn attach_rpc(&mut self, late: bool) {
        const HOOK: &str = "sunrpc:rpc_stats_latency";
        const MEASURES: &str = "NFS calls";
        if self.rpc_attached {
            return;
        }
        self.probes.retain(|probe| probe.hook != HOOK);
        let missing = |state, detail: &str, remedy: &str| ProbeStatus {
            hook: HOOK.to_owned(),
            measures: MEASURES.to_owned(),
            state,
            detail: detail.to_owned(),
            remedy: remedy.to_owned(),
        };
        if !self.roots.has_module("sunrpc") {
            self.probes.push(missing(
                ProbeState::NotApplicable,
                "the sunrpc module is not loaded: this machine has no NFS client running",
                "",
            ));
            return;
        }
        if let Err(error) = self.attach_rpc_programs() {
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

    fn attach_rpc_programs(&mut self) -> Result<()> {
        let offsets = self.types.rpc_offsets(&self.roots.btf())?;
        let mut map: Array<_, RpcOffsets> = Array::try_from(map_mut(&mut self.bpf, "RPC_OFFSETS")?)?;
        map.set(0, offsets, 0).context("cannot hand over the layout of the NFS client")?;

        attach_raw(&mut self.bpf, "rpc_stats_latency", &["rpc_stats_latency"])?;
        for (hook, measures) in CALL_HOOKS {
            self.probes.push(match attach_raw(&mut self.bpf, hook, &[hook]) {
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
        // A little ahead, so that the setting is in place on every CPU when the window opens.
        self.start_ns = monotonic_ns() + 1_000_000;
        self.end_ns = self.start_ns.saturating_add(duration.as_nanos().try_into().unwrap_or(u64::MAX / 4));
        self.set_control(false)?;
        while monotonic_ns() <= self.start_ns {
            std::hint::spin_loop();
        }
        self.run_over_threads("open_window")?;
        self.set_control(true)
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
            self.attach_rpc(true);
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
            self.set_control(true)?;
        }
        while monotonic_ns() <= self.end_ns {
            std::hint::spin_loop();
        }
        self.run_over_threads("close_window")
    }

    fn set_control(&mut self, snapshot_done: bool) -> Result<()> {
        let control =
            Control { start_ns: self.start_ns, end_ns: self.end_ns, snapshot_done: u32::from(snapshot_done), pad: 0 };
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

    /// Events that the counting programs did not see: while a program runs, the kernel leaves out a
    /// second run of it on the same CPU. From 7.0 on a task can be preempted inside one.
    pub(super) fn missed_runs(&self) -> u64 {
        self.bpf
            .programs()
            .filter(|(name, _)| COUNTING_PROGRAMS.contains(name))
            .filter_map(|(_, program)| {
                let file = program.info().ok()?.fd().ok()?;
                Some(recursion_misses(&self.roots, file.as_fd().as_raw_fd()))
            })
            .sum()
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

/// Runs of a program that the kernel left out, from its `fdinfo` (`recursion_misses`, 5.12 and later).
fn recursion_misses(roots: &Roots, fd: i32) -> u64 {
    fs::read_to_string(roots.proc.join(format!("self/fdinfo/{fd}")))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
        .unwrap_or(0)
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
