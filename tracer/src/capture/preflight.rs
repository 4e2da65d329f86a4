//! Whether this process may trace at all, checked before anything is attached.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

/// A capability that tracing needs (`capabilities(7)`).
pub(super) struct Capability {
    /// Its name.
    pub(super) name: &'static str,
    /// Its number (`include/uapi/linux/capability.h`).
    number: u32,
    /// What needs it.
    pub(super) needed_for: &'static str,
}

/// All that a trace needs.
pub(super) const NEEDED: &[Capability] = &[
    Capability { name: "CAP_BPF", number: 39, needed_for: "loading BPF programs" },
    Capability { name: "CAP_PERFMON", number: 38, needed_for: "attaching to the kernel's tracepoints" },
    Capability { name: "CAP_SYSLOG", number: 34, needed_for: "the addresses in /proc/kallsyms" },
];

/// CAP_SYS_ADMIN contains CAP_BPF and CAP_PERFMON.
const SYS_ADMIN: u32 = 21;

/// The capabilities that this process lacks.
///
/// # Errors
/// If its status cannot be read.
pub(super) fn missing_capabilities(proc: &Path) -> Result<Vec<&'static Capability>> {
    let effective = effective(proc)?;
    let has = |number: u32| effective & (1 << number) != 0;
    Ok(NEEDED.iter().filter(|needed| !has(needed.number) && (needed.name == "CAP_SYSLOG" || !has(SYS_ADMIN))).collect())
}

/// True if this process may look at what the processes of others have mapped (CAP_SYS_PTRACE).
pub(super) fn may_look_at_others(proc: &Path) -> bool {
    const SYS_PTRACE: u32 = 19;
    effective(proc).is_ok_and(|effective| effective & (1 << SYS_PTRACE) != 0)
}

fn effective(proc: &Path) -> Result<u64> {
    let path = proc.join("self/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())
        .with_context(|| format!("{} has no CapEff line", path.display()))
}

/// Fails with the missing capabilities and the remedy.
///
/// # Errors
/// If a capability is missing.
pub(super) fn check(proc: &Path) -> Result<()> {
    let missing = missing_capabilities(proc)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> =
        missing.iter().map(|capability| format!("{} ({})", capability.name, capability.needed_for)).collect();
    bail!(
        "missing {}: run nfslat as root (sudo nfslat ...), or give the binary the capabilities: \
         setcap cap_bpf,cap_perfmon,cap_syslog+ep $(command -v nfslat)",
        list.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(cap_eff: &str) -> Vec<&'static str> {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::write(proc.path().join("self/status"), format!("Name:\tx\nCapEff:\t{cap_eff}\n")).unwrap();
        missing_capabilities(proc.path()).unwrap().iter().map(|capability| capability.name).collect()
    }

    #[test]
    fn root_lacks_nothing() {
        assert!(missing("000001ffffffffff").is_empty());
    }

    #[test]
    fn an_ordinary_user_lacks_all() {
        assert_eq!(missing("0000000000000000"), ["CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG"]);
    }

    #[test]
    fn looking_at_others_needs_a_capability_of_its_own() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        for (cap_eff, may) in [("0000000000080000", true), ("000001fffff7ffff", false)] {
            fs::write(proc.path().join("self/status"), format!("CapEff:\t{cap_eff}\n")).unwrap();
            assert_eq!(may_look_at_others(proc.path()), may);
        }
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon() {
        assert_eq!(missing("0000000000200000"), ["CAP_SYSLOG"]);
    }
}
