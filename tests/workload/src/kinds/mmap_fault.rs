//! A thread that reads a mapped file whose pages are not in memory: every fault waits for a read.

use std::{fs::File, hint::black_box};

use crate::{
    kinds::{Kind, files::Scratch},
    run::Worker,
    sys::{self, Mapping, PAGE},
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "mmap-fault",
    about: "page faults on a mapped file on --dir that is not cached",
    workers: |settings| {
        let length = settings.file_bytes.max(PAGE);
        let path = Scratch::file(&settings.dir_for("mmap-fault")?, "mmap-fault", length)?;
        let file = File::open(&*path)?;
        let mapping = Mapping::of_file(&file, length)?;
        // No reading ahead: each fault waits for its own page.
        mapping.advise(libc::MADV_RANDOM)?;
        Ok(vec![Worker::new("mmap-fault", Cause::File, move |meter| {
            while meter.another_round() {
                // A page can leave the cache only when nobody has it mapped.
                mapping.advise(libc::MADV_DONTNEED)?;
                sys::drop_cache(&file)?;
                for offset in (0..length).step_by(PAGE) {
                    black_box(meter.wait(|| mapping.read_at(offset)));
                }
            }
            drop(path);
            Ok(())
        })])
    },
};
