//! One thread that maps a file, and others that ask for the lock of the same memory map to read.
//!
//! On NFS without cached attributes the kernel asks the server about the file while it holds the lock
//! for writing (`nfs_file_mmap` in `fs/nfs/file.c`): the others then wait for the server by way of
//! the lock.

use std::{fs::File, io::Write, time::Duration};

use crate::{
    kinds::{Kind, files::Scratch, mmap_holder::asker},
    run::Worker,
    sys::{Mapping, PAGE},
    truth::Cause,
};

/// So that the threads wait for the lock, and not for a CPU.
const REST: Duration = Duration::from_millis(1);

pub(super) const KIND: Kind = Kind {
    name: "nfs-mmap",
    about: "one thread maps and unmaps a file on --dir, others ask about another mapping (mincore)",
    workers: |settings| {
        let folder = Scratch::folder(&settings.dir_for("nfs-mmap")?, "nfs-mmap")?;
        let mapper = Worker::new("mapper", Cause::Several, move |meter| {
            let path = folder.join("mapped");
            File::create(&path)?.write_all(&[1; PAGE])?;
            let file = File::open(&path)?;
            while meter.another_round() {
                meter.wait(|| Mapping::of_file(&file, PAGE).map(drop))?;
            }
            drop(folder);
            Ok(())
        });
        Ok((0..settings.threads).map(|number| asker(number, REST)).chain([mapper]).collect())
    },
};
