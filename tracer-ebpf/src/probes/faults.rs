//! Page faults on files: `filemap:mm_filemap_fault` (6.10 and later), else a kprobe on `filemap_fault`.
//!
//! A thread that waits for a page of a mapped file shows functions of the page cache in its stack, not of
//! the file system. So the device of the file is noted when the fault begins, for the wait that follows.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_get_current_task,
    macros::{btf_tracepoint, kprobe},
    programs::{BtfTracePointContext, ProbeContext},
};
use nfslat_common::rpc::marked;

use crate::{
    kernel::{self, FILE_INODE, INODE_SUPERBLOCK, MAPPING_HOST, SUPERBLOCK_DEVICE, VM_FAULT_VMA, VMA_FILE},
    maps::THREADS,
    probes::stand_in::{self, Place},
    window,
};

/// A fault on a file begins: the arguments are the file's `address_space` and the page's number in it.
#[btf_tracepoint(function = "mm_filemap_fault")]
pub(crate) fn mm_filemap_fault(ctx: BtfTracePointContext) -> i32 {
    stand_in::mark(marked::FAULT, thread(), page(&ctx));
    note_mapping(&ctx)
}

/// Further programs of the hook: each does the work if every one before it was left out. These events are frequent, and
/// reading the file's device takes long enough to be preempted.
macro_rules! stand_ins {
    ($($name:ident $place:ident),*) => {$(
        #[btf_tracepoint(function = "mm_filemap_fault")]
        pub(crate) fn $name(ctx: BtfTracePointContext) -> i32 {
            if stand_in::is_needed(marked::FAULT, thread(), page(&ctx), Place::$place) {
                return note_mapping(&ctx);
            }
            0
        }
    )*};
}

stand_ins! {
    mm_filemap_fault_second Between,
    mm_filemap_fault_third Between,
    mm_filemap_fault_fourth Between,
    mm_filemap_fault_fifth Last
}

#[inline(always)]
fn thread() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Tells a thread's fault from its next one. Faults on the same page of the same file may be taken for one: they say the
/// same.
#[inline(always)]
fn page(ctx: &BtfTracePointContext) -> u64 {
    // Read as memory: the verifier lets nobody reckon with a pointer.
    let arguments: [u64; 2] = kernel::read_at(ctx.as_ptr().cast(), 0).unwrap_or_default();
    arguments[0] ^ arguments[1].rotate_right(16)
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
    let Some(key) = kernel::key_at(thread() as *const u8) else { return 0 };
    let Some(thread) = THREADS.get_ptr_mut(key) else { return 0 };
    let superblock = inode.and_then(|inode| kernel::read_at::<*const u8>(inode, INODE_SUPERBLOCK.load()));
    let device = superblock.and_then(|superblock| kernel::read_at::<u32>(superblock, SUPERBLOCK_DEVICE.load()));
    // SAFETY: a pointer from a map lookup; the field is the thread's own business, in its context.
    unsafe { (*thread).fault_device = device.unwrap_or(0) };
    0
}
