//! A thread that computes and sleeps in turn: the check of on-CPU time.

use std::thread;

use crate::{kinds::Kind, run::Worker, sys, truth::Cause};

pub(super) const KIND: Kind = Kind {
    name: "busy",
    about: "computes for a step of CPU time, sleeps for a step, in turn, on several threads",
    workers: |settings| {
        let step = settings.step;
        let step_ns = u64::try_from(step.as_nanos())?;
        let worker = |number: usize| {
            Worker::new(&format!("busy-{number}"), Cause::Sleep, move |meter| {
                while meter.another_round() {
                    let start = sys::thread_cpu_time_ns();
                    while sys::thread_cpu_time_ns() - start < step_ns {}
                    meter.wait(|| thread::sleep(step));
                }
                Ok(())
            })
        };
        Ok((0..settings.threads).map(worker).collect())
    },
};
