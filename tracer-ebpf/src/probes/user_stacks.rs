//! The user stack of a thread that blocks, by frame pointers.
//!
//! It can be walked only at the moment the thread leaves its CPU: later it is not the current
//! thread, and the kernel refuses. How long the wait will be is not known then, and a walk for
//! every short wait would cost more than all the rest. So a walk has to be earned: the waits at a
//! call site that were long enough to be recorded add their length to a budget, and a walk is paid
//! from it. Without a budget, one wait in 16 is walked, so that rare long ones are seen. A long wait
//! that was not walked says so ([`user_stack::NOT_WALKED`]).

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
    kernel::{REGS_CALL, REGS_IP, REGS_SP, Task},
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
pub(super) static HAS_TASK_REGISTERS: Global<u32> = Global::new(0);

/// What a walk costs a budget: 64 times what it costs in time, about 1 us, so that walks take no
/// more than about 1/64 of the time that a thread waits at a call site.
const PRICE: i32 = 64;
/// What a budget may be overdrawn: a call site that is new is walked.
const CREDIT: i32 = 4 * PRICE;
/// The most that a budget holds.
const MAX_BUDGET: i32 = 1 << 20;
/// Without a budget one wait in so many is walked; a power of two.
const SAMPLE: u64 = 16;

/// Takes the user stack of a thread that is about to wait, unless the wait is likely to be short.
#[inline(always)]
pub(super) fn take(ctx: &impl EbpfContext, task: Task, thread: &mut ThreadState) {
    thread.user_stack = user_stack::NONE;
    if USER_STACKS_WANTED.load() == 0 || thread.kernel_thread != 0 {
        return;
    }
    let site = call_site(task);
    thread.site = site as u32;
    let budget = &mut thread.walk_budget[site];
    if *budget <= -CREDIT && thread.wait_count & (SAMPLE - 1) != 0 {
        thread.user_stack = user_stack::NOT_WALKED;
        return;
    }
    *budget = (*budget - PRICE).max(-CREDIT);
    thread.user_stack = walk(ctx, task, thread.tgid);
}

/// Adds the present wait of a thread, which was long enough to be recorded, to the budget of its call
/// site.
#[inline(always)]
pub(super) fn earn(thread: &mut ThreadState, length_ns: u64) {
    let budget = &mut thread.walk_budget[thread.site as usize & (SITES - 1)];
    let length_us = (length_ns >> 10).min(MAX_BUDGET as u64) as i32;
    *budget = (*budget + length_us).min(MAX_BUDGET);
}

/// Where a thread waits: its system call and its user-space instruction and stack pointers, folded to
/// an index. The stack pointer tells apart the callers of a function that many share, such as libc's
/// `read`.
#[inline(always)]
fn call_site(task: Task) -> usize {
    let known = [&REGS_IP, &REGS_SP, &REGS_CALL].iter().all(|field| field.load() != NO_FIELD);
    if HAS_TASK_REGISTERS.load() == 0 || !known {
        return 0;
    }
    // SAFETY: the task is BTF-typed, and current; the result is BTF-typed too, so that the
    // verifier checks the offsets and makes the loads safe.
    let site = unsafe {
        let registers = bpf_task_pt_regs(task.as_ptr().cast::<task_struct>().cast_mut()) as *const u8;
        let register = |field: &Global<u32>| registers.add(field.load() as usize).cast::<u64>().read_volatile();
        let (ip, sp, call) = (register(&REGS_IP), register(&REGS_SP), register(&REGS_CALL));
        (ip ^ sp ^ (call << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61
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
