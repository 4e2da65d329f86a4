//! Work that may never end, done elsewhere and waited for so long and no longer.
//!
//! A disk may never answer. The wait ends when this process does: it is killable.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Threads that may be given up on; then nothing more is begun.
const MAX_ABANDONED: usize = 8;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abandoned;

/// Counts the threads that were given up on.
#[derive(Debug, Default)]
pub(super) struct Patience {
    abandoned: usize,
}

impl Patience {
    /// Does `work` in a thread of its own and waits for it until `limit` has passed or the deadline
    /// has come. A panic in it is no result either.
    pub(super) fn wait<T: Send + 'static>(
        &mut self,
        limit: Duration,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Abandoned> {
        let left = limit.min(deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() || self.abandoned >= MAX_ABANDONED {
            return Err(Abandoned);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("nfslat-symbols".to_owned())
            // Nobody may be listening any more.
            .spawn(move || drop(sender.send(work())))
            .map_err(|_| Abandoned)?;
        receiver.recv_timeout(left).map_err(|_| {
            self.abandoned += 1;
            Abandoned
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    fn later() -> Instant {
        Instant::now() + LONG
    }

    #[test]
    fn what_ends_in_time_has_a_result() {
        assert_eq!(Patience::default().wait(LONG, later(), || 7), Ok(7));
    }

    #[test]
    fn what_does_not_is_given_up_on() {
        let mut patience = Patience::default();
        let begun = Instant::now();
        assert_eq!(patience.wait(SHORT, later(), || thread::sleep(LONG)), Err(Abandoned));
        assert_eq!(patience.wait(LONG, Instant::now() + SHORT, || thread::sleep(LONG)), Err(Abandoned));
        assert!(begun.elapsed() < LONG / 10);
    }

    #[test]
    fn only_so_many_are_given_up_on() {
        let mut patience = Patience { abandoned: MAX_ABANDONED };
        assert_eq!(patience.wait(LONG, later(), || 7), Err(Abandoned));
    }
}
