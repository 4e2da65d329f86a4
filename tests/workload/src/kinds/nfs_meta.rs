//! A thread that creates, looks up, renames, lists and removes many small files.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
};

use crate::{
    kinds::{Kind, files::Scratch},
    meter::Meter,
    run::Worker,
    truth::Cause,
};

/// Files per round.
const FILES: usize = 16;

pub(super) const KIND: Kind = Kind {
    name: "nfs-meta",
    about: "creates, stats, renames, lists and removes many files on --dir",
    workers: |settings| {
        let folder = Scratch::folder(&settings.dir_for("nfs-meta")?, "nfs-meta")?;
        Ok(vec![Worker::new("nfs-meta", Cause::File, move |meter| {
            while meter.another_round() {
                round(&folder, meter)?;
            }
            drop(folder);
            Ok(())
        })])
    },
};

/// One round: it leaves the folder as empty as it found it.
pub(super) fn round(folder: &Path, meter: &mut Meter) -> io::Result<()> {
    let old = |number| folder.join(format!("file-{number}"));
    let new = |number| folder.join(format!("renamed-{number}"));
    for number in 0..FILES {
        meter.wait(|| File::create(old(number)))?;
    }
    for number in 0..FILES {
        meter.wait(|| fs::metadata(old(number)))?;
        meter.wait(|| fs::rename(old(number), new(number)))?;
    }
    let missing = meter.wait(|| fs::metadata(old(0)));
    assert_eq!(missing.map_err(|error| error.kind()).err(), Some(ErrorKind::NotFound));
    let listed = meter.wait(|| fs::read_dir(folder).map(Iterator::count))?;
    assert_eq!(listed, FILES, "the folder lists every file");
    for number in 0..FILES {
        meter.wait(|| fs::remove_file(new(number)))?;
    }
    Ok(())
}
