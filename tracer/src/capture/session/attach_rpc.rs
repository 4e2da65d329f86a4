//! Attaching to the NFS client.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::Array,
    programs::{Program, RawTracePoint, TracePoint},
};
use nfslat_common::{config::RpcOffsets, rpc_record::RpcRecordOffsets};

use super::{
    Session,
    attach::{attached, brief, not_attached},
    map_mut, program,
};
use crate::{
    capture::{
        kernel::{btf::KernelTypes, record_format},
        proc::{Roots, vast},
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

/// Where the fields of the running client's structures lie.
///
/// # Errors
/// If its types are not known.
pub(super) fn rpc_offsets(types: &KernelTypes, roots: &Roots) -> Result<RpcOffsets> {
    types.rpc_offsets(&roots.btf(), vast::bundle_version(&roots.sys).is_some())
}

impl Session {
    /// Loads and attaches the program of a raw tracepoint, and those that stand in for it likewise: all or none, as half of
    /// them would count what is counted in another way instead.
    fn attach_call_hook(&mut self, hook: &str) -> Result<()> {
        let attached = self.attach_call_programs(hook);
        if attached.is_err() {
            for name in [hook.to_owned()].into_iter().chain(stand_ins::names(hook)) {
                if let Some(Program::RawTracePoint(program)) = self.bpf.program_mut(&name)
                    && program.fd().is_ok()
                {
                    program.unload()?;
                }
            }
        }
        attached
    }

    fn attach_call_programs(&mut self, hook: &str) -> Result<()> {
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
        const REMEDY: &str =
            "use a kernel and a client whose modules have BTF (CONFIG_DEBUG_INFO_BTF_MODULES, 5.11 and later)";
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
                    "by its record, in microseconds, without bytes, errors, queues, retries and open calls; before 6.12 a \
                     mount is known only if it alone has its server's address, and before 6.2 the kernel does not count \
                     what it may keep from a record ({detail})"
                ),
                REMEDY,
            );
        }
        self.rpc_attached = true;
        if late {
            const LATE: &str = "the sunrpc module was loaded during the run: calls before that are missing";
            // A simpler way stays one: verdicts depend on that.
            if status.state == ProbeState::Fallback {
                status.detail = format!("{}; {LATE}", status.detail);
            } else {
                status.state = ProbeState::AttachedLate;
                LATE.clone_into(&mut status.detail);
            }
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
        if program.fd().is_err() {
            program.load().map_err(brief)?;
        }
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
