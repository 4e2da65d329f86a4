//! A thread that waits for the end of child processes which sleep.

use crate::{kinds::Kind, run::Worker, sys::Child, truth::Cause};

pub(super) const KIND: Kind = Kind {
    name: "child",
    about: "waits for child processes that sleep",
    workers: |settings| {
        let step = settings.step;
        Ok(vec![Worker::new("child", Cause::Child, move |meter| {
            while meter.another_round() {
                let child = Child::sleeping(step)?;
                meter.wait(|| child.wait())?;
            }
            Ok(())
        })])
    },
};
