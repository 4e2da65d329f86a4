//! Page faults on files: `filemap:mm_filemap_fault` (6.10 and later), else a kprobe on `filemap_fault`.
//!
//! A thread that waits for a page of a mapped file shows functions of the page cache in its stack, not of
//! the file system. So the device of the file is noted when the fault begins, for the wait that follows.

use aya_ebpf::{
    helpers::generated::bpf_get_current_task,
    macros::{btf_tracepoint, kprobe},
    programs::{BtfTracePointContext, ProbeContext},
};

use crate::{
    kernel::{self, FILE_INODE, INODE_SUPERBLOCK, MAPPING_HOST, SUPERBLOCK_DEVICE, VM_FAULT_VMA, VMA_FILE},
    maps::THREADS,
    window,
};

/// A fault on a file begins: the argument is the file's `address_space`.
#[btf_tracepoint(function = "mm_filemap_fault")]
pub(crate) fn mm_filemap_fault(ctx: BtfTracePointContext) -> i32 {
    note_mapping(&ctx)
}

/// Does the same once more, in case the first was left out: see `probes::stand_in`. It changes nothing
/// if it was not.
#[btf_tracepoint(function = "mm_filemap_fault")]
pub(crate) fn mm_filemap_fault_second(ctx: BtfTracePointContext) -> i32 {
    note_mapping(&ctx)
}

/// And once more: these events are frequent, and reading the file's device takes long enough to be preempted.
#[btf_tracepoint(function = "mm_filemap_fault")]
pub(crate) fn mm_filemap_fault_third(ctx: BtfTracePointContext) -> i32 {
    note_mapping(&ctx)
}

#[inline(always)]
fn note_mapping(ctx: &BtfTracePointContext) -> i32 {
    note(kernel::read_at::<*const u8>(ctx.arg(0), MAPPING_HOST.load()))
}

/// The same on older kernels: the argument is a `vm_fault`.
#[kprobe]
pub(crate) fn filemap_fault(ctx: ProbeContext) -> u32 {
    let fault: Option<*const u8> = ctx.arg(0);
    let vma = fault.and_then(|fault| kernel::read_at::<*const u8>(fault, VM_FAULT_VMA.load()));
    let file = vma.and_then(|vma| kernel::read_at::<*const u8>(vma, VMA_FILE.load()));
    let inode = file.and_then(|file| kernel::read_at::<*const u8>(file, FILE_INODE.load()));
    note(inode) as u32
}

/// Notes the device of an inode's superblock for the current thread.
#[inline(always)]
fn note(inode: Option<*const u8>) -> i32 {
    if window::moment().is_none() {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let Some(key) = kernel::key_at(task) else { return 0 };
    let Some(thread) = THREADS.get_ptr_mut(key) else { return 0 };
    let superblock = inode.and_then(|inode| kernel::read_at::<*const u8>(inode, INODE_SUPERBLOCK.load()));
    let device = superblock.and_then(|superblock| kernel::read_at::<u32>(superblock, SUPERBLOCK_DEVICE.load()));
    // SAFETY: a pointer from a map lookup; the field is the thread's own business, in its context.
    unsafe { (*thread).fault_device = device.unwrap_or(0) };
    0
}
