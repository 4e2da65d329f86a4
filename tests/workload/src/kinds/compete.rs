//! Threads that compete for one CPU and never block: the check of run-queue time.

use std::{hint, thread};

use crate::{kinds::Kind, run::Worker, sys, truth::Cause};

/// How often a spinner looks at the clock: rarely, so that it computes rather than asks.
const SPINS: u32 = 10_000;

pub(super) const KIND: Kind = Kind {
    name: "compete",
    about: "twice as many spinning threads as CPUs, all pinned to one CPU",
    workers: |_| {
        let cpu = sys::allowed_cpus()?[0];
        let worker = |number| {
            Worker::new(&format!("compete-{number}"), Cause::Cpu, |meter| {
                while meter.another_round() {
                    (0..SPINS).for_each(|_| hint::spin_loop());
                }
                Ok(())
            })
            .on_cpu(cpu)
        };
        Ok((0..2 * thread::available_parallelism()?.get()).map(worker).collect())
    },
};
