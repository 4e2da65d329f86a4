//! Attaching the programs of the kernel side, and what is said of each.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Btf, Ebpf,
    maps::Array,
    programs::{BtfTracePoint, Iter, KProbe, ProgramError, RawTracePoint, TracePoint},
};
use nfslat_common::{config::RpcOffsets, rpc_record::RpcRecordOffsets};

use super::{Session, map_mut, program};
use crate::{
    capture::{
        kernel::{lock_functions::LockFunctions, record_format},
        stand_ins,
    },
    model::{ProbeState, ProbeStatus},
};

/// NFS tracepoints that lead from an inode to its mount's client.
const INODE_HOOKS: [&str; 4] =
    ["nfs_getattr_enter", "nfs_lookup_enter", "nfs_access_enter", "nfs_revalidate_inode_enter"];
/// The same, from a page I/O header.
const PGIO_HOOKS: [&str; 2] = ["nfs_initiate_read", "nfs_initiate_write"];
/// The RPC layer's tracepoints besides the one that counts, with what is missing without them.
const CALL_HOOKS: [(&str, &str); 4] = [
    ("rpc_task_begin", "calls in flight"),
    ("rpc_task_sleep", "the queues a call waits in before it is sent"),
    ("rpc_task_wakeup", "how long it waits there, and when its reply was complete"),
    ("rpc_task_end", "calls in flight"),
];

/// What the walk of user stacks is called among the probes.
pub(in crate::capture) const USER_STACKS: &str = "user stacks";
/// What it measures.
pub(super) const USER_STACKS_MEASURE: &str = "where in a program a wait begins, by frame pointers";

impl Session {
    /// Attaches to the scheduler, to locks (to these functions on a kernel without lock events) and to page faults.
    ///
    /// # Errors
    /// If what cannot be done without is refused.
    pub(super) fn attach_scheduler(&mut self, follow_children: bool, lock_functions: &LockFunctions) -> Result<()> {
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
        self.attach_locks(&btf, lock_functions);
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
        for name in ["set_start", "set_end"] {
            let program: &mut Iter = program(&mut self.bpf, name)?;
            if let Err(error) = program.load("task", &btf) {
                log::debug!("the window is set from user space: {:#}", brief(error));
            }
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

    /// Loads and attaches the program of a hook, and those that stand in for it if there are to be any.
    pub(super) fn attach_btf(&mut self, hook: &str, btf: &Btf) -> Result<(), ProgramError> {
        let stand_ins = stand_ins::names(hook).into_iter().filter(|_| self.stand_ins);
        for name in [hook.to_owned()].into_iter().chain(stand_ins) {
            if let Some(program) = self.bpf.program_mut(&name) {
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

    /// Loads and attaches the program of a raw tracepoint, and those that stand in for it likewise.
    fn attach_call_hook(&mut self, hook: &str) -> Result<()> {
        attach_raw(&mut self.bpf, hook, &[hook])?;
        for name in stand_ins::names(hook) {
            if self.stand_ins && self.bpf.program(&name).is_some() {
                // The kernel runs them in the order in which they are attached.
                attach_raw(&mut self.bpf, &name, &[hook])?;
            }
        }
        Ok(())
    }

    /// Attaches to the NFS client if it is there; then the layout of its structures must be given.
    /// `late`: the window is open already.
    pub(super) fn attach_rpc(&mut self, offsets: Option<Result<RpcOffsets>>, late: bool) {
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
        const REMEDY: &str = "use a kernel with module BTF (CONFIG_DEBUG_INFO_BTF_MODULES, 5.11 and later)";
        let mut status = attached(HOOK, MEASURES);
        if let Err(error) = offsets.and_then(|offsets| self.attach_rpc_programs(offsets)) {
            let detail = format!("{error:#}");
            if let Err(other) = self.attach_rpc_record() {
                log::debug!("NFS calls cannot be measured: {detail}; {other:#}");
                self.probes.push(missing(ProbeState::Missing, &format!("{detail}; {other:#}"), REMEDY));
                return;
            }
            status = missing(
                ProbeState::Fallback,
                &format!(
                    "by its record, in microseconds: no bytes, errors, queues, calls that are open or sent again, and mounts \
                     only where sysfs tells them; what a probe of a function keeps from it is not counted ({detail})"
                ),
                REMEDY,
            );
        }
        self.rpc_attached = true;
        if late {
            status.state = ProbeState::AttachedLate;
            status.detail = "the sunrpc module was loaded during the run: calls before that are missing".to_owned();
        }
        self.probes.push(status);
    }

    /// Attaches to the record of a call that is done, whose layout tracefs tells.
    fn attach_rpc_record(&mut self) -> Result<()> {
        let format = self.roots.tracepoint_format("sunrpc", "rpc_stats_latency")?;
        let offsets = record_format::rpc_stats_latency(&format)?;
        let mut map: Array<_, RpcRecordOffsets> = Array::try_from(map_mut(&mut self.bpf, "RPC_RECORD_OFFSETS")?)?;
        map.set(0, offsets, 0).context("cannot hand over the layout of a record")?;
        let program: &mut TracePoint = program(&mut self.bpf, "rpc_stats_record")?;
        program.load().map_err(brief)?;
        program.attach("sunrpc", "rpc_stats_latency").context("cannot attach to the tracepoint's record")?;
        Ok(())
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
pub(super) fn brief(error: ProgramError) -> anyhow::Error {
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
pub(super) fn user_stacks_status(wanted: bool, sites_told_apart: bool) -> ProbeStatus {
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

/// The status of a hook that is attached.
pub(super) fn attached(hook: &str, measures: &str) -> ProbeStatus {
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
