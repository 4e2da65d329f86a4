//! The user stack of a thread that blocks, by frame pointers.
//!
//! It can be walked only at the moment the thread leaves its CPU: later it is not the current
//! thread, and the kernel refuses. How long the wait will be is not known then, and a walk for
//! every short wait would cost more than all the rest. So each thread remembers, per call site,
//! how many waits in a row were short, and is not walked where the next one is likely to be short
//! too. A long wait that was taken for a short one says so ([`user_stack::NOT_WALKED`]).

use aya_ebpf::{
    EbpfContext, Global,
    bindings::{BPF_F_USER_STACK, BPF_NOEXIST, task_struct},
    helpers::generated::{bpf_get_stack, bpf_task_pt_regs},
};
use nfslat_common::{
    config::NO_FIELD,
    loss::LossKind,
    sched::{SITES, ThreadState, USER_STACK_DEPTH, user_stack},
};

use crate::{
    kernel::{REGS_IP, REGS_SP, Task},
    loss,
    maps::{SCRATCH_USER_STACK, USER_STACKS},
    probes::waits,
};

/// 1 if user stacks are wanted.
#[unsafe(no_mangle)]
static USER_STACKS_WANTED: Global<u32> = Global::new(0);
/// 1 if the kernel hands out a thread's user registers (`bpf_task_pt_regs`, 5.15 and later).
/// Without them a thread has one call site.
#[unsafe(no_mangle)]
static HAS_TASK_REGISTERS: Global<u32> = Global::new(0);

/// From so many short waits in a row on the next one is taken for short.
const LIKELY_SHORT: u8 = 4;
/// After so many more one is walked again, so that a rare long wait among short ones is seen.
const LOOK_AGAIN_AFTER: u8 = 16;

/// Takes the user stack of a thread that is about to wait, unless the wait is likely to be short.
#[inline(always)]
pub(super) fn take(ctx: &impl EbpfContext, task: Task, thread: &mut ThreadState) {
    thread.user_stack = user_stack::NONE;
    if USER_STACKS_WANTED.load() == 0 || thread.kernel_thread != 0 {
        return;
    }
    let site = call_site(task);
    thread.site = site as u32;
    thread.user_stack =
        if thread.short_in_a_row[site] < LIKELY_SHORT { walk(ctx, task, thread.tgid) } else { user_stack::NOT_WALKED };
}

/// Remembers how the present wait of a thread turned out.
#[inline(always)]
pub(super) fn learn(thread: &mut ThreadState, short: bool) {
    let history = &mut thread.short_in_a_row[thread.site as usize & (SITES - 1)];
    *history = match *history {
        _ if !short => 0,
        LOOK_AGAIN.. => LIKELY_SHORT - 1,
        count => count + 1,
    };
}

/// Short waits in a row after which the next one is walked again.
const LOOK_AGAIN: u8 = LIKELY_SHORT + LOOK_AGAIN_AFTER - 1;

/// Where a thread waits: its user-space instruction and stack pointers, folded to an index. The
/// stack pointer tells apart the callers of a function that many share, such as libc's `read`.
#[inline(always)]
fn call_site(task: Task) -> usize {
    if HAS_TASK_REGISTERS.load() == 0 || REGS_IP.load() == NO_FIELD || REGS_SP.load() == NO_FIELD {
        return 0;
    }
    // SAFETY: the task is BTF-typed, and current; the result is BTF-typed too, so that the
    // verifier checks the offsets and makes the loads safe.
    let site = unsafe {
        let registers = bpf_task_pt_regs(task.as_ptr().cast::<task_struct>().cast_mut()) as *const u8;
        let ip = registers.add(REGS_IP.load() as usize).cast::<u64>().read_volatile();
        let sp = registers.add(REGS_SP.load() as usize).cast::<u64>().read_volatile();
        (ip ^ sp).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    };
    site as usize & (SITES - 1)
}

/// Walks the user stack of the current thread, keeps it, and returns its key.
#[inline(always)]
fn walk(ctx: &impl EbpfContext, task: Task, tgid: u32) -> u64 {
    let Some(scratch) = SCRATCH_USER_STACK.get_ptr_mut(0) else { return user_stack::NONE };
    // SAFETY: a pointer from a map lookup, valid for the run of the program; the entry is this
    // CPU's own, and interrupts are off.
    let scratch = unsafe { &mut *scratch };
    // SAFETY: the buffer is as long as stated; the helper clears what it does not fill.
    let length = unsafe {
        bpf_get_stack(
            ctx.as_ptr(),
            scratch.frames.as_mut_ptr().cast(),
            (8 * USER_STACK_DEPTH) as u32,
            u64::from(BPF_F_USER_STACK),
        )
    };
    // A thread that is exiting, or works for the kernel only, has none.
    if length <= 0 || scratch.frames[0] == 0 {
        return user_stack::NONE;
    }
    scratch.tgid = tgid;
    scratch.pad = 0;
    scratch.address_space = task.address_space();
    // Read back, because a pointer may be stored, but not reckoned with.
    // SAFETY: a reference is valid for reads.
    let address_space = unsafe { (&raw const scratch.address_space).read_volatile() };
    // The same addresses mean something else in another address space.
    let key = waits::hash(&scratch.frames, address_space ^ u64::from(tgid));
    if USER_STACKS.get_ptr(key).is_some() {
        return key;
    }
    match USER_STACKS.insert(key, &*scratch, u64::from(BPF_NOEXIST)) {
        Ok(()) => key,
        // Another CPU was first with the same stack.
        Err(_) if USER_STACKS.get_ptr(key).is_some() => key,
        Err(_) => {
            loss::count(LossKind::UserStackTableFull);
            user_stack::LOST
        }
    }
}
