//! Who holds the lock that a thread waits for, and what the holder does meanwhile.
//!
//! The lock itself says who holds it (`rw_semaphore.owner`, `mutex.owner`): a writer for certain; of
//! readers only the one that came last, who may be gone (`kernel/locking/rwsem.c`, 5.10 to 7.x). It is
//! read when the waiter leaves its CPU, so a waiter that is woken in vain and sleeps again has a
//! holder for each of its waits.

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_NOEXIST, task_struct},
    helpers::generated::{bpf_get_current_task, bpf_task_pt_regs},
};
use nfslat_common::{
    config::NO_FIELD,
    lock::{LockWaiter, call, holder},
    loss::LossKind,
    sched::{ThreadKey, ThreadState, state, wait_flags},
};

use crate::{
    kernel::{self, MM_MMAP_LOCK, MUTEX_OWNER, REGS_CALL, RWSEM_COUNT, RWSEM_OWNER, TASK_MM, TASK_STACK, Task},
    loss,
    maps::{LOCK_HOLDERS, LOCK_WAITERS, MM_OWNERS, PT_REGS_OFFSET, SCRATCH_LOCK, THREADS},
    probes::{user_stacks::HAS_TASK_REGISTERS, waits},
    verifier,
    window::Moment,
};

/// 1 if lock waits are reported, by the kernel's events or by probes on its functions; without, nothing here runs.
#[unsafe(no_mangle)]
static LOCKS_KNOWN: Global<u32> = Global::new(0);

/// Low bits of an owner that are not part of the address: up to three in 5.10 to 7.x.
const OWNER_FLAGS: u64 = 7;
/// `RWSEM_READER_OWNED` (`kernel/locking/rwsem.c`).
const READER_OWNED: u64 = 1;
/// `RWSEM_WRITER_LOCKED`, in the count.
const WRITER_LOCKED: u64 = 1;
/// The number of readers in the count: from bit 8, up to the sign, which tells of too many.
const READERS: u64 = 0x7fff_ffff_ffff_ff00;

/// True if lock waits are reported at all.
#[inline(always)]
pub(super) fn are_known() -> bool {
    LOCKS_KNOWN.load() != 0
}

/// Notes whose mmap_lock lies at which address.
#[inline(always)]
pub(super) fn note_mm(task: Task) {
    let lock = task.mmap_lock();
    if are_known() && lock != 0 && MM_OWNERS.insert(lock, task.tgid(), u64::from(BPF_ANY)).is_err() {
        loss::count(LossKind::AddressSpacesFull);
    }
}

/// The same for a new thread, if it is a process of its own.
#[inline(always)]
pub(super) fn note_new_process(task: Task) {
    if !are_known() || task.tid() != task.tgid() {
        return;
    }
    // SAFETY: the helper has no preconditions.
    let parent = unsafe { bpf_get_current_task() } as *const u8;
    // A child of vfork has its parent's address space for a while.
    if kernel::mmap_lock_at(parent) != task.mmap_lock() {
        note_mm(task);
    }
}

/// Notes where a thread's saved registers lie in its kernel stack: the same for all threads. Where the kernel does
/// not tell (before 5.15), no holder's call is known.
#[inline(always)]
pub(super) fn note_registers(task: Task) {
    if !are_known() || HAS_TASK_REGISTERS.load() == 0 || REGS_CALL.load() == NO_FIELD {
        return;
    }
    let Some(offset) = PT_REGS_OFFSET.get_ptr_mut(0) else { return };
    // SAFETY: the task is BTF-typed; the pointer is from a map lookup. Writing the address and reading
    // it back makes it a number for the verifier.
    unsafe {
        let registers = bpf_task_pt_regs(task.as_ptr().cast::<task_struct>().cast_mut());
        offset.write_volatile(registers as u64);
        let address = offset.read_volatile();
        offset.write_volatile(address.wrapping_sub(task.stack()));
    }
}

/// A thread goes to sleep for a lock: notes who holds it. Returns what that tells of the wait, as
/// [`wait_flags`].
#[inline(always)]
pub(super) fn note_wait(key: ThreadKey, thread: &ThreadState, at: Moment) -> u32 {
    if !are_known()
        || thread.lock_flags & (wait_flags::LOCK_READ | wait_flags::LOCK_WRITE | wait_flags::LOCK_MUTEX) == 0
    {
        return 0;
    }
    let Some(scratch) = SCRATCH_LOCK.get_ptr_mut(waits::SCRATCH_OF_SCHEDULER) else { return 0 };
    // SAFETY: a pointer from a map lookup; the entry is this CPU's own, and interrupts are off.
    let waiter = unsafe { &mut (*scratch).waiter };
    // SAFETY: zeros are a valid value.
    unsafe { verifier::zero(waiter) };
    waiter.began_ns = at.now_ns;
    waiter.holder_call = call::UNKNOWN;
    let owner = find_holder(thread, waiter);
    let mut flags = 0;
    if thread.lock_flags & wait_flags::MMAP_LOCK != 0 {
        waiter.mm_tgid = thread.tgid;
    } else if thread.lock_flags & wait_flags::LOCK_MUTEX == 0 {
        waiter.mm_tgid = owner_of_mm(thread.lock, owner, waiter.holder_tgid);
        if waiter.mm_tgid != 0 {
            flags = wait_flags::MMAP_LOCK | wait_flags::FOREIGN_MM;
        }
    }
    if waiter.holder.tid != 0
        && let Some(holder) = THREADS.get_ptr(waiter.holder)
    {
        // SAFETY: a pointer from a map lookup. The holder may run elsewhere and change its entry;
        // the figures are evidence, cut to the length of the wait when they are used.
        waiter.holder_ns = unsafe { times(&*holder, at.now_ns) };
    }
    if LOCK_WAITERS.insert(key, &*waiter, u64::from(BPF_ANY)).is_err() {
        loss::count(LossKind::LockTableFull);
    }
    flags
}

/// Fills in who holds the lock, and returns the address of its `task_struct`; null if not known.
#[inline(always)]
fn find_holder(thread: &ThreadState, waiter: &mut LockWaiter) -> *const u8 {
    let lock = thread.lock as *const u8;
    let is_mutex = thread.lock_flags & wait_flags::LOCK_MUTEX != 0;
    let offset = if is_mutex { MUTEX_OWNER.load() } else { RWSEM_OWNER.load() };
    let Some(owner) = kernel::read_at::<u64>(lock, offset) else { return core::ptr::null() };
    let task = (owner & !OWNER_FLAGS) as *const u8;
    waiter.holder_kind = if is_mutex {
        if task.is_null() { holder::NOBODY } else { holder::WRITER }
    } else {
        let count: u64 = kernel::read_at(lock, RWSEM_COUNT.load()).unwrap_or(WRITER_LOCKED);
        kind_of_rwsem(count, owner)
    };
    if task.is_null() || !matches!(waiter.holder_kind, holder::WRITER | holder::READER) {
        return core::ptr::null();
    }
    let Some((key, tgid, comm)) = kernel::identity_at(task) else { return core::ptr::null() };
    waiter.holder = key;
    waiter.holder_tgid = tgid;
    waiter.holder_comm = comm;
    if waiter.holder_kind == holder::WRITER {
        waiter.holder_call = call_of(task);
    }
    task
}

/// How an rwsem is held. Count and owner are not changed in one step.
#[inline(always)]
fn kind_of_rwsem(count: u64, owner: u64) -> u32 {
    if count & WRITER_LOCKED != 0 {
        let by_writer = owner & READER_OWNED == 0 && owner & !OWNER_FLAGS != 0;
        return if by_writer { holder::WRITER } else { holder::UNKNOWN };
    }
    if count & READERS == 0 { holder::NOBODY } else { holder::READER }
}

/// The system call that a thread is in.
#[inline(always)]
fn call_of(task: *const u8) -> i32 {
    let stack: u64 = kernel::read_at(task, TASK_STACK.load()).unwrap_or(0);
    let offset = PT_REGS_OFFSET.get(0).copied().unwrap_or(0);
    if stack == 0 || offset == 0 {
        return call::UNKNOWN;
    }
    match kernel::read_at::<i64>(stack.wrapping_add(offset) as *const u8, REGS_CALL.load()) {
        // -1 since the entry of exceptions sets it so (`arch/x86/entry/entry_64.S`).
        Some(number) if number >= 0 => number as i32,
        Some(_) => call::EXCEPTION,
        None => call::UNKNOWN,
    }
}

/// The process whose mmap_lock this is, if it is one but not the waiter's own.
#[inline(always)]
fn owner_of_mm(lock: u64, holder: *const u8, holder_tgid: u32) -> u32 {
    let mm: u64 = kernel::read_at(holder, TASK_MM.load()).unwrap_or(0);
    if mm != 0 && mm + u64::from(MM_MMAP_LOCK.load()) == lock {
        return holder_tgid;
    }
    MM_OWNERS.get_ptr(lock).map_or(0, |tgid| {
        // SAFETY: a pointer from a map lookup.
        unsafe { *tgid }
    })
}

/// A wait for a lock has ended: notes what the holder did meanwhile.
#[inline(always)]
pub(super) fn note_release(key: ThreadKey, length_ns: u64, at: Moment) {
    let Some(waiter) = LOCK_WAITERS.get_ptr_mut(key) else { return };
    // SAFETY: a pointer from a map lookup; the events of a waiter come one after the other.
    let waiter = unsafe { &mut *waiter };
    let Some(holder) = THREADS.get_ptr(waiter.holder) else {
        waiter.holder_ns = [0; 3];
        return;
    };
    // SAFETY: as in `note_wait`.
    let holder = unsafe { &*holder };
    let now = times(holder, at.now_ns);
    waiter.holder_ns = [
        now[0].saturating_sub(waiter.holder_ns[0]).min(length_ns),
        now[1].saturating_sub(waiter.holder_ns[1]).min(length_ns),
        now[2].saturating_sub(waiter.holder_ns[2]).min(length_ns),
    ];
    if holder.last_end_ns > waiter.began_ns {
        waiter.holder_stack = holder.last_stack;
        waiter.holder_flags = holder.last_flags;
    }
}

/// Forgets a wait that is too short to be recorded.
#[inline(always)]
pub(super) fn forget(key: ThreadKey) {
    let _ = LOCK_WAITERS.remove(key);
}

/// Adds a wait that has ended to the sums of its holder.
#[inline(always)]
pub(super) fn record(key: ThreadKey, thread: &ThreadState, stack: u64, length_ns: u64, scratch: u32) {
    let (Some(waiter), Some(scratch)) = (LOCK_WAITERS.get_ptr(key), SCRATCH_LOCK.get_ptr_mut(scratch)) else { return };
    // SAFETY: as in `note_release`; the scratch entry is this CPU's and this kind of program's own.
    let (waiter, scratch) = unsafe { (&*waiter, &mut *scratch) };
    let sum_key = &mut scratch.key;
    sum_key.tgid = thread.tgid;
    sum_key.flags = thread.wait_flags;
    sum_key.stack = stack;
    sum_key.holder = waiter.holder;
    sum_key.holder_tgid = waiter.holder_tgid;
    sum_key.holder_kind = waiter.holder_kind;
    sum_key.holder_call = waiter.holder_call;
    sum_key.mm_tgid = waiter.mm_tgid;
    sum_key.holder_stack = waiter.holder_stack;
    sum_key.holder_flags = waiter.holder_flags;
    let sum_key = &*sum_key;
    if LOCK_HOLDERS.get_ptr(sum_key).is_none() {
        // SAFETY: as for the waiter.
        unsafe { verifier::zero(&mut scratch.sum) };
        scratch.sum.holder_comm = waiter.holder_comm;
        // A failure is a full table; the look-up below tells.
        let _ = LOCK_HOLDERS.insert(sum_key, &scratch.sum, u64::from(BPF_NOEXIST));
    }
    match LOCK_HOLDERS.get_ptr_mut(sum_key) {
        // SAFETY: a pointer from a map lookup; threads of one process share the entry, hence atomics.
        Some(sum) => unsafe {
            crate::atomic::add(&raw mut (*sum).count, 1);
            crate::atomic::add(&raw mut (*sum).total_ns, length_ns);
            crate::atomic::add(&raw mut (*sum).holder_ns[0], waiter.holder_ns[0]);
            crate::atomic::add(&raw mut (*sum).holder_ns[1], waiter.holder_ns[1]);
            crate::atomic::add(&raw mut (*sum).holder_ns[2], waiter.holder_ns[2]);
            // Two at once may leave the smaller of two maxima; it is exact in the thread's own sum.
            if length_ns > (*sum).max_ns {
                (*sum).max_ns = length_ns;
            }
        },
        None => loss::count(LossKind::LockTableFull),
    }
    forget(key);
}

/// A thread's time on a CPU, runnable and blocked until now, the present state included.
#[inline(always)]
fn times(thread: &ThreadState, now_ns: u64) -> [u64; 3] {
    let mut times = [thread.time_ns[0], thread.time_ns[1], thread.time_ns[2]];
    let present_ns = now_ns.saturating_sub(thread.since_ns);
    match thread.state {
        state::ON_CPU => times[0] += present_ns,
        state::RUNNABLE => times[1] += present_ns,
        state::BLOCKED => times[2] += present_ns,
        _ => {}
    }
    times
}
