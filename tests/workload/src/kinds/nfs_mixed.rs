//! A thread that does a bit of everything that makes a file system call its server.
//!
//! With `--count` the calls of the program are the same in every run, so that runs can be compared.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
};

use anyhow::{Result, ensure};

use crate::{
    kinds::{
        Kind,
        files::{BLOCK, Scratch, direct_buffer, open_direct},
        nfs_meta,
    },
    meter::Meter,
    run::Worker,
    sys,
    truth::Cause,
};

pub(super) const KIND: Kind = Kind {
    name: "nfs-mixed",
    about: "metadata, buffered and direct reads and writes, fsync and many files on --dir",
    workers: |settings| {
        let folder = Scratch::folder(&settings.dir_for("nfs-mixed")?, "nfs-mixed")?;
        let length = settings.file_bytes.max(2 * BLOCK);
        Ok(vec![Worker::new("nfs-mixed", Cause::File, move |meter| {
            while meter.another_round() {
                nfs_meta::round(&folder, meter)?;
                buffered(&folder, length, meter)?;
                direct(&folder, meter)?;
                special(&folder, meter)?;
            }
            drop(folder);
            Ok(())
        })])
    },
};

fn buffered(folder: &Path, length: usize, meter: &mut Meter) -> Result<()> {
    let path = folder.join("buffered");
    let block = vec![0x11; BLOCK];
    let mut writer = File::create(&path)?;
    for start in (0..length).step_by(BLOCK) {
        meter.wait(|| writer.write_all(&block[..BLOCK.min(length - start)]))?;
    }
    meter.wait(|| writer.sync_all())?;
    meter.wait(|| drop(writer));
    let mut reader = File::open(&path)?;
    sys::drop_cache(&reader)?;
    let mut content = Vec::new();
    meter.wait(|| reader.read_to_end(&mut content))?;
    ensure!(content.len() == length, "{} bytes came back of {length}", content.len());
    meter.wait(|| drop(reader));
    meter.wait(|| fs::remove_file(&path))?;
    Ok(())
}

fn direct(folder: &Path, meter: &mut Meter) -> Result<()> {
    let path = folder.join("direct");
    let file = open_direct(&path)?;
    let mut buffer = direct_buffer()?;
    for block in 0..4 {
        meter.wait(|| file.write_all_at(buffer.bytes(), block * BLOCK as u64))?;
        meter.wait(|| file.read_exact_at(buffer.bytes(), block * BLOCK as u64))?;
    }
    meter.wait(|| drop(file));
    meter.wait(|| fs::remove_file(&path))?;
    Ok(())
}

/// Calls that no other part makes: links, folders, attributes, and one that fails on the server.
fn special(folder: &Path, meter: &mut Meter) -> Result<()> {
    let (file, link, soft, sub) = (folder.join("a"), folder.join("b"), folder.join("c"), folder.join("d"));
    meter.wait(|| OpenOptions::new().create_new(true).write(true).open(&file))?;
    meter.wait(|| fs::hard_link(&file, &link))?;
    meter.wait(|| symlink("a", &soft))?;
    meter.wait(|| fs::read_link(&soft))?;
    meter.wait(|| fs::set_permissions(&file, Permissions::from_mode(0o600)))?;
    meter.wait(|| fs::create_dir(&sub))?;
    meter.wait(|| File::create(sub.join("inside")))?;
    let refused = meter.wait(|| fs::remove_dir(&sub));
    ensure!(refused.is_err(), "a folder with a file in it was removed");
    meter.wait(|| fs::remove_file(sub.join("inside")))?;
    meter.wait(|| fs::remove_dir(&sub))?;
    for path in [&file, &link, &soft] {
        meter.wait(|| fs::remove_file(path))?;
    }
    Ok(())
}
