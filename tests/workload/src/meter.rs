//! Times the blocking calls of one thread and tells it when to stop.

use std::time::{Duration, Instant};

use crate::settings::Settings;

/// The stopwatch of one thread.
#[derive(Debug)]
pub struct Meter {
    end: Instant,
    rounds_left: Option<u64>,
    waited: Duration,
    count: u64,
}

impl Meter {
    /// A meter for a thread that begins now.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        Self { end: Instant::now() + settings.duration, rounds_left: settings.count, waited: Duration::ZERO, count: 0 }
    }

    /// Whether to do one more round. A number of rounds, if given, decides alone.
    pub fn another_round(&mut self) -> bool {
        match &mut self.rounds_left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => Instant::now() < self.end,
        }
    }

    /// Makes one call that is meant to block, and times it.
    pub fn wait<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.waited += start.elapsed();
        self.count += 1;
        result
    }

    /// Time inside the blocking calls so far.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Number of blocking calls so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}
