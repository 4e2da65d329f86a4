//! What a thread can wait for.

use serde::{Serialize, Serializer};

/// The part of the machine a wait belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// NFS and other network filesystems, block devices, journals, writeback, swap-in, ZFS.
    Storage,
    /// The lock of an address space (mmap_lock) or of a part of it (per-VMA lock).
    MemoryLock,
    /// Reclaim, compaction, memory limits.
    Memory,
    /// Ready to run, waiting for a CPU.
    Cpu,
    /// Other kernel locks, and waits for other kernel threads' work.
    OtherLock,
    /// Locks and conditions of user programs.
    Futex,
    /// Sockets.
    Network,
    /// Nothing to do: poll, sleep, pipes, children, kernel threads without work.
    Idle,
    /// Not recognised, or too short to look.
    Unknown,
}

impl Group {
    /// Every group, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Storage,
        Self::MemoryLock,
        Self::Memory,
        Self::Cpu,
        Self::OtherLock,
        Self::Futex,
        Self::Network,
        Self::Idle,
        Self::Unknown,
    ];

    /// Name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::MemoryLock => "memory_lock",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::OtherLock => "other_lock",
            Self::Futex => "futex",
            Self::Network => "network",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
        }
    }

    /// Name in text.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::MemoryLock => "memory lock",
            Self::Cpu => "cpu queue",
            Self::OtherLock => "other lock",
            _ => self.name(),
        }
    }

    /// True if time in it is a stall: the thread had work and could not do it for a reason that
    /// lies in the machine. Futexes and sockets may as well be a worker waiting for its next job.
    #[must_use]
    pub const fn is_stall(self) -> bool {
        matches!(self, Self::Storage | Self::MemoryLock | Self::Memory | Self::Cpu | Self::OtherLock)
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

macro_rules! classes {
    ($($variant:ident = $name:literal in $group:ident, $waits_for:literal;)*) => {
        /// What a wait is for. A blocked thread is in exactly one class.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Class {
            $(#[doc = $waits_for] $variant),*
        }

        impl Class {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Name, stable in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Its group.
            #[must_use]
            pub const fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group),* }
            }

            /// What it waits for, in words that follow "waits for".
            #[must_use]
            pub const fn waits_for(self) -> &'static str {
                match self { $(Self::$variant => $waits_for),* }
            }
        }
    };
}

classes! {
    NfsRpc = "nfs-rpc" in Storage, "an NFS call to be answered";
    NfsDirect = "nfs-direct" in Storage, "an NFS read or write that bypasses the page cache (O_DIRECT)";
    NfsPage = "nfs-page" in Storage, "a page to be read from or written to NFS";
    NfsCommit = "nfs-commit" in Storage, "an NFS server to commit written data";
    NfsDelay = "nfs-delay" in Storage, "an NFS server that asked to be asked again later (delay, grace period)";
    NfsRecovery = "nfs-recovery" in Storage, "the recovery of NFS client state (lease, session)";
    NfsOther = "nfs-other" in Storage, "something inside the NFS client";
    NfsServer = "nfs-server" in Storage, "the NFS server on this machine, waiting for its own clients or disk cache";
    Smb = "smb" in Storage, "an SMB server";
    Ceph = "ceph" in Storage, "a Ceph cluster";
    NineP = "9p" in Storage, "a 9p server";
    Fuse = "fuse" in Storage, "a FUSE or virtiofs server";
    NetFs = "network-fs" in Storage, "a server of another network or cluster filesystem";
    Zfs = "zfs" in Storage, "ZFS";
    Journal = "journal" in Storage, "a filesystem journal";
    DirtyThrottle = "dirty-throttle" in Storage, "dirty pages to be written back before it may write more";
    Writeback = "writeback" in Storage, "pages to be written back";
    SwapIn = "swap-in" in Storage, "a page to come back from swap";
    FileFault = "file-fault" in Storage, "a page of a mapped file (on a local filesystem, or one that is not known)";
    PageRead = "page-read" in Storage, "a page of a file to be read or unlocked";
    Block = "block" in Storage, "a block device";
    IoWait = "io-wait" in Storage, "I/O, by the kernel's own accounting (iowait)";
    MmapLock = "mmap-lock" in MemoryLock, "the lock of an address space (mmap_lock)";
    VmaLock = "vma-lock" in MemoryLock, "the lock of one mapping (per-VMA lock)";
    Reclaim = "reclaim" in Memory, "memory to be reclaimed";
    Compaction = "compaction" in Memory, "memory to be compacted or a page to be moved";
    MemcgThrottle = "memcg-throttle" in Memory, "a memory cgroup above its limit";
    UserFault = "user-fault" in Memory, "a page that a user process has to supply (userfaultfd)";
    MemStall = "mem-stall" in Memory, "memory, by the kernel's own accounting (memstall)";
    RwSemaphore = "rwsem" in OtherLock, "a kernel reader-writer lock";
    Mutex = "mutex" in OtherLock, "a kernel mutex";
    Semaphore = "semaphore" in OtherLock, "a kernel semaphore";
    RtMutex = "rt-mutex" in OtherLock, "a kernel lock with priority inheritance";
    FileLock = "file-lock" in OtherLock, "a lock that another process holds on a file";
    Rcu = "rcu" in OtherLock, "an RCU grace period";
    KernelWork = "kernel-work" in OtherLock, "work handed to a kernel thread";
    FutexWait = "futex" in Futex, "a user-space lock or condition";
    SysvIpc = "sysv-ipc" in Futex, "a System V semaphore or message";
    NetAccept = "net-accept" in Network, "a connection to accept";
    NetConnect = "net-connect" in Network, "a connection to be made";
    NetReceive = "net-receive" in Network, "data from a socket";
    NetSend = "net-send" in Network, "room to send";
    NetLock = "net-lock" in Network, "a socket that another thread is using";
    UnixSocket = "unix-socket" in Network, "a process on this machine, over a Unix or vsock socket";
    Poll = "poll" in Idle, "any of several files to be ready";
    Sleep = "sleep" in Idle, "time to pass";
    Signal = "signal" in Idle, "a signal";
    Child = "child" in Idle, "a child process";
    Pipe = "pipe" in Idle, "a pipe";
    Terminal = "terminal" in Idle, "a terminal";
    EventRead = "event-read" in Idle, "an event file (eventfd, timerfd, inotify, ...)";
    IoUring = "io-uring" in Idle, "an io_uring completion (which may be I/O: the stack does not say)";
    Aio = "aio" in Idle, "an asynchronous I/O completion (the stack does not say which)";
    GuestIdle = "guest-idle" in Idle, "work for a virtual CPU";
    Stopped = "stopped" in Idle, "a debugger, job control or the freezer to let it go on";
    KernelIdle = "kernel-idle" in Idle, "work for a kernel thread";
    Short = "short" in Unknown, "something for less than the threshold (no stack taken)";
    NoStack = "no-stack" in Unknown, "something without a stack";
    Unattributed = "unattributed" in Unknown, "something that was lost (see losses)";
    Unknown = "unknown" in Unknown, "something not recognised by its stack";
}

impl Class {
    /// The class of a wait for a page of a mapped file on a file system of this type.
    #[must_use]
    pub fn of_fault_on(kind: &str) -> Self {
        match kind {
            "nfs" | "nfs4" => Self::NfsPage,
            "cifs" | "smb3" => Self::Smb,
            "ceph" => Self::Ceph,
            "9p" => Self::NineP,
            "zfs" => Self::Zfs,
            "fuse" | "fuseblk" | "virtiofs" => Self::Fuse,
            kind if kind.starts_with("fuse.") => Self::Fuse,
            "lustre" | "gfs2" | "ocfs2" | "afs" | "beegfs" | "gpfs" => Self::NetFs,
            _ => Self::FileFault,
        }
    }

    /// True for waits inside the NFS client.
    #[must_use]
    pub const fn is_nfs(self) -> bool {
        matches!(
            self,
            Self::NfsRpc
                | Self::NfsDirect
                | Self::NfsPage
                | Self::NfsCommit
                | Self::NfsDelay
                | Self::NfsRecovery
                | Self::NfsOther
        )
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
