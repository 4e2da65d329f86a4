//! A thread that appends to a file and makes the data durable.

use std::{fs::File, io::Write};

use crate::{
    kinds::{Kind, files::Scratch},
    run::Worker,
    sys::PAGE,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "fsync",
    about: "appends to a file on --dir, then fsync or fdatasync",
    workers: |settings| {
        let path = Scratch::path(&settings.dir_for("fsync")?, "fsync");
        let mut file = File::create(&*path)?;
        Ok(vec![Worker::new("fsync", Cause::File, move |meter| {
            while meter.another_round() {
                file.write_all(&[7; PAGE])?;
                meter.wait(|| file.sync_all())?;
                file.write_all(&[8; PAGE])?;
                meter.wait(|| file.sync_data())?;
            }
            drop(path);
            Ok(())
        })])
    },
};
