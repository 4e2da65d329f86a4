//! Times the blocking calls of one thread and tells it when to stop.

use std::time::{Duration, Instant};

use crate::{settings::Settings, sys};

/// Calls for which there is room from the start: a list that grows takes memory, and so memory locks.
const ROOM: usize = 1 << 16;

/// The stopwatch of one thread.
#[derive(Debug)]
pub struct Meter {
    end: Instant,
    rounds_left: Option<u64>,
    waited: Duration,
    count: u64,
    calls_from: Option<Duration>,
    calls: Vec<(u64, u64)>,
}

impl Meter {
    /// A meter for a thread that begins now.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let mut calls = Vec::new();
        if settings.calls_from.is_some() {
            // Written to, or the first use of each page would be a fault.
            calls.resize(ROOM, (1, 1));
            calls.clear();
        }
        Self {
            end: Instant::now() + settings.duration,
            rounds_left: settings.count,
            waited: Duration::ZERO,
            count: 0,
            calls_from: settings.calls_from,
            calls,
        }
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
        let begin_ns = sys::monotonic_ns();
        let result = call();
        let end_ns = sys::monotonic_ns();
        let length = Duration::from_nanos(end_ns - begin_ns);
        self.waited += length;
        self.count += 1;
        if self.calls_from.is_some_and(|from| length >= from) {
            self.calls.push((begin_ns, end_ns));
        }
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

    /// When the longer ones were, if that was asked for: begin and end, CLOCK_MONOTONIC.
    #[must_use]
    pub fn into_calls(self) -> Vec<(u64, u64)> {
        self.calls
    }
}
