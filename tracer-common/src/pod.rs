//! On the user side: the promise to aya that these types are plain data.

use aya::Pod;

use crate::{
    config::{Control, RpcOffsets},
    file_ops::{FileKey, FileOpBucketKey, FileOpKey, FileOpSums, FileSums, OpenFileOp},
    lock::{LockKey, LockSum, LockWaiter},
    rpc::{
        ClientInfo, InFlightCall, RpcBucketKey, RpcErrorKey, RpcKey, RpcMakerKey, RpcMakerSum, RpcStandInKey, RpcStats,
        RpcStepKey, RpcStepSum,
    },
    rpc_record::RpcRecordOffsets,
    sched::{
        KernelStack, Occupant, ThreadKey, ThreadState, UserStack, WaitBucketKey, WaitKey, WaitSpan, WaitSum, WakeKey,
        WakeSum,
    },
};

macro_rules! plain_data {
    ($($type:ty),* $(,)?) => {
        // SAFETY: `repr(C)`, `Copy`, integers only, and no padding: their sizes are asserted.
        $(unsafe impl Pod for $type {})*
    };
}

plain_data!(
    ClientInfo,
    Control,
    FileKey,
    FileOpBucketKey,
    FileOpKey,
    FileOpSums,
    FileSums,
    InFlightCall,
    KernelStack,
    LockKey,
    LockSum,
    LockWaiter,
    Occupant,
    OpenFileOp,
    RpcBucketKey,
    RpcErrorKey,
    RpcKey,
    RpcMakerKey,
    RpcMakerSum,
    RpcOffsets,
    RpcRecordOffsets,
    RpcStandInKey,
    RpcStats,
    RpcStepKey,
    RpcStepSum,
    ThreadKey,
    ThreadState,
    UserStack,
    WaitBucketKey,
    WaitKey,
    WaitSpan,
    WaitSum,
    WakeKey,
    WakeSum,
);
