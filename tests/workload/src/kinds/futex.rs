//! A thread that waits on a condition variable which another one signals after each sleep.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crate::{kinds::Kind, run::Worker, truth::Cause};

#[derive(Default)]
struct Tickets {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: u64,
    closed: bool,
}

impl Tickets {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits for a ticket; false when there will be no more.
    fn take(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = |state: &mut State| state.ready == 0 && !state.closed;
        let mut state = self.changed.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner);
        let taken = state.ready > 0;
        state.ready -= u64::from(taken);
        taken
    }
}

pub(super) const KIND: Kind = Kind {
    name: "futex",
    about: "waits on a condition variable",
    workers: |settings| {
        let step = settings.step;
        let tickets = Arc::new(Tickets::default());
        let taker = Arc::clone(&tickets);
        Ok(vec![
            Worker::new("futex", Cause::Futex, move |meter| {
                while meter.wait(|| taker.take()) {}
                Ok(())
            }),
            Worker::new("futex-peer", Cause::Sleep, move |meter| {
                while meter.another_round() {
                    meter.wait(|| thread::sleep(step));
                    tickets.change(|state| state.ready += 1);
                }
                tickets.change(|state| state.closed = true);
                Ok(())
            }),
        ])
    },
};
