//! Which mount an RPC client belongs to: learnt from NFS tracepoints whose first argument leads
//! to an inode, whose superblock has the device number and, behind `s_fs_info`, the client.
//!
//! Kernels from 6.12 on also show it in sysfs; this way works on all whose types are known, with VAST's client too.

use aya_ebpf::{bindings::BPF_ANY, macros::raw_tracepoint, programs::RawTracePointContext};
use nfslat_common::{config::RpcOffsets, loss::LossKind, rpc::ClientInfo};

use crate::{
    kernel::read_at,
    loss,
    maps::{CLIENTS, KNOWN_SUPERBLOCKS},
    probes::rpc,
    window,
};

/// For tracepoints whose first argument is an inode (`nfs_getattr_enter`, `nfs_lookup_enter`, ...).
#[raw_tracepoint(tracepoint = "nfs_getattr_enter")]
pub(crate) fn nfs_inode_event(ctx: RawTracePointContext) -> i32 {
    if let (Some(_), Some(offsets)) = (window::moment(), rpc::offsets()) {
        learn(ctx.arg(0), offsets);
    }
    0
}

/// For tracepoints whose first argument is a page I/O header (`nfs_initiate_read`, `_write`).
#[raw_tracepoint(tracepoint = "nfs_initiate_read")]
pub(crate) fn nfs_pgio_event(ctx: RawTracePointContext) -> i32 {
    if let (Some(_), Some(offsets)) = (window::moment(), rpc::offsets())
        && let Some(inode) = read_at::<*const u8>(ctx.arg(0), offsets.hdr_inode)
    {
        learn(inode, offsets);
    }
    0
}

#[inline(always)]
fn learn(inode: *const u8, offsets: &RpcOffsets) -> Option<()> {
    let superblock: *const u8 = read_at(inode, offsets.inode_sb)?;
    let server: *const u8 = read_at(superblock, offsets.sb_fs_info)?;
    let client: *const u8 = read_at(server, offsets.server_client)?;
    // The client is compared too: a new mount may get the address of one that is gone.
    // SAFETY: entries are only ever overwritten whole, with 8 aligned bytes.
    if let Some(&known) = unsafe { KNOWN_SUPERBLOCKS.get(superblock as u64) }
        && known == client as u64
    {
        return None;
    }
    let s_dev: u32 = read_at(superblock, offsets.sb_dev)?;
    let client_id: u32 = read_at(client, offsets.clnt_clid)?;
    let info = ClientInfo { parent_id: parent_of(client, client_id, offsets), s_dev };
    if CLIENTS.insert(client_id, info, u64::from(BPF_ANY)).is_err()
        || KNOWN_SUPERBLOCKS.insert(superblock as u64, client as u64, u64::from(BPF_ANY)).is_err()
    {
        loss::count(LossKind::ClientTableFull);
    }
    Some(())
}

/// Notes a client seen making a call, with its parent.
#[inline(always)]
pub(super) fn note_parent(client: *const u8, client_id: u32, offsets: &RpcOffsets) {
    if CLIENTS.get_ptr(client_id).is_none() {
        let info = ClientInfo { parent_id: parent_of(client, client_id, offsets), s_dev: 0 };
        // A full table shows when the mount is learnt; without it only the mount's name is missing.
        let _ = CLIENTS.insert(client_id, info, u64::from(BPF_ANY));
    }
}

/// A client without a parent is its own.
#[inline(always)]
fn parent_of(client: *const u8, client_id: u32, offsets: &RpcOffsets) -> u32 {
    read_at::<*const u8>(client, offsets.clnt_parent)
        .and_then(|parent| read_at(parent, offsets.clnt_clid))
        .unwrap_or(client_id)
}
