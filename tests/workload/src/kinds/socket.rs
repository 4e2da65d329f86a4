//! A thread that receives from a socket whose other end sleeps before each byte.

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
};

use anyhow::Result;

use crate::{
    kinds::{Kind, peer},
    run::Worker,
    settings::Settings,
    truth::Cause,
};

pub(super) const TCP: Kind = Kind {
    name: "socket-tcp",
    about: "receives over loopback TCP from a peer that sleeps",
    workers: |settings| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let writer = TcpStream::connect(listener.local_addr()?)?;
        // Each byte is sent at once, not held back to be sent with the next one.
        writer.set_nodelay(true)?;
        let (reader, _) = listener.accept()?;
        Ok(vec![receiver("tcp", reader), peer::sleepy_writer("tcp-peer", writer, settings)])
    },
};

pub(super) const UNIX: Kind = Kind {
    name: "socket-unix",
    about: "receives over a unix socket from a peer that sleeps",
    workers: |settings: &Settings| -> Result<Vec<Worker>> {
        let (reader, writer) = UnixStream::pair()?;
        Ok(vec![receiver("unix", reader), peer::sleepy_writer("unix-peer", writer, settings)])
    },
};

fn receiver(name: &str, mut reader: impl Read + Send + 'static) -> Worker {
    Worker::new(name, Cause::Socket, move |meter| {
        while meter.wait(|| reader.read(&mut [0]))? > 0 {}
        Ok(())
    })
}
