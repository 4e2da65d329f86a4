//! Threads of one process that map, touch, give back and unmap memory as fast as they can, while
//! others are born and end: heavy contention for the lock of the process's memory map.
//!
//! What a thread waited for that lock cannot be timed from outside the kernel. `waited_ns` is the
//! time inside the calls; less the thread's time on a CPU and waiting for one, it is the time
//! blocked, and the threads block on nothing else.

use std::thread;

use anyhow::Result;

use crate::{
    kinds::Kind,
    meter::Meter,
    run::Worker,
    sys::{Mapping, PAGE},
    truth::Cause,
};

/// Enough pages for an unmapping to hold the lock for a while, at most.
const LARGE: usize = 1024 * PAGE;
/// A mapping whose calls take the lock often rather than long.
const SMALL: usize = 16 * PAGE;

pub(super) const KIND: Kind = Kind {
    name: "mmap-storm",
    about: "several threads mmap, touch, madvise and munmap on one memory map while others come and go",
    workers: |settings| {
        let stormer = |number: usize| {
            let length = if number.is_multiple_of(2) { LARGE } else { SMALL };
            Worker::new(&format!("storm-{number}"), Cause::MmapLock, move |meter| storm(meter, length))
        };
        let spawner = Worker::new("storm-spawn", Cause::Several, |meter| {
            while meter.another_round() {
                meter.wait(brief_thread)?;
            }
            Ok(())
        });
        Ok((0..settings.threads).map(stormer).chain([spawner]).collect())
    },
};

fn storm(meter: &mut Meter, length: usize) -> Result<()> {
    while meter.another_round() {
        meter.wait(|| -> Result<()> {
            let mut memory = Mapping::anonymous(length)?;
            memory.touch();
            memory.advise(libc::MADV_DONTNEED)?;
            memory.touch();
            Ok(())
        })?;
    }
    Ok(())
}

/// A thread that is born, maps memory and ends: its stack and its end take the lock as well.
fn brief_thread() -> Result<()> {
    let thread = thread::Builder::new()
        .name("w-storm-brief".to_owned())
        .spawn(|| Mapping::anonymous(SMALL).map(|mut memory| memory.touch()))?;
    match thread.join() {
        Ok(result) => Ok(result?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
