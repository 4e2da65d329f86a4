//! Operations on files of NFS mounts, as programs see them.

use nfslat_common::file_ops::op;
use serde::{Deserialize, Serialize};

use super::Histogram;

/// A kind of operation: the file system's functions behind system calls and page faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileOp {
    /// `read`, `pread`, `readv`, ...
    Read,
    /// `write`, `pwrite`, `writev`, ...
    Write,
    /// `open`.
    Open,
    /// `close`, where what was written is flushed.
    Flush,
    /// The last `close` of an open file.
    Release,
    /// `stat` and its kin.
    Getattr,
    /// A name looked up.
    Lookup,
    /// A name looked up before: is it still right?
    Revalidate,
    /// May this be done?
    Access,
    /// `readdir`.
    Readdir,
    /// `fsync` and `fdatasync`.
    Fsync,
    /// `chmod`, `truncate`, `utimes`, ...
    Setattr,
    /// A file is made.
    Create,
    /// A file is removed.
    Unlink,
    /// A folder is made.
    Mkdir,
    /// A folder is removed.
    Rmdir,
    /// `rename`.
    Rename,
    /// A page fault that reads a mapped file.
    Fault,
    /// A page fault that makes a page of a mapped file writable.
    Mkwrite,
}

impl FileOp {
    /// Every kind, in the order of [`nfslat_common::file_ops::op`].
    pub const ALL: [Self; op::COUNT] = [
        Self::Read,
        Self::Write,
        Self::Open,
        Self::Flush,
        Self::Release,
        Self::Getattr,
        Self::Lookup,
        Self::Revalidate,
        Self::Access,
        Self::Readdir,
        Self::Fsync,
        Self::Setattr,
        Self::Create,
        Self::Unlink,
        Self::Mkdir,
        Self::Rmdir,
        Self::Rename,
        Self::Fault,
        Self::Mkwrite,
    ];

    /// Its name in text, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Open => "open",
            Self::Flush => "flush",
            Self::Release => "release",
            Self::Getattr => "getattr",
            Self::Lookup => "lookup",
            Self::Revalidate => "revalidate",
            Self::Access => "access",
            Self::Readdir => "readdir",
            Self::Fsync => "fsync",
            Self::Setattr => "setattr",
            Self::Create => "create",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Rmdir => "rmdir",
            Self::Rename => "rename",
            Self::Fault => "fault",
            Self::Mkwrite => "mkwrite",
        }
    }
}

/// Operations of one kind by one process on one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOpSeries {
    /// Process id.
    pub pid: u32,
    /// Device number of the file system, major.
    pub dev_major: u32,
    /// Device number, minor.
    pub dev_minor: u32,
    /// The kind.
    pub op: FileOp,
}

/// Operations of one series that ended in one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOpSlice {
    /// Index into the recording's `file_op_series`.
    pub series: u32,
    /// Operations done.
    pub count: u64,
    /// Those in which the thread was blocked.
    pub waited: u64,
    /// Those that failed.
    pub failed: u64,
    /// Time from entry to return.
    pub total_ns: u64,
    /// The part of it in which the thread was blocked.
    pub blocked_ns: u64,
}

/// Latencies of one kind of operation on one file system, in one slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileOpTimes {
    /// Device number of the file system, major.
    pub dev_major: u32,
    /// Device number, minor.
    pub dev_minor: u32,
    /// The kind.
    pub op: FileOp,
    /// Of operations in which the thread was blocked, or of the others.
    pub waited: bool,
    /// From entry to return.
    pub histogram: Histogram,
}

/// An operation that was open when the window closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFileOp {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Device number of the file system, major.
    pub dev_major: u32,
    /// Device number, minor.
    pub dev_minor: u32,
    /// Inode number of the file.
    pub inode: u64,
    /// The kind.
    pub op: FileOp,
    /// Time since it began.
    pub age_ns: u64,
}

/// A file that threads were blocked on, over the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitedFile {
    /// Device number of the file system, major.
    pub dev_major: u32,
    /// Device number, minor.
    pub dev_minor: u32,
    /// Inode number.
    pub inode: u64,
    /// Its name without the folder, as the first operation had it; empty if not known.
    pub name: String,
    /// Operations in which a thread was blocked.
    pub waited: u64,
    /// Time in which threads were blocked.
    pub blocked_ns: u64,
}
