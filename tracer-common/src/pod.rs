//! On the user side: the promise to aya that these types are plain data.

use aya::Pod;

use crate::{
    config::{Control, RpcOffsets},
    lock::{LockKey, LockSum, LockWaiter},
    rpc::{
        ClientInfo, InFlightCall, RpcBucketKey, RpcErrorKey, RpcKey, RpcStandInKey, RpcStats, RpcStepKey, RpcStepSum,
    },
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
    InFlightCall,
    KernelStack,
    LockKey,
    LockSum,
    LockWaiter,
    Occupant,
    RpcBucketKey,
    RpcErrorKey,
    RpcKey,
    RpcOffsets,
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
