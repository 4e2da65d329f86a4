//! A thread that reads from a pipe whose writer sleeps before each byte.

use std::io::{self, Read};

use crate::{
    kinds::{Kind, peer},
    run::Worker,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "pipe",
    about: "reads from a pipe whose writer sleeps",
    workers: |settings| {
        let (mut reader, writer) = io::pipe()?;
        Ok(vec![
            Worker::new("pipe", Cause::Pipe, move |meter| {
                while meter.wait(|| reader.read(&mut [0]))? > 0 {}
                Ok(())
            }),
            peer::sleepy_writer("pipe-peer", writer, settings),
        ])
    },
};
