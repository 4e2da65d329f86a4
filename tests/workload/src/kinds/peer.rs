//! The other side of a workload that waits for data: it sleeps, then sends a byte.

use std::{io::Write, thread};

use crate::{run::Worker, settings::Settings, truth::Cause};

/// A thread that sends one byte after each sleep, and then hangs up: that ends the reader's work.
pub(super) fn sleepy_writer(name: &str, mut writer: impl Write + Send + 'static, settings: &Settings) -> Worker {
    let step = settings.step;
    Worker::new(name, Cause::Sleep, move |meter| {
        while meter.another_round() {
            meter.wait(|| thread::sleep(step));
            writer.write_all(&[1])?;
        }
        Ok(())
    })
}
