//! Reading kernel structures at offsets that user space took from the running kernel's BTF.
//!
//! A [`Task`] comes from a BTF-typed tracepoint argument, so its fields are read directly: the
//! verifier knows the offsets as constants and checks them against the kernel's own types.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use nfslat_common::{config::NO_FIELD, sched::ThreadKey};

macro_rules! offset_globals {
    ($($name:ident = $owner:literal, $field:literal;)*) => {
        $(
            #[doc = concat!("Offset of `", $owner, ".", $field, "`.")]
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(NO_FIELD);
        )*
    };
}
nfslat_common::for_each_task_field!(offset_globals);

/// `PF_KTHREAD` (`include/linux/sched.h`, same in 5.10 to 7.x).
const PF_KTHREAD: u32 = 0x0020_0000;

/// A `task_struct` that the verifier knows as one.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const u8);

impl Task {
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    pub(crate) fn as_ptr(self) -> *const u8 {
        self.0
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: the pointer is a BTF-typed task; the verifier checks offset and size and turns
        // the load into one that cannot fault.
        unsafe { self.0.add(offset.load() as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        self.read(&TASK_PID)
    }

    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        self.read(&TASK_TGID)
    }

    /// Start time, CLOCK_MONOTONIC.
    #[inline(always)]
    pub(crate) fn start_time_ns(self) -> u64 {
        self.read(&TASK_START_TIME)
    }

    #[inline(always)]
    pub(crate) fn key(self) -> ThreadKey {
        ThreadKey { tid: self.tid(), start_ms: (self.start_time_ns() >> 20) as u32 }
    }

    #[inline(always)]
    pub(crate) fn is_kernel_thread(self) -> bool {
        self.read::<u32>(&TASK_FLAGS) & PF_KTHREAD != 0
    }

    /// True while it runs on a CPU.
    #[inline(always)]
    pub(crate) fn on_cpu(self) -> bool {
        // An int up to 6.x, a byte in 7.3; its lowest byte tells either way on little-endian
        // machines, which this object is built for.
        self.read::<u8>(&TASK_ON_CPU) != 0
    }

    /// The scheduler's state: 0 is runnable. `task_struct.__state` since 5.14, `state` before.
    #[inline(always)]
    pub(crate) fn scheduler_state(self) -> u32 {
        if TASK_STATE_U32.load() != NO_FIELD {
            self.read(&TASK_STATE_U32)
        } else {
            self.read::<u64>(&TASK_STATE_LONG) as u32
        }
    }

    /// PSI's view of the task: bit 0 iowait, bit 1 memory stall (`include/linux/psi_types.h`);
    /// 0 where the kernel has no PSI.
    #[inline(always)]
    pub(crate) fn psi_flags(self) -> u32 {
        if TASK_PSI_FLAGS.load() == NO_FIELD { 0 } else { self.read(&TASK_PSI_FLAGS) }
    }

    #[inline(always)]
    pub(crate) fn comm(self) -> [u8; 16] {
        // SAFETY: as in `read`; the helper copes with any address.
        unsafe { bpf_probe_read_kernel(self.0.add(TASK_COMM.load() as usize).cast()) }.unwrap_or_default()
    }

    /// When the scheduler last gave it a CPU, by the scheduler's clock; 0 where it does not say
    /// (no CONFIG_SCHED_INFO).
    #[inline(always)]
    pub(crate) fn last_arrival_ns(self) -> u64 {
        if TASK_LAST_ARRIVAL.load() == NO_FIELD { 0 } else { self.read(&TASK_LAST_ARRIVAL) }
    }

    /// When the scheduler last put it on a run queue, likewise; 0 once it has run.
    #[inline(always)]
    pub(crate) fn last_queued_ns(self) -> u64 {
        if TASK_LAST_QUEUED.load() == NO_FIELD { 0 } else { self.read(&TASK_LAST_QUEUED) }
    }

    /// Address of the mmap_lock of its address space; 0 for a kernel thread.
    #[inline(always)]
    pub(crate) fn mmap_lock(self) -> u64 {
        let mm = self.address_space();
        if mm == 0 { 0 } else { mm + u64::from(MM_MMAP_LOCK.load()) }
    }

    /// Its kernel stack's lowest address.
    #[inline(always)]
    pub(crate) fn stack(self) -> u64 {
        self.read(&TASK_STACK)
    }

    /// Address of its address space, which an exec replaces; 0 for a kernel thread.
    #[inline(always)]
    pub(crate) fn address_space(self) -> u64 {
        self.read(&TASK_MM)
    }

    #[inline(always)]
    pub(crate) fn default_cgroup(self) -> Option<*const u8> {
        let css_set: *const u8 = self.read(&TASK_CGROUPS);
        read_at(css_set, CSS_SET_DFL_CGRP.load())
    }
}

/// Key, process id and name of the thread at an address that the verifier does not know.
#[inline(always)]
pub(crate) fn identity_at(task: *const u8) -> Option<(ThreadKey, u32, [u8; 16])> {
    Some((key_at(task)?, read_at(task, TASK_TGID.load())?, read_at(task, TASK_COMM.load())?))
}

/// Key of the thread at such an address.
#[inline(always)]
pub(crate) fn key_at(task: *const u8) -> Option<ThreadKey> {
    let started_ns: u64 = read_at(task, TASK_START_TIME.load())?;
    Some(ThreadKey { tid: read_at(task, TASK_PID.load())?, start_ms: (started_ns >> 20) as u32 })
}

/// True if the thread at such an address is a kernel thread.
#[inline(always)]
pub(crate) fn is_kernel_thread_at(task: *const u8) -> bool {
    read_at::<u32>(task, TASK_FLAGS.load()).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// Address of the mmap_lock of such a thread; 0 for a kernel thread.
#[inline(always)]
pub(crate) fn mmap_lock_at(task: *const u8) -> u64 {
    let mm: u64 = read_at(task, TASK_MM.load()).unwrap_or(0);
    if mm == 0 { 0 } else { mm + u64::from(MM_MMAP_LOCK.load()) }
}

/// Reads a field behind a pointer that the verifier does not know; `None` if it cannot be read.
#[inline(always)]
pub(crate) fn read_at<T: Copy>(base: *const u8, offset: u32) -> Option<T> {
    if base.is_null() || offset == NO_FIELD {
        return None;
    }
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }.ok()
}
