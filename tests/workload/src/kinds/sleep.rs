//! A thread that sleeps for a set time, again and again.

use std::thread;

use crate::{kinds::Kind, run::Worker, truth::Cause};

pub(super) const KIND: Kind = Kind {
    name: "sleep",
    about: "timed sleeps",
    workers: |settings| {
        let step = settings.step;
        Ok(vec![Worker::new("sleep", Cause::Sleep, move |meter| {
            while meter.another_round() {
                meter.wait(|| thread::sleep(step));
            }
            Ok(())
        })])
    },
};
