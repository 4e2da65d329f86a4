//! A thread that reads a file on a local disk past the page cache.

use std::os::unix::fs::FileExt;

use crate::{
    kinds::{
        Kind,
        files::{BLOCK, Scratch, direct_buffer, open_direct},
    },
    run::Worker,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "block-read",
    about: "direct reads from a file on --dir, a folder on a local disk",
    workers: |settings| {
        let dir = settings.dir_for("block-read")?;
        let blocks = (settings.file_bytes / BLOCK).max(1) as u64;
        let path = Scratch::file(&dir, "block-read", settings.file_bytes.max(BLOCK))?;
        let file = open_direct(&path)?;
        let mut buffer = direct_buffer()?;
        Ok(vec![Worker::new("block-read", Cause::Storage, move |meter| {
            let mut block = 0;
            while meter.another_round() {
                meter.wait(|| file.read_exact_at(buffer.bytes(), block * BLOCK as u64))?;
                block = (block + 1) % blocks;
            }
            drop(path);
            Ok(())
        })])
    },
};
