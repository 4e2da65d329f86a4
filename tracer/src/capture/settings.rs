//! What to measure.

use std::time::Duration;

/// Which threads to trace. A thread must match all that is given.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Process id.
    pub pid: Option<u32>,
    /// Thread name, at most 15 bytes.
    pub comm: Option<String>,
    /// cgroup id and its depth below the root.
    pub cgroup: Option<(u64, u32)>,
    /// A command to be started by this process, and its descendants.
    pub command: bool,
}

/// How to measure.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which threads.
    pub filter: Filter,
    /// Waits shorter than this are summed without a stack.
    pub min_wait: Duration,
    /// Take user stacks too.
    pub user_stacks: bool,
    /// Operations on NFS files, and which files were waited for.
    pub file_ops: FileOps,
}

/// What to do about operations on NFS files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileOps {
    /// Leave them.
    #[default]
    Off,
    /// See whether they could be measured: attach to one function of many.
    Tried,
    /// Measure them.
    Measured,
}
