//! Operations on files of NFS mounts, as programs see them: from the entry of the file system's function to its return.

/// Kinds of operations; they number [`FileOpKey::op`].
pub mod op {
    /// `read`, `pread`, `readv`, ...
    pub const READ: u32 = 0;
    /// `write`, `pwrite`, `writev`, ...
    pub const WRITE: u32 = 1;
    /// `open`.
    pub const OPEN: u32 = 2;
    /// `close`, where what was written is flushed.
    pub const FLUSH: u32 = 3;
    /// The last `close` of an open file.
    pub const RELEASE: u32 = 4;
    /// `stat` and its kin.
    pub const GETATTR: u32 = 5;
    /// A name looked up.
    pub const LOOKUP: u32 = 6;
    /// A name looked up before: is it still right?
    pub const REVALIDATE: u32 = 7;
    /// May this be done?
    pub const ACCESS: u32 = 8;
    /// `readdir`.
    pub const READDIR: u32 = 9;
    /// `fsync` and `fdatasync`.
    pub const FSYNC: u32 = 10;
    /// `chmod`, `truncate`, `utimes`, ...
    pub const SETATTR: u32 = 11;
    /// A file is made.
    pub const CREATE: u32 = 12;
    /// A file is removed.
    pub const UNLINK: u32 = 13;
    /// A folder is made.
    pub const MKDIR: u32 = 14;
    /// A folder is removed.
    pub const RMDIR: u32 = 15;
    /// `rename`.
    pub const RENAME: u32 = 16;
    /// A page fault that reads a mapped file.
    pub const FAULT: u32 = 17;
    /// A page fault that makes a page of a mapped file writable.
    pub const MKWRITE: u32 = 18;
    /// Number of kinds.
    pub const COUNT: usize = 19;
}

/// What the argument is that leads to the file; see [`Hook::cookie`].
pub mod object {
    /// `struct inode *`.
    pub const INODE: u32 = 0;
    /// `struct file *`.
    pub const FILE: u32 = 1;
    /// `struct kiocb *`.
    pub const KIOCB: u32 = 2;
    /// `struct dentry *`.
    pub const DENTRY: u32 = 3;
    /// `const struct path *`.
    pub const PATH: u32 = 4;
    /// `struct vm_fault *`.
    pub const VM_FAULT: u32 = 5;
    /// `struct dentry *` of something in the folder that is meant.
    pub const PARENT: u32 = 6;
}

/// What the programs at a function know of it: its number, what it does, and which argument leads to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Number of the function.
    pub function: u32,
    /// One of [`op`].
    pub op: u32,
    /// One of [`object`].
    pub object: u32,
    /// Number of the argument.
    pub argument: u32,
}

impl Hook {
    /// As the kernel hands it to the program: the cookie of its link.
    #[must_use]
    pub const fn cookie(self) -> u64 {
        self.function as u64 | (self.op as u64) << 8 | (self.object as u64) << 16 | (self.argument as u64) << 24
    }

    /// Back from a cookie.
    #[inline(always)]
    #[must_use]
    pub const fn of(cookie: u64) -> Self {
        Self {
            function: cookie as u32 & 0xff,
            op: (cookie >> 8) as u32 & 0xff,
            object: (cookie >> 16) as u32 & 0xff,
            argument: (cookie >> 24) as u32 & 0xff,
        }
    }
}

/// `s_magic` of an NFS superblock (`include/uapi/linux/magic.h`).
pub const NFS_SUPER_MAGIC: u64 = 0x6969;

/// An operation that has begun and not ended; its key is the [`ThreadKey`](crate::sched::ThreadKey).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenFileOp {
    /// When it began (CLOCK_MONOTONIC).
    pub begin_ns: u64,
    /// Time that the thread had been blocked until then.
    pub blocked_ns: u64,
    /// Inode number.
    pub inode: u64,
    /// Address of the file's name (`struct dentry`); 0: not known.
    pub dentry: u64,
    /// Process.
    pub tgid: u32,
    /// `super_block.s_dev`.
    pub device: u32,
    /// One of [`op`].
    pub op: u32,
    /// [`Hook::function`].
    pub function: u32,
}
const _: () = assert!(size_of::<OpenFileOp>() == 48);

/// Operations of one kind, by one process, on one file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FileOpKey {
    /// Process.
    pub tgid: u32,
    /// `super_block.s_dev`.
    pub device: u32,
    /// One of [`op`].
    pub op: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<FileOpKey>() == 16);

/// Their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileOpSums {
    /// Operations done.
    pub count: u64,
    /// Those in which the thread was blocked. The others had all they needed in the cache.
    pub waited: u64,
    /// Those that failed.
    pub failed: u64,
    /// Time from entry to return.
    pub total_ns: u64,
    /// The part of it in which the thread was blocked.
    pub blocked_ns: u64,
}
const _: () = assert!(size_of::<FileOpSums>() == 40);

/// A bucket of the latencies of one kind of operation on one file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FileOpBucketKey {
    /// `super_block.s_dev`.
    pub device: u32,
    /// One of [`op`].
    pub op: u8,
    /// 1: the thread was blocked.
    pub waited: u8,
    /// See [`crate::buckets`].
    pub bucket: u16,
}
const _: () = assert!(size_of::<FileOpBucketKey>() == 8);

/// A file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FileKey {
    /// Inode number.
    pub inode: u64,
    /// `super_block.s_dev`.
    pub device: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<FileKey>() == 16);

/// Longest name of a file kept, with a 0.
pub const FILE_NAME_LEN: usize = 64;

/// Operations on one file in which a thread was blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileSums {
    /// Operations.
    pub waited: u64,
    /// Time in which the threads were blocked.
    pub blocked_ns: u64,
    /// The file's name without its folder, as the first of them that had one; empty: not known.
    pub name: [u8; FILE_NAME_LEN],
}
const _: () = assert!(size_of::<FileSums>() == 80);
