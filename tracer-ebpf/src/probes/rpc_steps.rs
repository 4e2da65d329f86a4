//! Where a call waits before it is sent, and what passes after its reply is seen: `sunrpc:rpc_task_sleep`,
//! `rpc_task_wakeup`.
//!
//! A call that cannot go on sleeps on one of the RPC layer's queues, whose name says what for. The time is kept with the
//! call until it ends, and then added to the series it belongs to, which is known only then.

use aya_ebpf::{
    bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns, macros::raw_tracepoint, programs::RawTracePointContext,
};
use nfslat_common::{
    config::RpcOffsets,
    loss::LossKind,
    rpc::{InFlightCall, OP_NAME_LEN, RpcKey, RpcStepKey, RpcStepSum, part, step},
};

use crate::{
    atomic,
    kernel::read_at,
    loss,
    maps::{IN_FLIGHT, RPC_STEPS},
    probes::rpc::{add_to_histogram, call_goes_on, name_at, offsets},
    window,
};

/// A hook and its further programs: each does the same. Done once more it changes nothing, but for the time between two
/// programs.
macro_rules! repeated {
    ($tracepoint:literal, $work:ident: $($name:ident)*) => {$(
        #[raw_tracepoint(tracepoint = $tracepoint)]
        pub(crate) fn $name(ctx: RawTracePointContext) -> i32 {
            $work(&ctx);
            0
        }
    )*};
}

repeated!("rpc_task_sleep", call_sleeps:
    rpc_task_sleep rpc_task_sleep_second rpc_task_sleep_third rpc_task_sleep_fourth
    rpc_task_sleep_fifth rpc_task_sleep_sixth rpc_task_sleep_seventh rpc_task_sleep_eighth);
repeated!("rpc_task_wakeup", call_wakes:
    rpc_task_wakeup rpc_task_wakeup_second rpc_task_wakeup_third rpc_task_wakeup_fourth
    rpc_task_wakeup_fifth rpc_task_wakeup_sixth rpc_task_wakeup_seventh rpc_task_wakeup_eighth);

/// A call goes to sleep on a queue.
#[inline(always)]
fn call_sleeps(ctx: &RawTracePointContext) {
    let (Some(at), Some(offsets)) = (window::moment(), offsets()) else { return };
    let (task, queue): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    if at.closed() {
        return;
    }
    // SAFETY: a pointer from a map lookup.
    let is_known = |call: *mut InFlightCall| unsafe { (*call).sleeps_for } != InFlightCall::ENDED;
    if !IN_FLIGHT.get_ptr_mut(task as u64).is_some_and(is_known) {
        call_goes_on(task, offsets, at);
    }
    let Some(call) = IN_FLIGHT.get_ptr_mut(task as u64) else { return };
    let name = name_at(queue, offsets.queue_name);
    // SAFETY: a pointer from a map lookup; a task sleeps on one queue at a time.
    unsafe {
        (*call).queue = name;
        (*call).sleeps_for = purpose(&name, task, offsets);
        (*call).slept_ns = bpf_ktime_get_ns();
    }
}

/// A call is woken.
#[inline(always)]
fn call_wakes(ctx: &RawTracePointContext) {
    let Some(at) = window::moment() else { return };
    if at.closed() {
        return;
    }
    let Some(call) = IN_FLIGHT.get_ptr_mut(ctx.arg::<u64>(0)) else { return };
    // SAFETY: as above.
    let call = unsafe { &mut *call };
    let purpose = call.sleeps_for;
    if purpose == InFlightCall::ENDED {
        return;
    }
    call.sleeps_for = 0;
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if purpose == InFlightCall::FOR_REPLY {
        call.replied_ns = now_ns;
    } else if let Some(sum_ns) = call.waited_ns.get_mut((purpose as usize).wrapping_sub(1)) {
        *sum_ns += now_ns.saturating_sub(call.slept_ns);
    }
}

/// What a call sleeps for, as [`InFlightCall::sleeps_for`]: by the first letters of its queue's name, which no two
/// queues share (`rpc_init_wait_queue()` and `rpc_init_priority_wait_queue()` calls in net/sunrpc and fs/nfs, 5.10 to
/// 7.x). One that waits on "xprt_pending" waits for its reply if it has been sent, else for a connection. One that waits
/// on "delayq" does so because the server said so, or before it tries again to connect (`call_connect_status` and
/// `call_status`, `net/sunrpc/clnt.c`): then it has a request, and no reply to it.
#[inline(always)]
fn purpose(name: &[u8; OP_NAME_LEN], task: *const u8, offsets: &RpcOffsets) -> u32 {
    const fn word(letters: &[u8; 8]) -> u64 {
        u64::from_ne_bytes(*letters)
    }
    const FOR_SESSION_SLOT: u64 = word(b"ForeChan");
    const FOR_SLOT_4_0: u64 = word(b"NFSv4.0 ");
    const FOR_XPRT_SLOT: u64 = word(b"xprt_bac");
    const FOR_SEND_LOCK: u64 = word(b"xprt_sen");
    const FOR_PORT: u64 = word(b"xprt_bin");
    const FOR_REPLY_OR_CONNECTION: u64 = word(b"xprt_pen");
    const FOR_SECURITY: u64 = word(b"RPCSEC_G");
    const FOR_DELAY: u64 = word(b"delayq\0\0");
    const FOR_RECOVERY: u64 = word(b"NFS clie");
    const FOR_SEQUENCE: u64 = word(b"Seqid_wa");
    let request: *const u8 = read_at(task, offsets.task_rqst).unwrap_or(core::ptr::null());
    let [a, b, c, d, e, f, g, h, ..] = *name;
    let step = match u64::from_ne_bytes([a, b, c, d, e, f, g, h]) {
        FOR_SESSION_SLOT | FOR_SLOT_4_0 => step::SESSION_SLOT,
        FOR_XPRT_SLOT => step::XPRT_SLOT,
        FOR_SEND_LOCK => step::SEND_LOCK,
        FOR_PORT => step::CONNECT,
        FOR_REPLY_OR_CONNECTION => {
            let sent_ns: i64 = read_at(request, offsets.rqst_xtime).unwrap_or(0);
            if sent_ns != 0 {
                return InFlightCall::FOR_REPLY;
            }
            step::CONNECT
        }
        FOR_SECURITY => step::SECURITY,
        FOR_DELAY => match read_at::<u32>(request, offsets.rqst_bytes_received) {
            Some(0) => step::CONNECT,
            _ => step::DELAY,
        },
        FOR_RECOVERY => step::RECOVERY,
        FOR_SEQUENCE => step::SEQUENCE,
        _ => step::OTHER,
    };
    step as u32 + 1
}

/// A call is done: adds the time it spent in queues to its series.
#[inline(always)]
pub(super) fn add_queues(rpc: RpcKey, task: *const u8) {
    let Some(call) = IN_FLIGHT.get_ptr(task as u64) else { return };
    let mut step = 0;
    while step < step::QUEUES {
        // SAFETY: a pointer from a map lookup, and an index inside.
        let waited_ns = unsafe { (*call).waited_ns[step] };
        if waited_ns != 0 {
            add_step(rpc, step, waited_ns);
        }
        step += 1;
    }
}

/// Likewise the time after its reply was seen, if the end of its wait was. One whose reply was there before it went to
/// sleep has none.
#[inline(always)]
pub(super) fn add_after_reply(rpc: RpcKey, task: *const u8, seen_ns: u64, end_ns: u64) {
    let Some(call) = IN_FLIGHT.get_ptr(task as u64) else { return };
    // SAFETY: as above.
    let replied_ns = unsafe { (*call).replied_ns };
    if replied_ns >= seen_ns && end_ns >= replied_ns {
        add_step(rpc, step::RECEIVE, replied_ns - seen_ns);
        add_step(rpc, step::WAKE, end_ns - replied_ns);
    }
}

#[inline(always)]
fn add_step(rpc: RpcKey, step: usize, spent_ns: u64) {
    let key = RpcStepKey { rpc, step: step as u32 };
    if RPC_STEPS.get_ptr_mut(key).is_none() {
        let _ = RPC_STEPS.insert(key, RpcStepSum::default(), u64::from(BPF_NOEXIST));
    }
    let Some(sum) = RPC_STEPS.get_ptr_mut(key) else {
        loss::count(LossKind::RpcDetailFull);
        return;
    };
    // SAFETY: as above; CPUs share the entry, hence the atomics.
    unsafe {
        atomic::add(&raw mut (*sum).count, 1);
        atomic::add(&raw mut (*sum).total_ns, spent_ns);
    }
    add_to_histogram(rpc, part::COUNT + step, spent_ns);
}
