//! Waits for a lock that was seen in the kernel (`lock:contention_begin`), not told by the stack.

use nfslat_common::sched::wait_flags;

use super::{Class, Group, LockMode, Verdict, sets};

/// The class of a wait for a lock of that kind; `None` if no lock was seen, or if the stack says
/// more about it.
pub(super) fn class(flags: u32, by_stack: &Verdict) -> Option<Class> {
    if flags & wait_flags::LOCK == 0 {
        return None;
    }
    if flags & wait_flags::MMAP_LOCK != 0 {
        return Some(Class::MmapLock);
    }
    if flags & (wait_flags::LOCK_READ | wait_flags::LOCK_WRITE) != 0 {
        return Some(match by_stack.class {
            Class::VmaLock => Class::VmaLock,
            // Not the thread's own mmap_lock, but it may be that of another address space.
            Class::MmapLock if locks_other_mm(by_stack) => Class::MmapLock,
            _ => Class::RwSemaphore,
        });
    }
    if flags & wait_flags::LOCK_MUTEX != 0 {
        // A mutex whose holder does I/O: the kernel accounts the wait as I/O (mutex_lock_io()).
        let is_io = flags & wait_flags::IOWAIT != 0 && by_stack.class.group() == Group::Storage;
        return (!is_io).then_some(Class::Mutex);
    }
    // A per-CPU rwsem, or an rtmutex, which outside PREEMPT_RT is a futex with priority inheritance.
    Some(match by_stack.class {
        class @ (Class::FutexWait | Class::RtMutex) => class,
        _ => Class::RwSemaphore,
    })
}

/// True if that class follows from what was seen of the lock alone.
pub(super) const fn is_certain(class: Class, flags: u32) -> bool {
    match class {
        Class::MmapLock => flags & wait_flags::MMAP_LOCK != 0,
        Class::VmaLock => false,
        _ => true,
    }
}

fn locks_other_mm(verdict: &Verdict) -> bool {
    let other = sets::named("other-mm");
    other.contains(&verdict.frame.as_str()) || other.contains(&verdict.caller.as_str())
}

/// How the thread wanted the lock that was seen.
pub(super) const fn mode(flags: u32) -> Option<LockMode> {
    if flags & wait_flags::LOCK_READ != 0 {
        Some(LockMode::Read)
    } else if flags & wait_flags::LOCK_WRITE != 0 {
        Some(LockMode::Write)
    } else {
        None
    }
}

/// How the thread wanted the lock, by the function it slept in.
pub(super) fn mode_of_frame(class: Class, frame: &str) -> Option<LockMode> {
    match class {
        Class::VmaLock => Some(LockMode::Write),
        Class::MmapLock | Class::RwSemaphore if frame.contains("_read_") => Some(LockMode::Read),
        Class::MmapLock | Class::RwSemaphore if frame.contains("_write_") => Some(LockMode::Write),
        _ => None,
    }
}
