//! What the answer says of operations on NFS files.

use serde::Deserialize;

/// Operations of one kind on one mount.
#[derive(Clone, Debug, Deserialize)]
pub struct FileOp {
    /// Mount points.
    pub mounts: Vec<String>,
    /// The kind.
    pub op: String,
    /// Sums over all processes.
    #[serde(flatten)]
    pub sums: FileSums,
    /// Latencies of those that were blocked.
    pub waited_ns: Option<FileTimes>,
    /// And of the others.
    pub cached_ns: Option<FileTimes>,
    /// By process.
    pub processes: Vec<FileProcess>,
}

/// Sums of operations on files.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct FileSums {
    /// Operations.
    pub count: u64,
    /// Those that were blocked.
    pub waited: u64,
    /// Time.
    pub total_ns: u64,
}

/// Latencies of operations on files.
#[derive(Clone, Debug, Deserialize)]
pub struct FileTimes {
    /// How many.
    pub count: u64,
}

/// Operations of one process.
#[derive(Clone, Debug, Deserialize)]
pub struct FileProcess {
    /// Process id.
    pub pid: u32,
    /// Its sums.
    #[serde(flatten)]
    pub sums: FileSums,
}

/// An operation that was open at the end.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenFileOp {
    /// Process id.
    pub pid: u32,
    /// Mount points.
    pub mounts: Vec<String>,
    /// The kind.
    pub op: String,
    /// For how long.
    pub age_ns: u64,
}

/// A file that threads were blocked on.
#[derive(Clone, Debug, Deserialize)]
pub struct WaitedFile {
    /// Mount points.
    pub mounts: Vec<String>,
    /// Its name.
    pub name: String,
    /// Number of operations.
    pub waited: u64,
}
