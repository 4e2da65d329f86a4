//! A thread that reads a file through the page cache, which it empties before each round.

use std::{fs::File, io::Read, io::Seek};

use crate::{
    kinds::{
        Kind,
        files::{BLOCK, Scratch},
    },
    run::Worker,
    sys,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "nfs-read",
    about: "buffered reads of a file on --dir that is not cached",
    workers: |settings| {
        let path = Scratch::file(&settings.dir_for("nfs-read")?, "nfs-read", settings.file_bytes)?;
        let mut file = File::open(&*path)?;
        Ok(vec![Worker::new("nfs-read", Cause::File, move |meter| {
            let mut buffer = vec![0; BLOCK];
            while meter.another_round() {
                sys::drop_cache(&file)?;
                file.rewind()?;
                while meter.wait(|| file.read(&mut buffer))? > 0 {}
            }
            drop(path);
            Ok(())
        })])
    },
};
