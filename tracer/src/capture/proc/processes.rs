//! Who a process is.
//!
//! Only files that the kernel answers without the process's mmap_lock: reading `cmdline` or
//! `maps` of a process that is stuck would make the tracer wait for what it measures.

use std::{fs, path::Path};

use crate::model::Process;

/// Executable, name and cgroup of a process. What cannot be read (it may be gone) stays empty.
pub(crate) fn read(proc: &Path, pid: u32, kernel: bool) -> Process {
    let dir = proc.join(pid.to_string());
    let text = |name: &str| fs::read(dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Process {
        pid,
        comm: text("comm").map(|comm| comm.trim_end_matches('\n').to_owned()).unwrap_or_default(),
        exe: fs::read_link(dir.join("exe")).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        cgroup: text("cgroup").ok().and_then(|text| cgroup_v2(&text)).unwrap_or_default(),
        kernel,
        identity: None,
    }
}

/// The line of hierarchy 0 is the unified one (`cgroups(7)`).
fn cgroup_v2(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unified_cgroup() {
        assert_eq!(cgroup_v2("1:cpu:/x\n0::/system.slice\n").as_deref(), Some("/system.slice"));
        assert_eq!(cgroup_v2("1:cpu:/x\n"), None);
    }
}
