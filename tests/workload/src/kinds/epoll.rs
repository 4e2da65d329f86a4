//! A thread that waits in epoll for a pipe whose writer sleeps before each byte.

use std::io::{self, Read};

use crate::{
    kinds::{Kind, peer},
    run::Worker,
    sys::Epoll,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "epoll",
    about: "waits in epoll for a pipe whose writer sleeps",
    workers: |settings| {
        let (mut reader, writer) = io::pipe()?;
        let epoll = Epoll::on(&reader)?;
        Ok(vec![
            Worker::new("epoll", Cause::Poll, move |meter| {
                loop {
                    meter.wait(|| epoll.wait())?;
                    if reader.read(&mut [0])? == 0 {
                        return Ok(());
                    }
                }
            }),
            peer::sleepy_writer("epoll-peer", writer, settings),
        ])
    },
};
