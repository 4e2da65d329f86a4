//! A thread that reads `/proc/PID/environ` of another process, whose own thread holds the lock of its
//! memory map for writing again and again: the reader waits for the lock of a memory map not its own.

use std::fs;

use crate::{
    kinds::{Kind, mmap_holder::HELD},
    run::Worker,
    sys::{Child, Mapping},
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "proc-reader",
    about: "reads /proc/PID/environ of a child that changes the protection of a large mapping",
    workers: |_| {
        let mut memory = Mapping::anonymous(HELD)?;
        memory.advise(libc::MADV_NOHUGEPAGE)?;
        memory.touch();
        let child = Child::changing_protection(&memory)?;
        Ok(vec![Worker::new("proc-reader", Cause::MmapLock, move |meter| {
            let path = format!("/proc/{}/environ", child.pid());
            while meter.another_round() {
                meter.wait(|| fs::read(&path))?;
            }
            child.kill()?;
            drop(memory);
            Ok(())
        })])
    },
};
