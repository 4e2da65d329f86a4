//! Network namespaces of processes, from `/proc/PID/ns/net` (`namespaces(7)`).

use std::{fs, path::Path};

/// The inode that stands for the network namespace of a process; `process`: its folder. `None` if it is gone, or may not
/// be looked at.
pub(crate) fn of(process: &Path) -> Option<u64> {
    let target = fs::read_link(process.join("ns/net")).ok()?;
    target.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}
