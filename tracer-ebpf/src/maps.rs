//! Every map of the kernel side. All are preallocated, so memory is bounded and known before the
//! run; user space sets the sizes (`capture::session`) and prints them.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use nfslat_common::{
    config::{Control, RpcOffsets},
    file_ops::{FileKey, FileOpBucketKey, FileOpKey, FileOpSums, FileSums, OpenFileOp},
    lock::{LockKey, LockScratch, LockSum, LockWaiter},
    loss::LOSS_KINDS,
    rpc::{
        ClientInfo, InFlightCall, RpcBucketKey, RpcErrorKey, RpcKey, RpcMakerKey, RpcMakerSum, RpcStandInKey, RpcStats,
        RpcStepKey, RpcStepSum, marked,
    },
    rpc_record::RpcRecordOffsets,
    sched::{
        KernelStack, Occupant, ThreadKey, ThreadState, UserStack, WaitBucketKey, WaitKey, WaitSum, WakeKey, WakeSum,
    },
};

/// The window.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Losses by kind.
#[map]
pub(crate) static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSS_KINDS as u32, 0);

/// A kind of loss that the CPU has just seen for the first time, plus 1; 0: none.
#[map]
pub(crate) static LOSS_TO_LOG: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// State and sums of every traced thread.
#[map]
pub(crate) static THREADS: HashMap<ThreadKey, ThreadState> = HashMap::with_max_entries(1, 0);

/// Where a new entry of it is put together; the two entries are as for [`SCRATCH_STACK`].
#[map]
pub(crate) static SCRATCH_THREAD: PerCpuArray<ThreadState> = PerCpuArray::with_max_entries(2, 0);

/// The thread that each CPU was last seen to switch to.
#[map]
pub(crate) static ON_CPU: PerCpuArray<Occupant> = PerCpuArray::with_max_entries(1, 0);

/// Processes of the traced command: it and its descendants.
#[map]
pub(crate) static TREE: HashMap<u32, u8> = HashMap::with_max_entries(16_384, 0);

/// Waits summed by thread, stacks and flags.
#[map]
pub(crate) static WAITS: HashMap<WaitKey, WaitSum> = HashMap::with_max_entries(1, 0);

/// Wait histograms by process, stack and flags: one entry for each bucket in use.
#[map]
pub(crate) static WAIT_BUCKETS: HashMap<WaitBucketKey, u64> = HashMap::with_max_entries(1, 0);

/// When long waits were ([`nfslat_common::sched::WaitSpan`]), until user space takes them.
#[map]
pub(crate) static SPANS: RingBuf = RingBuf::with_byte_size(4_096, 0);

/// Distinct kernel stacks by their hash.
#[map]
pub(crate) static STACKS: HashMap<u64, KernelStack> = HashMap::with_max_entries(1, 0);

/// Where a stack is walked to before it is hashed; see `probes::waits` for the two entries.
#[map]
pub(crate) static SCRATCH_STACK: PerCpuArray<KernelStack> = PerCpuArray::with_max_entries(2, 0);

/// Threads that wait for a lock, and who holds it.
#[map]
pub(crate) static LOCK_WAITERS: HashMap<ThreadKey, LockWaiter> = HashMap::with_max_entries(1, 0);

/// Lock waits summed by who waited where, and behind whom.
#[map]
pub(crate) static LOCK_HOLDERS: HashMap<LockKey, LockSum> = HashMap::with_max_entries(1, 0);

/// Where a lock wait is put together; the two entries are as for [`SCRATCH_STACK`].
#[map]
pub(crate) static SCRATCH_LOCK: PerCpuArray<LockScratch> = PerCpuArray::with_max_entries(2, 0);

/// Processes by the address of their mmap_lock.
#[map]
pub(crate) static MM_OWNERS: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// Where a thread's saved registers lie, from the start of its kernel stack; 0: not known.
#[map]
pub(crate) static PT_REGS_OFFSET: Array<u64> = Array::with_max_entries(1, 0);

/// Distinct user stacks by their hash.
#[map]
pub(crate) static USER_STACKS: HashMap<u64, UserStack> = HashMap::with_max_entries(1, 0);

/// Where a user stack is walked to before it is hashed.
#[map]
pub(crate) static SCRATCH_USER_STACK: PerCpuArray<UserStack> = PerCpuArray::with_max_entries(1, 0);

/// Who ended the long waits.
#[map]
pub(crate) static WAKES: HashMap<WakeKey, WakeSum> = HashMap::with_max_entries(1, 0);

/// Offsets of the NFS client's structures.
#[map]
pub(crate) static RPC_OFFSETS: Array<RpcOffsets> = Array::with_max_entries(1, 0);

/// Offsets in the record of a call, where those of the structures are not known.
#[map]
pub(crate) static RPC_RECORD_OFFSETS: Array<RpcRecordOffsets> = Array::with_max_entries(1, 0);

/// Calls summed by operation, client and transport.
#[map]
pub(crate) static RPC_STATS: PerCpuHashMap<RpcKey, RpcStats> = PerCpuHashMap::with_max_entries(1, 0);

/// The same, for the programs that stand in (`probes::stand_in`): one that was preempted may be in
/// the middle of changing an entry of its own.
#[map]
pub(crate) static RPC_STATS_STAND_IN: PerCpuHashMap<RpcStandInKey, RpcStats> = PerCpuHashMap::with_max_entries(1, 0);

/// Events that a program of a hook has seen and the last has not yet, by the address of the call's or the thread's task.
/// The value tells one event of a task from the next: the kernel uses the memory of a task again.
#[map]
pub(crate) static MARKS: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

/// How often another program of a hook has stood in for the first.
#[map]
pub(crate) static STOOD_IN: PerCpuArray<u64> = PerCpuArray::with_max_entries(marked::COUNT, 0);

/// Latency histograms: one entry for each bucket in use.
#[map]
pub(crate) static RPC_BUCKETS: HashMap<RpcBucketKey, u64> = HashMap::with_max_entries(1, 0);

/// Time that calls spent in the steps of their backlog and tail.
#[map]
pub(crate) static RPC_STEPS: HashMap<RpcStepKey, RpcStepSum> = HashMap::with_max_entries(1, 0);

/// Calls that ended with an error, by error.
#[map]
pub(crate) static RPC_ERRORS: HashMap<RpcErrorKey, u64> = HashMap::with_max_entries(1, 0);

/// Calls by who made them.
#[map]
pub(crate) static RPC_MAKERS: HashMap<RpcMakerKey, RpcMakerSum> = HashMap::with_max_entries(1, 0);

/// Calls that have begun and not ended, by address of their `rpc_task`.
#[map]
pub(crate) static IN_FLIGHT: HashMap<u64, InFlightCall> = HashMap::with_max_entries(1, 0);

/// RPC clients by id.
#[map]
pub(crate) static CLIENTS: HashMap<u32, ClientInfo> = HashMap::with_max_entries(4_096, 0);

/// Superblocks whose client is known, by address: the value is the client's address.
#[map]
pub(crate) static KNOWN_SUPERBLOCKS: HashMap<u64, u64> = HashMap::with_max_entries(4_096, 0);

/// Operations on NFS files that have begun and not ended, by thread.
#[map]
pub(crate) static OPEN_FILE_OPS: HashMap<ThreadKey, OpenFileOp> = HashMap::with_max_entries(1, 0);

/// Operations on NFS files, by process, file system and kind.
#[map]
pub(crate) static FILE_OPS: HashMap<FileOpKey, FileOpSums> = HashMap::with_max_entries(1, 0);

/// Their latency histograms: one entry for each bucket in use.
#[map]
pub(crate) static FILE_OP_BUCKETS: HashMap<FileOpBucketKey, u64> = HashMap::with_max_entries(1, 0);

/// NFS files that threads were blocked on.
#[map]
pub(crate) static FILES: HashMap<FileKey, FileSums> = HashMap::with_max_entries(1, 0);

/// The entry of a new file: zeros.
#[map]
pub(crate) static SCRATCH_FILE: PerCpuArray<FileSums> = PerCpuArray::with_max_entries(1, 0);
