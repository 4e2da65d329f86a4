//! Operations on files of NFS mounts, as programs see them: from the entry of the file system's function to its return.
//!
//! There are two programs, each attached to many functions: the cookie of the link tells at which one it runs ([`Hook`]).
//! A function that another one of them called, such as the flush inside a synchronous write, is not an operation of its
//! own. Programs at functions need no room for threads that sleep inside, as probes of returns do.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{
            bpf_get_attach_cookie, bpf_get_current_task, bpf_get_func_arg, bpf_get_func_ret, bpf_probe_read_kernel_str,
        },
    },
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use nfslat_common::{
    buckets,
    file_ops::{
        FILE_NAME_LEN, FileKey, FileOpBucketKey, FileOpKey, FileOpSums, Hook, NFS_SUPER_MAGIC, OpenFileOp, object,
    },
    loss::LossKind,
    sched::{ThreadKey, state},
};

use crate::{
    atomic,
    kernel::{
        self, DENTRY_INODE, DENTRY_NAME, DENTRY_PARENT, FILE_DENTRY, FILE_INODE, INODE_NUMBER, INODE_SUPERBLOCK,
        KIOCB_FILE, PATH_DENTRY, SUPERBLOCK_DEVICE, SUPERBLOCK_MAGIC, VM_FAULT_VMA, VMA_FILE,
    },
    loss,
    maps::{FILE_OP_BUCKETS, FILE_OPS, FILES, OPEN_FILE_OPS, SCRATCH_FILE, THREADS},
    verifier, window,
};

/// What a function returns that wants to be called again in another way (`ECHILD`: a look-up that may not sleep,
/// `Documentation/filesystems/path-lookup.rst`).
const AGAIN: i32 = -10;

/// Error numbers end here (`MAX_ERRNO`, `include/linux/err.h`).
const MAX_ERRNO: u64 = 4095;

/// A function is entered. (The name here means nothing: user space names the functions.)
#[fentry(function = "file_op")]
pub(crate) fn file_op_begins(ctx: FEntryContext) -> i32 {
    let _ = begin(&ctx);
    0
}

#[inline(always)]
fn begin(ctx: &FEntryContext) -> Option<()> {
    let at = window::moment()?;
    if at.closed() {
        return None;
    }
    let thread = this_thread()?;
    // SAFETY: a pointer from a map lookup, valid for the run of the program; the thread is the current one.
    let blocked_ns = unsafe { (*THREADS.get_ptr(thread)?).time_ns[state::BLOCKED as usize] };
    // SAFETY: the context is this program's; the helpers fail instead of faulting.
    let hook = Hook::of(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) });
    // Inside another one; or left over by one whose end was not reported, if it is the same.
    if OPEN_FILE_OPS.get_ptr(thread).is_some_and(|open| unsafe { (*open).function } != hook.function) {
        return None;
    }
    let mut argument = 0u64;
    // SAFETY: as above.
    unsafe { bpf_get_func_arg(ctx.as_ptr(), hook.argument, &raw mut argument) };
    let (inode, dentry) = file_of(hook.object, argument as *const u8);
    let superblock = kernel::read_at::<*const u8>(inode, INODE_SUPERBLOCK.load()).unwrap_or(core::ptr::null());
    // Every file that these functions are called for has an inode, and that a superblock.
    let Some(magic) = kernel::read_at::<u64>(superblock, SUPERBLOCK_MAGIC.load()) else {
        loss::count(LossKind::KernelReadFailed);
        return None;
    };
    if magic != NFS_SUPER_MAGIC {
        return None;
    }
    let open = OpenFileOp {
        begin_ns: at.now_ns,
        blocked_ns,
        inode: kernel::read_at(inode, INODE_NUMBER.load()).unwrap_or(0),
        dentry: dentry as u64,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        device: kernel::read_at(superblock, SUPERBLOCK_DEVICE.load())?,
        op: hook.op,
        function: hook.function,
    };
    if OPEN_FILE_OPS.insert(thread, open, u64::from(BPF_ANY)).is_err() {
        loss::count(LossKind::FileOpsFull);
    }
    Some(())
}

/// It returns.
#[fexit(function = "file_op")]
pub(crate) fn file_op_ends(ctx: FExitContext) -> i32 {
    let _ = end(&ctx);
    0
}

#[inline(always)]
fn end(ctx: &FExitContext) -> Option<()> {
    let at = window::moment()?;
    // Open at the end: user space lists it.
    if at.closed() {
        return None;
    }
    let thread = this_thread()?;
    // SAFETY: a pointer from a map lookup; the entry is this thread's own.
    let open = unsafe { *OPEN_FILE_OPS.get_ptr(thread)? };
    // SAFETY: as in `begin`.
    if open.function != Hook::of(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) }).function {
        return None;
    }
    let _ = OPEN_FILE_OPS.remove(thread);
    let mut result = 0u64;
    // SAFETY: as in `begin`.
    unsafe { bpf_get_func_ret(ctx.as_ptr(), &raw mut result) };
    if result as i32 == AGAIN {
        return None;
    }
    // SAFETY: as in `begin`.
    let blocked_now_ns = unsafe { (*THREADS.get_ptr(thread)?).time_ns[state::BLOCKED as usize] };
    let blocked_ns = blocked_now_ns.saturating_sub(open.blocked_ns);
    count(&open, at.now_ns.saturating_sub(open.begin_ns), blocked_ns, failed(result));
    if blocked_ns > 0 {
        count_file(&open, blocked_ns);
    }
    Some(())
}

/// A pointer, a `long` or an `int` that failed is a negative error number. The upper half of an `int` is 0, or its sign.
#[inline(always)]
fn failed(result: u64) -> bool {
    let is_error = |negated: u64| negated.wrapping_sub(1) < MAX_ERRNO;
    is_error(result.wrapping_neg()) || (result >> 32 == 0 && is_error(u64::from((result as u32).wrapping_neg())))
}

#[inline(always)]
fn count(open: &OpenFileOp, total_ns: u64, blocked_ns: u64, failed: bool) {
    let key = FileOpKey { tgid: open.tgid, device: open.device, op: open.op, pad: 0 };
    if FILE_OPS.get_ptr_mut(key).is_none() {
        let _ = FILE_OPS.insert(key, FileOpSums::default(), u64::from(BPF_NOEXIST));
    }
    let Some(sums) = FILE_OPS.get_ptr_mut(key) else { return loss::count(LossKind::FileOpsFull) };
    let waited = u64::from(blocked_ns > 0);
    // SAFETY: a pointer from a map lookup. CPUs share the entry, hence atomic.
    unsafe {
        atomic::add(&raw mut (*sums).count, 1);
        atomic::add(&raw mut (*sums).waited, waited);
        atomic::add(&raw mut (*sums).failed, u64::from(failed));
        atomic::add(&raw mut (*sums).total_ns, total_ns);
        atomic::add(&raw mut (*sums).blocked_ns, blocked_ns);
    }
    let bucket = buckets::bucket_of(total_ns);
    let key = FileOpBucketKey { device: open.device, op: open.op as u8, waited: waited as u8, bucket };
    if FILE_OP_BUCKETS.get_ptr_mut(key).is_none() {
        let _ = FILE_OP_BUCKETS.insert(key, 0u64, u64::from(BPF_NOEXIST));
    }
    match FILE_OP_BUCKETS.get_ptr_mut(key) {
        // SAFETY: as above.
        Some(count) => unsafe { atomic::add(count, 1) },
        None => loss::count(LossKind::FileOpsFull),
    }
}

#[inline(always)]
fn count_file(open: &OpenFileOp, blocked_ns: u64) {
    let key = FileKey { inode: open.inode, device: open.device, pad: 0 };
    if FILES.get_ptr_mut(key).is_none() {
        let Some(fresh) = SCRATCH_FILE.get_ptr_mut(0) else { return };
        // SAFETY: a pointer from a map lookup; whoever else uses it makes zeros of it, too.
        let fresh = unsafe { &mut *fresh };
        // SAFETY: zeros are a valid value.
        unsafe { verifier::zero(fresh) };
        let _ = FILES.insert(key, &*fresh, u64::from(BPF_NOEXIST));
    }
    let Some(sums) = FILES.get_ptr_mut(key) else { return loss::count(LossKind::FileOpsFull) };
    // SAFETY: as in `count`. The helper checks the address and writes at most the stated length.
    unsafe {
        if (*sums).name[0] == 0
            && let Some(name) = kernel::read_at::<*const u8>(open.dentry as *const u8, DENTRY_NAME.load())
        {
            bpf_probe_read_kernel_str((&raw mut (*sums).name).cast(), FILE_NAME_LEN as u32, name.cast());
        }
        atomic::add(&raw mut (*sums).waited, 1);
        atomic::add(&raw mut (*sums).blocked_ns, blocked_ns);
    }
}

#[inline(always)]
fn this_thread() -> Option<ThreadKey> {
    // SAFETY: the helper has no preconditions.
    kernel::key_at(unsafe { bpf_get_current_task() } as *const u8)
}

/// Inode and name of the file that an argument leads to; null pointers where it does not.
#[inline(always)]
fn file_of(kind: u32, argument: *const u8) -> (*const u8, *const u8) {
    let next = |from, offset| kernel::read_at::<*const u8>(from, offset).unwrap_or(core::ptr::null());
    let dentry = match kind {
        object::INODE => return (argument, core::ptr::null()),
        object::DENTRY => argument,
        object::PATH => next(argument, PATH_DENTRY.load()),
        object::PARENT => next(argument, DENTRY_PARENT.load()),
        _ => {
            let file = match kind {
                object::KIOCB => next(argument, KIOCB_FILE.load()),
                object::VM_FAULT => next(next(argument, VM_FAULT_VMA.load()), VMA_FILE.load()),
                _ => argument,
            };
            return (next(file, FILE_INODE.load()), next(file, FILE_DENTRY.load()));
        }
    };
    (next(dentry, DENTRY_INODE.load()), dentry)
}
