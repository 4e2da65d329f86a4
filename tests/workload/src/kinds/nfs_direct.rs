//! A thread that writes and reads a file past the page cache.

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
    name: "nfs-direct",
    about: "direct writes and reads of a file on --dir",
    workers: |settings| {
        let path = Scratch::path(&settings.dir_for("nfs-direct")?, "nfs-direct");
        let file = open_direct(&path)?;
        let blocks = (settings.file_bytes / BLOCK).max(1) as u64;
        Ok(vec![Worker::new("nfs-direct", Cause::File, move |meter| {
            let mut buffer = direct_buffer()?;
            let mut block = 0;
            while meter.another_round() {
                meter.wait(|| file.write_all_at(buffer.bytes(), block * BLOCK as u64))?;
                meter.wait(|| file.read_exact_at(buffer.bytes(), block * BLOCK as u64))?;
                block = (block + 1) % blocks;
            }
            drop(path);
            Ok(())
        })])
    },
};
