//! One thread that holds the lock of the memory map for writing, again and again and for a while each
//! time, and others that ask for it only to read: whoever waits for a writer waits for that thread.

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    kinds::Kind,
    run::Worker,
    sys::{Mapping, PAGE},
    truth::Cause,
};

/// Enough pages for a change of their protection to take a while.
pub(super) const HELD: usize = 8192 * PAGE;

pub(super) const KIND: Kind = Kind {
    name: "mmap-holder",
    about: "one thread changes the protection of a large mapping, others ask about a small one (mincore)",
    workers: |settings| {
        let holder = Worker::new("holder", Cause::Several, |meter| {
            let mut memory = Mapping::anonymous(HELD)?;
            memory.advise(libc::MADV_NOHUGEPAGE)?;
            memory.touch();
            while meter.another_round() {
                meter.wait(|| memory.protect(libc::PROT_READ))?;
                meter.wait(|| memory.protect(libc::PROT_READ | libc::PROT_WRITE))?;
            }
            Ok(())
        });
        Ok((0..settings.threads).map(|number| asker(number, Duration::ZERO)).chain([holder]).collect())
    },
};

/// A thread that takes the lock of its memory map to read, again and again, with a rest in between.
pub(super) fn asker(number: usize, rest: Duration) -> Worker {
    Worker::new(&format!("asker-{number}"), Cause::MmapLock, move |meter| -> Result<()> {
        let memory = Mapping::anonymous(PAGE)?;
        while meter.another_round() {
            meter.wait(|| memory.resident_pages())?;
            if !rest.is_zero() {
                thread::sleep(rest);
            }
        }
        Ok(())
    })
}
