//! Attaching the programs of the kernel side, and what is said of each.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Btf,
    programs::{BtfTracePoint, Iter, KProbe, ProgramError},
};

use super::{Session, program};
use crate::{
    capture::{kernel::lock_functions::LockFunctions, stand_ins},
    model::{ProbeState, ProbeStatus},
};

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

/// That of one that is not.
pub(super) fn not_attached(hook: &str, measures: &str, error: &anyhow::Error) -> ProbeStatus {
    ProbeStatus { state: ProbeState::Missing, detail: format!("{error:#}"), ..attached(hook, measures) }
}
