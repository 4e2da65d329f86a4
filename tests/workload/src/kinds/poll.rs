//! A thread that polls a pipe whose writer sleeps before each byte.

use std::io::{self, Read};

use crate::{
    kinds::{Kind, peer},
    run::Worker,
    sys,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "poll",
    about: "polls a pipe whose writer sleeps",
    workers: |settings| {
        let (mut reader, writer) = io::pipe()?;
        Ok(vec![
            Worker::new("poll", Cause::Poll, move |meter| {
                loop {
                    meter.wait(|| sys::poll_readable(&reader))?;
                    if reader.read(&mut [0])? == 0 {
                        return Ok(());
                    }
                }
            }),
            peer::sleepy_writer("poll-peer", writer, settings),
        ])
    },
};
