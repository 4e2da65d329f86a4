//! Threads that append to one file: they wait for the inode's lock, which is not a memory lock.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    sync::Arc,
};

use anyhow::Result;

use crate::{
    kinds::{
        Kind,
        files::{BLOCK, Scratch},
    },
    run::Worker,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "append",
    about: "several threads append to one file on --dir: contention on the inode's lock",
    workers: |settings| {
        let path = Arc::new(Scratch::path(&settings.dir_for("append")?, "append"));
        let limit = settings.file_bytes.max(BLOCK) as u64;
        let worker = |number: usize| {
            let file = OpenOptions::new().append(true).create(true).open(&**path)?;
            // The last thread to end removes the file.
            let path = Arc::clone(&path);
            Ok(Worker::new(&format!("append-{number}"), Cause::InodeLock, move |meter| {
                while meter.another_round() {
                    meter.wait(|| write_within(&file, limit))?;
                }
                drop(path);
                Ok(())
            }))
        };
        (0..settings.threads).map(worker).collect()
    },
};

/// Appends a large block, and starts over when the file has grown to `limit`.
fn write_within(mut file: &File, limit: u64) -> Result<()> {
    file.write_all(&[9; BLOCK])?;
    if file.metadata()?.len() > limit {
        file.set_len(0)?;
    }
    Ok(())
}
