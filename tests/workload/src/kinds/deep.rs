//! A thread that reads from a pipe in functions whose names and order are known, and one that
//! sleeps in many different user stacks.

use std::{io, os::fd::AsRawFd as _};

use anyhow::ensure;

use crate::{
    frames,
    kinds::{Kind, peer},
    run::Worker,
    sys,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "deep",
    about: "reads from a pipe in w_inner, called by w_middle and w_outer",
    workers: |settings| {
        let (reader, writer) = io::pipe()?;
        Ok(vec![
            Worker::new("deep", Cause::Pipe, move |meter| {
                while meter.wait(|| frames::read_byte(reader.as_raw_fd())) > 0 {}
                Ok(())
            }),
            peer::sleepy_writer("deep-peer", writer, settings),
        ])
    },
};

/// User stacks, if no number is given.
const STACKS: u64 = 20_000;
/// Turns that make them differ.
const TURNS: usize = 15;
/// One sleep: long enough not to be over before the thread has left its CPU, even on an emulated
/// machine.
const SLEEP_NS: u32 = 150_000;

pub(super) const STACKS_KIND: Kind = Kind {
    name: "stacks",
    about: "sleeps --count times, each time in another user stack",
    workers: |settings| {
        let count = settings.count.unwrap_or(STACKS);
        ensure!(count <= 1 << TURNS, "there are no more than {} stacks", 1 << TURNS);
        Ok(vec![Worker::new("stacks", Cause::Sleep, move |meter| {
            sys::wake_on_time()?;
            for turns in 0..count {
                meter.wait(|| frames::sleep_after_turns(SLEEP_NS, turns as usize, TURNS));
            }
            Ok(())
        })])
    },
};
