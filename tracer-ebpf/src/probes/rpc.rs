//! Remote procedure calls: `sunrpc:rpc_stats_latency`, `rpc_task_begin`, `rpc_task_end`; what they do in between is
//! in `rpc_steps`.
//!
//! Raw tracepoints, because sunrpc is a module: they resolve its hooks by name and hand over the
//! arguments in nanoseconds (the formatted record has microseconds). `rpc_stats_latency` fires
//! once per attempt from `rpc_count_iostats_metrics` (`net/sunrpc/stats.c`, 5.10 to 7.x), where
//! `/proc/self/mountstats` is counted too, so the two must agree exactly.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_get_current_task, bpf_probe_read_kernel_str},
    },
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use nfslat_common::{
    buckets,
    config::RpcOffsets,
    loss::LossKind,
    rpc::{
        InFlightCall, NO_XPRT, OP_NAME_LEN, PartSum, RpcBucketKey, RpcErrorKey, RpcKey, RpcMakerKey, RpcMakerSum,
        RpcStandInKey, RpcStats, marked, part, step,
    },
};

use crate::{
    atomic,
    kernel::{self, read_at},
    loss,
    maps::{IN_FLIGHT, RPC_BUCKETS, RPC_ERRORS, RPC_MAKERS, RPC_OFFSETS, RPC_STATS, RPC_STATS_STAND_IN},
    probes::{
        clients, rpc_steps,
        stand_in::{self, Place},
    },
    window::{self, Moment},
};

/// The offsets, once user space has filled them in.
#[inline(always)]
pub(super) fn offsets() -> Option<&'static RpcOffsets> {
    RPC_OFFSETS.get(0).filter(|offsets| offsets.ready != 0)
}

/// When the call of an event began, by the kernel's own clock; 0 if it cannot be read.
#[inline(always)]
fn began_ns(ctx: &RawTracePointContext) -> u64 {
    offsets().and_then(|offsets| read_at(ctx.arg::<*const u8>(0), offsets.task_start)).unwrap_or(0)
}

/// Further programs of a hook: each does the work if every one before it was left out. With the name of each, its
/// place among them.
macro_rules! stand_ins {
    (($hook:expr, $tracepoint:literal) $($name:ident ($place:ident): |$ctx:ident| $work:expr;)*) => {$(
        #[raw_tracepoint(tracepoint = $tracepoint)]
        pub(crate) fn $name($ctx: RawTracePointContext) -> i32 {
            let $ctx = &$ctx;
            if stand_in::is_needed($hook, $ctx.arg(0), began_ns($ctx), Place::$place) {
                $work;
            }
            0
        }
    )*};
}

/// The program that the others stand in for.
pub(super) const FIRST: u32 = 0;

/// A call is done: adds its times to its series.
#[raw_tracepoint(tracepoint = "rpc_stats_latency")]
pub(crate) fn rpc_stats_latency(ctx: RawTracePointContext) -> i32 {
    stand_in::mark(marked::STATS, ctx.arg(0), began_ns(&ctx));
    call_done(&ctx, FIRST);
    loss::log(&ctx);
    0
}

stand_ins! {
    (marked::STATS, "rpc_stats_latency")
    rpc_stats_latency_second (Between): |ctx| call_done(ctx, 1);
    rpc_stats_latency_third (Between): |ctx| call_done(ctx, 2);
    rpc_stats_latency_fourth (Between): |ctx| call_done(ctx, 3);
    rpc_stats_latency_fifth (Between): |ctx| call_done(ctx, 4);
    rpc_stats_latency_sixth (Between): |ctx| call_done(ctx, 5);
    rpc_stats_latency_seventh (Between): |ctx| call_done(ctx, 6);
    rpc_stats_latency_eighth (Last): |ctx| call_done(ctx, 7);
}

#[inline(always)]
fn call_done(ctx: &RawTracePointContext, program: u32) {
    let (Some(at), Some(offsets)) = (window::moment(), offsets()) else { return };
    if at.closed() {
        return;
    }
    if count_call(ctx, program, offsets).is_none() {
        loss::count(LossKind::KernelReadFailed);
    }
    let _ = IN_FLIGHT.remove(ctx.arg::<u64>(0));
}

#[inline(always)]
fn count_call(ctx: &RawTracePointContext, program: u32, offsets: &RpcOffsets) -> Option<()> {
    let task: *const u8 = ctx.arg(0);
    let (backlog_ns, rtt_ns, execute_ns): (i64, i64, i64) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    let rqst: *const u8 = read_at(task, offsets.task_rqst)?;
    let procedure: *const u8 = read_at(task, offsets.task_proc)?;
    let mut key = key_of(task, procedure, offsets)?;
    key.xprt_id = xprt_of(rqst, offsets);
    let status: i32 = read_at(task, offsets.task_status)?;
    let transmitted: i64 = read_at(rqst, offsets.rqst_xtime)?;
    let transmissions: u32 = read_at(rqst, offsets.rqst_ntrans)?;
    key.resent = u32::from(transmissions > 1);
    let bytes_sent: u32 = read_at(rqst, offsets.rqst_bytes_sent)?;
    let bytes_received: u32 = read_at(rqst, offsets.rqst_bytes_received)?;
    let timeouts: u16 = read_at(task, offsets.task_timeouts).unwrap_or(0);

    if sums_of(program, key).is_none() {
        add_series(program, key, procedure, offsets);
    }
    let Some(stats) = sums_of(program, key) else {
        loss::count(LossKind::RpcSeriesFull);
        return Some(());
    };
    // SAFETY: a pointer from a map lookup, valid for the run of the program; the entry is this
    // CPU's own.
    let stats = unsafe { &mut *stats };
    stats.count += 1;
    stats.errors += u64::from(status < 0);
    stats.retransmitted += u64::from(transmissions > 1);
    // The kernel counts at least one transmission per call in mountstats; here it is what it is.
    stats.transmissions += u64::from(transmissions);
    stats.timeouts += u64::from(timeouts);
    stats.bytes_sent += u64::from(bytes_sent);
    stats.bytes_received += u64::from(bytes_received);

    if status < 0 {
        add_error(key, status);
    }
    add_maker(key, task, execute_ns);
    let first = stats.count == 1;
    add_part(&mut stats.parts[part::EXECUTE], key, part::EXECUTE, execute_ns, first);
    if transmitted == 0 {
        stats.unsent += 1;
        rpc_steps::add_queues(key, task);
        return Some(());
    }
    let first = stats.count - stats.unsent == 1;
    let tail_ns = execute_ns - backlog_ns - rtt_ns;
    add_part(&mut stats.parts[part::BACKLOG], key, part::BACKLOG, backlog_ns, first);
    add_part(&mut stats.parts[part::RTT], key, part::RTT, rtt_ns, first);
    add_part(&mut stats.parts[part::TAIL], key, part::TAIL, tail_ns, first);
    rpc_steps::add_queues(key, task);
    // By the kernel's own stamps, as the parts are.
    let seen_ns = (transmitted + rtt_ns) as u64;
    rpc_steps::add_after_reply(key, task, seen_ns, seen_ns + tail_ns as u64);
    Some(())
}

/// Counts an error by its name.
#[inline(always)]
fn add_error(rpc: RpcKey, status: i32) {
    let key = RpcErrorKey { rpc, status };
    if RPC_ERRORS.get_ptr_mut(key).is_none() {
        let _ = RPC_ERRORS.insert(key, 0u64, u64::from(BPF_NOEXIST));
    }
    match RPC_ERRORS.get_ptr_mut(key) {
        // SAFETY: a pointer from a map lookup; CPUs share the entry, hence the atomic.
        Some(count) => unsafe { atomic::add(count, 1) },
        None => loss::count(LossKind::RpcDetailFull),
    }
}

/// Counts a call for who made it.
#[inline(always)]
fn add_maker(rpc: RpcKey, task: *const u8, execute_ns: i64) {
    // SAFETY: a pointer from a map lookup.
    let maker = IN_FLIGHT.get_ptr(task as u64).map_or(RpcMakerKey::UNKNOWN, |call| unsafe { (*call).maker });
    let key = RpcMakerKey { rpc, maker };
    if RPC_MAKERS.get_ptr_mut(key).is_none() {
        let _ = RPC_MAKERS.insert(key, RpcMakerSum::default(), u64::from(BPF_NOEXIST));
    }
    let Some(sum) = RPC_MAKERS.get_ptr_mut(key) else { return loss::count(LossKind::RpcDetailFull) };
    // SAFETY: as above; CPUs share the entry, hence the atomics.
    unsafe {
        atomic::add(&raw mut (*sum).count, 1);
        atomic::add(&raw mut (*sum).execute_ns, if execute_ns < 0 { 0 } else { execute_ns as u64 });
    }
}

/// Adds one value to the sum of a part and to its histogram. Negative values (clock steps, or
/// times restarted by the kernel) stay in the sum and are counted apart.
#[inline(always)]
pub(super) fn add_part(sum: &mut PartSum, rpc: RpcKey, part: usize, value_ns: i64, first: bool) {
    sum.sum_ns += value_ns;
    if value_ns < 0 {
        sum.negative += 1;
    }
    let clamped_ns = if value_ns < 0 { 0 } else { value_ns as u64 };
    if first || clamped_ns < sum.min_ns {
        sum.min_ns = clamped_ns;
    }
    if clamped_ns > sum.max_ns {
        sum.max_ns = clamped_ns;
    }
    add_to_histogram(rpc, part, clamped_ns);
}

/// Counts a value in a histogram: of a part, or of [`part::COUNT`] and a step.
#[inline(always)]
pub(super) fn add_to_histogram(rpc: RpcKey, part: usize, value_ns: u64) {
    let key = RpcBucketKey { rpc, part: part as u16, bucket: buckets::bucket_of(value_ns) };
    if RPC_BUCKETS.get_ptr_mut(key).is_none() {
        let _ = RPC_BUCKETS.insert(key, 0u64, u64::from(BPF_NOEXIST));
    }
    match RPC_BUCKETS.get_ptr_mut(key) {
        // SAFETY: as in `count_call`, but CPUs share the entry, hence the atomic.
        Some(count) => unsafe { atomic::add(count, 1) },
        None => loss::count(LossKind::RpcHistogramFull),
    }
}

#[inline(always)]
fn add_series(program: u32, rpc: RpcKey, procedure: *const u8, offsets: &RpcOffsets) {
    let fresh = RpcStats { name: name_at(procedure, offsets.proc_name), ..RpcStats::default() };
    let flags = u64::from(BPF_NOEXIST);
    // A failure is a full table; the look-up that follows tells.
    let _ = match program {
        FIRST => RPC_STATS.insert(rpc, fresh, flags),
        _ => RPC_STATS_STAND_IN.insert(RpcStandInKey { rpc, program }, fresh, flags),
    };
}

/// The sums of a series that a program keeps.
#[inline(always)]
pub(super) fn sums_of(program: u32, rpc: RpcKey) -> Option<*mut RpcStats> {
    match program {
        FIRST => RPC_STATS.get_ptr_mut(rpc),
        _ => RPC_STATS_STAND_IN.get_ptr_mut(RpcStandInKey { rpc, program }),
    }
}

/// A call begins, in the context of its maker, even when it runs asynchronously later.
#[raw_tracepoint(tracepoint = "rpc_task_begin")]
pub(crate) fn rpc_task_begin(ctx: RawTracePointContext) -> i32 {
    stand_in::mark(marked::BEGIN, ctx.arg(0), began_ns(&ctx));
    call_begins(&ctx)
}

stand_ins! {
    (marked::BEGIN, "rpc_task_begin")
    rpc_task_begin_second (Between): |ctx| call_begins(ctx);
    rpc_task_begin_third (Between): |ctx| call_begins(ctx);
    rpc_task_begin_fourth (Between): |ctx| call_begins(ctx);
    rpc_task_begin_fifth (Between): |ctx| call_begins(ctx);
    rpc_task_begin_sixth (Between): |ctx| call_begins(ctx);
    rpc_task_begin_seventh (Between): |ctx| call_begins(ctx);
    rpc_task_begin_eighth (Last): |ctx| call_begins(ctx);
}

#[inline(always)]
fn call_begins(ctx: &RawTracePointContext) -> i32 {
    let (Some(at), Some(offsets)) = (window::moment(), offsets()) else { return 0 };
    let task: *const u8 = ctx.arg(0);
    if at.closed() {
        return 0;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: the helper has no preconditions.
    let current = unsafe { bpf_get_current_task() } as *const u8;
    let counted_as = if kernel::is_kernel_thread_at(current) { RpcMakerKey::KERNEL } else { tgid };
    let maker = Maker { tgid, tid: pid_tgid as u32, comm: bpf_get_current_comm().unwrap_or_default(), counted_as };
    // SAFETY: the helper has no preconditions.
    note_open(task, offsets, unsafe { bpf_ktime_get_ns() }, maker);
    0
}

/// Who made a call.
struct Maker {
    tgid: u32,
    tid: u32,
    comm: [u8; 16],
    /// As [`RpcMakerKey::maker`].
    counted_as: u32,
}

/// Adds a call to those that are open.
#[inline(always)]
fn note_open(task: *const u8, offsets: &RpcOffsets, begin_ns: u64, maker: Maker) {
    let Some(procedure) = read_at::<*const u8>(task, offsets.task_proc) else { return };
    // Tasks without a procedure are not calls (for example delayed reconnects).
    let Some(rpc) = key_of(task, procedure, offsets) else { return };
    let call = InFlightCall {
        rpc,
        begin_ns,
        tgid: maker.tgid,
        tid: maker.tid,
        comm: maker.comm,
        name: name_at(procedure, offsets.proc_name),
        queue: [0; OP_NAME_LEN],
        sleeps_for: 0,
        slept_ns: 0,
        replied_ns: 0,
        waited_ns: [0; step::QUEUES],
        maker: maker.counted_as,
        pad: 0,
    };
    if IN_FLIGHT.insert(task as u64, call, u64::from(BPF_ANY)).is_err() {
        loss::count(LossKind::InFlightFull);
    }
}

/// A call that sleeps is open, whatever was seen of it: one that the server asked to try again later had an end
/// (`rpc_exit_task`, `net/sunrpc/sched.c`, and `rpc_restart_call` in what that calls) and has no new begin. Whose
/// call it is is not known here. Calls from before the window are listed by user space.
#[inline(always)]
pub(super) fn call_goes_on(task: *const u8, offsets: &RpcOffsets, at: Moment) {
    let began_ns: u64 = read_at(task, offsets.task_start).unwrap_or(0);
    if began_ns >= at.start_ns {
        note_open(task, offsets, began_ns, Maker { tgid: 0, tid: 0, comm: [0; 16], counted_as: RpcMakerKey::UNKNOWN });
    }
}

/// A call is done, or one attempt at it.
#[raw_tracepoint(tracepoint = "rpc_task_end")]
pub(crate) fn rpc_task_end(ctx: RawTracePointContext) -> i32 {
    stand_in::mark(marked::END, ctx.arg(0), began_ns(&ctx));
    call_ends(&ctx)
}

stand_ins! {
    (marked::END, "rpc_task_end")
    rpc_task_end_second (Between): |ctx| call_ends(ctx);
    rpc_task_end_third (Between): |ctx| call_ends(ctx);
    rpc_task_end_fourth (Between): |ctx| call_ends(ctx);
    rpc_task_end_fifth (Between): |ctx| call_ends(ctx);
    rpc_task_end_sixth (Between): |ctx| call_ends(ctx);
    rpc_task_end_seventh (Between): |ctx| call_ends(ctx);
    rpc_task_end_eighth (Last): |ctx| call_ends(ctx);
}

#[inline(always)]
fn call_ends(ctx: &RawTracePointContext) -> i32 {
    // Not stopped by the end of the window: user space reads the table a moment later, and what
    // has ended by then was open at the end all the same. So keep what the window closed over.
    let (Some(at), Some(offsets)) = (window::moment(), offsets()) else { return 0 };
    if at.closed() {
        return 0;
    }
    let task: *const u8 = ctx.arg(0);
    // `rpc_exit_task` (`net/sunrpc/sched.c`) reports the end first, and then has the call counted, unless it never got
    // as far as having a request. What is known of it is needed for that.
    let request: *const u8 = read_at(task, offsets.task_rqst).unwrap_or(core::ptr::null());
    match IN_FLIGHT.get_ptr_mut(task as u64) {
        // SAFETY: a pointer from a map lookup.
        Some(call) if !request.is_null() => unsafe { (*call).sleeps_for = InFlightCall::ENDED },
        _ => {
            let _ = IN_FLIGHT.remove(task as u64);
        }
    }
    0
}

/// Operation, client and program of a call; the transport is left open.
#[inline(always)]
fn key_of(task: *const u8, procedure: *const u8, offsets: &RpcOffsets) -> Option<RpcKey> {
    let client: *const u8 = read_at(task, offsets.task_client)?;
    let client_id: u32 = read_at(client, offsets.clnt_clid)?;
    clients::note_parent(client, client_id, offsets);
    Some(RpcKey {
        client_id,
        xprt_id: NO_XPRT,
        program: read_at(client, offsets.clnt_prog)?,
        version: read_at::<u32>(client, offsets.clnt_vers)? as u16,
        op: read_at::<u32>(procedure, offsets.proc_statidx)? as u16,
        resent: 0,
    })
}

#[inline(always)]
fn xprt_of(rqst: *const u8, offsets: &RpcOffsets) -> u32 {
    read_at::<*const u8>(rqst, offsets.rqst_xprt)
        .and_then(|xprt| read_at::<u32>(xprt, offsets.xprt_id))
        .unwrap_or(NO_XPRT)
}

/// The string that the pointer at `base + offset` points to, cut to fit; empty if unreadable.
#[inline(always)]
pub(super) fn name_at(base: *const u8, offset: u32) -> [u8; OP_NAME_LEN] {
    let mut name = [0u8; OP_NAME_LEN];
    if let Some(text) = read_at::<*const u8>(base, offset) {
        // SAFETY: the helper checks the address and writes at most the stated length.
        unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), OP_NAME_LEN as u32, text.cast()) };
    }
    name
}
