//! Everything the kernel side can fail to count, as numbered counters.
//!
//! The counters live in a per-CPU array; user space adds them up, prints them and keeps them in
//! the recording. A measurement with a non-zero counter is incomplete and is called so.

macro_rules! losses {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $meaning:literal;)*) => {
        /// A way to lose data on the kernel side.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum LossKind { $($(#[$doc])* $variant),* }

        impl LossKind {
            /// Every kind, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Short name, stable in recordings and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What one count means for the reader of the result.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

losses! {
    /// The thread table is full.
    ThreadTableFull = "thread-table-full",
        "scheduler events of threads that found no room in the thread table: their time is missing";
    /// The wait table is full.
    WaitTableFull = "wait-table-full",
        "waits that found no room in the wait table: their time is in the thread's total, but in no class";
    /// The wait histogram is full.
    WaitHistogramFull = "wait-histogram-full",
        "waits missing from the percentiles of a class; sums and maxima are not affected";
    /// The stack table is full.
    StackTableFull = "stack-table-full",
        "stacks that found no room: their waits are counted, with class unknown";
    /// The kernel gave no stack for a wait.
    StackWalkFailed = "stack-walk-failed",
        "waits whose kernel stack could not be walked: counted, with class unknown";
    /// A stack deeper than we keep.
    StackTruncated = "stack-truncated",
        "stacks deeper than the limit: the outermost frames are cut off";
    /// The RPC series table is full.
    RpcSeriesFull = "rpc-series-full",
        "calls of a new operation, mount or transport that found no room: not counted at all";
    /// The RPC histogram is full.
    RpcHistogramFull = "rpc-histogram-full",
        "calls missing from the latency percentiles; counts and sums are not affected";
    /// The table of steps, that of errors, or that of makers is full.
    RpcDetailFull = "rpc-detail-full",
        "calls whose errors, whose makers, or whose time in queues before sending and after the reply, found no room; counts and latencies are not affected";
    /// A table of operations on files is full.
    FileOpsFull = "file-ops-full",
        "operations on files that found no room: they are missing from the file operations, their percentiles, or the files";
    /// The table of calls in flight is full.
    InFlightFull = "in-flight-full",
        "calls that could not be followed while outstanding; if still open at the end they are not listed";
    /// A thread began to wait for a lock while it was still noted as waiting for another.
    StaleLock = "stale-lock",
        "lock waits whose end the kernel did not report: waits of the thread between then and its next lock wait may be shown as that lock's";
    /// It could not be told whether a thread still waited for a lock.
    LockCheckFailed = "lock-check-failed",
        "waits of threads that last contended for a lock, where it could not be told whether they still did: they are classed by their stack";
    /// The table of lock holders is full.
    LockTableFull = "lock-table-full",
        "lock waits whose holder found no room: the waits are counted, without who held the lock";
    /// The table of address spaces is full.
    AddressSpacesFull = "address-spaces-full",
        "processes whose mmap_lock could not be noted: a wait of another process for it may be shown as one for some rwsem";
    /// The table of marks is full.
    MarkTableFull = "mark-table-full",
        "calls that may have been counted twice, because it could not be noted that they were counted";
    /// Reading a kernel structure failed.
    KernelReadFailed = "kernel-read-failed",
        "kernel structures that could not be read: the call is not counted";
    /// A new client found no room in the client table.
    ClientTableFull = "client-table-full",
        "RPC clients whose mount could not be noted: their calls are shown without a mount point";
    /// A thread left or got a CPU in a state from which it could not.
    StateMismatch = "state-mismatch",
        "scheduler events that did not fit the state last seen of a thread, so one before it was missed: the time between is not attributed";
    /// A switch to a thread went unreported.
    UnseenSwitch = "unseen-switch",
        "switches that the kernel did not report: the thread's time on CPU is taken from the scheduler's statistics, and what it waited for last is not known";
    /// A blocked thread got a CPU without having been woken.
    MissedWakeup = "missed-wakeup",
        "waits whose wake-up the kernel did not report: their end is taken from the scheduler's statistics where it has them";
    /// The table of user stacks is full.
    UserStackTableFull = "user-stack-table-full",
        "user stacks that found no room: their waits are counted, without a user stack";
    /// The table of wakers is full.
    WakeTableFull = "wake-table-full",
        "ends of long waits that found no room in the table of wakers";
    /// The ring buffer that tells when waits were is full.
    WaitSpanLost = "wait-span-lost",
        "waits of which it could not be kept when they were: the share of the window in which some thread waited is a lower bound then";
}

/// Number of loss counters.
pub const LOSS_KINDS: usize = LossKind::ALL.len();
