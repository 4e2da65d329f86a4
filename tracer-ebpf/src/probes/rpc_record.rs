//! Calls by the record of `sunrpc:rpc_stats_latency` alone, where the structures behind its arguments are not known: clients
//! that replace the kernel's own, such as VAST's, need not have types. The record has microseconds, and neither bytes nor
//! errors.

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_NOEXIST, helpers::generated::bpf_probe_read_kernel_str, macros::tracepoint,
    programs::TracePointContext,
};
use nfslat_common::{
    loss::LossKind,
    rpc::{NFS_PROGRAM, NO_XPRT, OP_NAME_LEN, RpcKey, RpcStats, part},
};

use crate::{
    kernel, loss,
    maps::{RPC_RECORD_OFFSETS, RPC_STATS},
    probes::rpc::{self, FIRST},
    window,
};

/// Sums of no calls. They would not fit on the stack beside the rest.
// SAFETY: zeros are their default.
static EMPTY: RpcStats = unsafe { core::mem::zeroed() };

/// A call is done.
#[tracepoint]
pub(crate) fn rpc_stats_record(ctx: TracePointContext) -> u32 {
    let Some(at) = window::moment() else { return 0 };
    if !at.closed() && count(&ctx).is_none() {
        loss::count(LossKind::KernelReadFailed);
    }
    0
}

#[inline(always)]
fn count(ctx: &TracePointContext) -> Option<()> {
    let offsets = RPC_RECORD_OFFSETS.get(0).filter(|offsets| offsets.ready != 0)?;
    let record = ctx.as_ptr().cast::<u8>().cast_const();
    let name = name_at(record, text_at(record, offsets.procedure)?);
    let is_nfs = kernel::read_at::<[u8; 4]>(record, text_at(record, offsets.program)?)? == *b"nfs\0";
    let mut key = RpcKey {
        client_id: kernel::read_at(record, offsets.client_id)?,
        xprt_id: kernel::read_at(record, offsets.xprt_id).unwrap_or(NO_XPRT),
        program: if is_nfs { NFS_PROGRAM } else { 0 },
        version: kernel::read_at::<u32>(record, offsets.version)? as u16,
        op: 0,
        resent: 0,
    };
    key.set_name_hash(hash(&name));
    let in_ns = |offset| Some(kernel::read_at::<i64>(record, offset)?.wrapping_mul(1_000));
    let (backlog_ns, rtt_ns) = (in_ns(offsets.backlog_us)?, in_ns(offsets.rtt_us)?);
    let execute_ns: i64 = in_ns(offsets.execute_us)?;
    if rpc::sums_of(FIRST, key).is_none() {
        // A failure is a full table; the look-up that follows tells.
        let _ = RPC_STATS.insert(key, &EMPTY, u64::from(BPF_NOEXIST));
    }
    let Some(stats) = rpc::sums_of(FIRST, key) else {
        loss::count(LossKind::RpcSeriesFull);
        return Some(());
    };
    // SAFETY: a pointer from a map lookup, valid for the run of the program; the entry is this CPU's own.
    let stats = unsafe { &mut *stats };
    stats.name = name;
    stats.count += 1;
    rpc::add_part(&mut stats.parts[part::EXECUTE], key, part::EXECUTE, execute_ns, stats.count == 1);
    // A call that was never sent has neither (`rpc_count_iostats_metrics`, `net/sunrpc/stats.c`).
    if backlog_ns == 0 && rtt_ns == 0 {
        stats.unsent += 1;
        return Some(());
    }
    let first = stats.count - stats.unsent == 1;
    let tail_ns = execute_ns - backlog_ns - rtt_ns;
    rpc::add_part(&mut stats.parts[part::BACKLOG], key, part::BACKLOG, backlog_ns, first);
    rpc::add_part(&mut stats.parts[part::RTT], key, part::RTT, rtt_ns, first);
    rpc::add_part(&mut stats.parts[part::TAIL], key, part::TAIL, tail_ns, first);
    Some(())
}

/// Where a text of the record is: at `field` is its offset, in the lower half.
#[inline(always)]
fn text_at(record: *const u8, field: u32) -> Option<u32> {
    Some(kernel::read_at::<u32>(record, field)? & 0xffff)
}

#[inline(always)]
fn name_at(record: *const u8, offset: u32) -> [u8; OP_NAME_LEN] {
    let mut name = [0u8; OP_NAME_LEN];
    // SAFETY: the helper checks the address and writes at most the stated length.
    unsafe {
        bpf_probe_read_kernel_str(
            name.as_mut_ptr().cast(),
            OP_NAME_LEN as u32,
            record.wrapping_add(offset as usize).cast(),
        );
    }
    name
}

/// FNV-1a.
#[inline(always)]
fn hash(name: &[u8; OP_NAME_LEN]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < OP_NAME_LEN {
        hash = (hash ^ u64::from(name[index])).wrapping_mul(0x100_0000_01b3);
        index += 1;
    }
    hash ^ (hash >> 32)
}
