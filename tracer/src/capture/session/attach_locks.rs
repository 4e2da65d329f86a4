//! Attaching to locks: to the kernel's events, or to its functions that wait.

use anyhow::Result;
use aya::{Btf, programs::KProbe};

use super::{
    Session,
    attach::{attached, brief},
    program,
};
use crate::{
    capture::kernel::lock_functions::LockFunctions,
    model::{ProbeState, ProbeStatus},
};

const MEASURES: &str = "which lock a thread waits for";
const REMEDY: &str = "use a kernel from 5.19 on";

impl Session {
    /// Attaches to waits for locks. `functions`: those to take on a kernel without such events.
    pub(super) fn attach_locks(&mut self, btf: &Btf, functions: &LockFunctions) {
        if functions.all().next().is_some() {
            let status = self.attach_lock_functions(functions);
            self.probes.push(status);
            return;
        }
        for hook in ["contention_begin", "contention_end"] {
            let result = self.attach_btf(hook, btf);
            self.probes.push(match result {
                Ok(()) => attached(&format!("lock:{hook}"), MEASURES),
                Err(error) => by_stack_only(&format!("lock:{hook}"), &brief(error)),
            });
        }
    }

    fn attach_lock_functions(&mut self, functions: &LockFunctions) -> ProbeStatus {
        let (mut hooks, mut without) = (Vec::new(), Vec::new());
        for (name, locks, function) in [
            ("rwsem_down_read_slowpath", "rwsems to read", &functions.read),
            ("rwsem_down_write_slowpath", "rwsems to write", &functions.write),
            ("mutex_lock", "mutexes", &functions.mutex),
        ] {
            let Some(function) = function else {
                without.push(format!("{locks} (no such function)"));
                continue;
            };
            match self.attach_function(name, &function.symbol) {
                Ok(()) => hooks.push(function.symbol.as_str()),
                Err(error) => without.push(format!("{locks} ({error:#})")),
            }
        }
        let hook = format!("kprobe:{}", hooks.join(","));
        if hooks.is_empty() {
            return by_stack_only("kprobe:rwsem_down_read_slowpath", &anyhow::anyhow!(without.join("; ")));
        }
        let mut detail = "by probes on the functions that wait, on a kernel without lock events: locks of other kinds \
                          are told by the stack, and events that the kernel keeps from a probe are not counted"
            .to_owned();
        if !without.is_empty() {
            detail = format!("{detail}; so are {}", without.join(", "));
        }
        ProbeStatus { state: ProbeState::Fallback, detail, remedy: REMEDY.to_owned(), ..attached(&hook, MEASURES) }
    }

    fn attach_function(&mut self, name: &str, symbol: &str) -> Result<()> {
        let program: &mut KProbe = program(&mut self.bpf, name)?;
        program.load().map_err(brief)?;
        program.attach(symbol, 0)?;
        Ok(())
    }
}

fn by_stack_only(hook: &str, error: &anyhow::Error) -> ProbeStatus {
    ProbeStatus {
        state: ProbeState::Fallback,
        detail: format!("lock waits are told by the function that waits, not by the lock: {error:#}"),
        remedy: REMEDY.to_owned(),
        ..attached(hook, MEASURES)
    }
}
