//! What works on this kernel, what does not, why, and the remedy. Everything is tried, nothing is
//! looked up in a table: the session is attached for real, and detached again.

use std::{fs, time::Duration};

use super::{
    kernel::btf::KernelTypes,
    nfs_mounts, preflight,
    proc::{Roots, bypasses, host, pressure, vast},
    session::Session,
    settings::{FileOps, Settings},
    tcp,
};
use crate::model::{Host, ProbeState, ProbeStatus};

/// The result of an examination.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The machine.
    pub host: Host,
    /// True if `nfslat trace` can run at all.
    pub can_trace: bool,
    /// What was tried, in the order in which it matters.
    pub checks: Vec<ProbeStatus>,
}

/// Examines this machine.
#[must_use]
pub fn examine() -> Examination {
    let roots = Roots::default();
    let mut checks = vec![capabilities(&roots)];
    checks.extend(lockdown(&roots));
    let attached = if checks.iter().any(|check| check.state == ProbeState::Missing) {
        None
    } else {
        Some(Session::attach(&Settings {
            min_wait: Duration::from_micros(10),
            user_stacks: true,
            file_ops: FileOps::Tried,
            ..Settings::default()
        }))
    };
    let can_trace = matches!(attached, Some(Ok(_)));
    match attached {
        Some(Ok(session)) => checks.extend(session.probes.clone()),
        Some(Err(error)) => checks.push(check(
            "kernel side",
            "everything",
            ProbeState::Missing,
            &format!("{error:#}"),
            "run again with -vv for the whole message of the kernel",
        )),
        None => {}
    }
    checks.extend(vma_locks(&roots));
    checks.push(symbols(&roots));
    checks.push(user_symbols(&roots));
    checks.push(pressure_files(&roots));
    checks.push(open_calls(&roots));
    checks.push(tcp::examine(&roots));
    checks.push(mounts());
    checks.extend(bypasses::read(&roots));
    checks.extend(vast_client(&roots));
    Examination { host: host::read(&roots.proc), can_trace, checks }
}

fn check(hook: &str, measures: &str, state: ProbeState, detail: &str, remedy: &str) -> ProbeStatus {
    ProbeStatus {
        hook: hook.to_owned(),
        measures: measures.to_owned(),
        state,
        detail: detail.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn works(hook: &str, measures: &str) -> ProbeStatus {
    check(hook, measures, ProbeState::Attached, "", "")
}

fn capabilities(roots: &Roots) -> ProbeStatus {
    const NAME: &str = "capabilities";
    const MEASURES: &str = "everything";
    match preflight::check(&roots.proc) {
        Ok(()) => works(NAME, MEASURES),
        Err(error) => check(NAME, MEASURES, ProbeState::Missing, &format!("{error:#}"), "run as root"),
    }
}

/// `lockdown=confidentiality` forbids BPF to read kernel memory (`kernel_lockdown(7)`).
fn lockdown(roots: &Roots) -> Option<ProbeStatus> {
    let modes = fs::read_to_string(roots.sys.join("kernel/security/lockdown")).ok()?;
    modes.contains("[confidentiality]").then(|| {
        check(
            "kernel lockdown",
            "everything",
            ProbeState::Missing,
            "lockdown is 'confidentiality': BPF may not read kernel memory",
            "boot with lockdown=integrity or without Secure Boot's lockdown",
        )
    })
}

/// No event tells of these locks, so less is known of them than of mmap_lock.
fn vma_locks(roots: &Roots) -> Option<ProbeStatus> {
    const NAME: &str = "per-VMA locks";
    const MEASURES: &str = "waits for the lock of one mapping";
    // Without types nothing works, and that is said elsewhere.
    let types = KernelTypes::read(&roots.btf()).ok()?;
    Some(if types.has_vma_locks() {
        let detail = "told by the function that waits; which mapping's lock it is, and who holds it, is not known";
        check(NAME, MEASURES, ProbeState::Attached, detail, "")
    } else {
        check(NAME, MEASURES, ProbeState::NotApplicable, "this kernel has none: they came with 6.4", "")
    })
}

fn symbols(roots: &Roots) -> ProbeStatus {
    const NAME: &str = "kernel symbols";
    const MEASURES: &str = "the class of every wait";
    let text = fs::read_to_string(roots.proc.join("kallsyms")).unwrap_or_default();
    let visible = text.lines().take(1000).any(|line| !line.starts_with("0000000000000000"));
    if visible {
        works(NAME, MEASURES)
    } else {
        check(
            NAME,
            MEASURES,
            ProbeState::Missing,
            "/proc/kallsyms hides the addresses",
            "run as root, with kernel.kptr_restrict below 2",
        )
    }
}

fn user_symbols(roots: &Roots) -> ProbeStatus {
    const NAME: &str = "user symbols";
    const MEASURES: &str = "names of the functions in user stacks";
    if preflight::may_look_at_others(&roots.proc) {
        return works(NAME, MEASURES);
    }
    let detail = "only for processes of the same user: CAP_SYS_PTRACE is missing";
    check(NAME, MEASURES, ProbeState::Fallback, detail, "run as root")
}

fn pressure_files(roots: &Roots) -> ProbeStatus {
    const NAME: &str = "pressure (PSI)";
    const MEASURES: &str = "stall totals of the kernel, beside our own";
    match pressure::read(&roots.proc) {
        Some(_) => works(NAME, MEASURES),
        None => check(
            NAME,
            MEASURES,
            ProbeState::Fallback,
            "/proc/pressure is not there: iowait and memory stalls are not marked either",
            "boot with psi=1 (needs CONFIG_PSI)",
        ),
    }
}

fn open_calls(roots: &Roots) -> ProbeStatus {
    const NAME: &str = "debugfs";
    const MEASURES: &str = "NFS calls that were open before the run";
    if !roots.has_module("sunrpc") {
        return check(NAME, MEASURES, ProbeState::NotApplicable, "no NFS client is running", "");
    }
    if roots.sys.join("kernel/debug/sunrpc").is_dir() {
        works(NAME, MEASURES)
    } else {
        check(
            NAME,
            MEASURES,
            ProbeState::Fallback,
            "/sys/kernel/debug/sunrpc is not there: calls that began before the run are not listed",
            "mount -t debugfs debugfs /sys/kernel/debug",
        )
    }
}

fn mounts() -> ProbeStatus {
    const NAME: &str = "NFS mounts";
    const MEASURES: &str = "NFS calls by mount";
    match nfs_mounts() {
        Ok(mounts) if mounts.is_empty() => {
            check(NAME, MEASURES, ProbeState::NotApplicable, "none in this mount namespace", "")
        }
        Ok(mounts) => {
            let list: Vec<_> =
                mounts.iter().map(|mount| format!("{} (v{})", mount.mount_point, mount.version)).collect();
            check(NAME, MEASURES, ProbeState::Attached, &list.join(", "), "")
        }
        Err(error) => check(NAME, MEASURES, ProbeState::Missing, &format!("{error:#}"), ""),
    }
}

/// VAST's client, if it is this machine's, and what its own tool says of it.
fn vast_client(roots: &Roots) -> Option<ProbeStatus> {
    let version = vast::bundle_version(&roots.sys)?;
    let status = match vast::status(vast::STATUS_TOOL) {
        Ok(Some(lines)) => format!("; {} says: {}", vast::STATUS_TOOL, lines.join("; ")),
        Ok(None) => format!("; {} is not installed", vast::STATUS_TOOL),
        Err(error) => format!("; {error:#}"),
    };
    let detail = format!("bundle version {version}{status}");
    Some(check("VAST NFS client", "NFS calls", ProbeState::Attached, &detail, ""))
}
