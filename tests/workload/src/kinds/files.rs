//! Files that the workloads read and write.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Deref,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};

use crate::sys::Mapping;

/// Size of one direct read or write, aligned for any device.
pub(super) const BLOCK: usize = 64 << 10;

/// A path in the workload's folder; what is there is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A path for `purpose` that no other process uses; nothing is there yet.
    pub(super) fn path(dir: &Path, purpose: &str) -> Self {
        Self(dir.join(format!("{purpose}.{}", process::id())))
    }

    /// A folder.
    pub(super) fn folder(dir: &Path, purpose: &str) -> Result<Self> {
        let scratch = Self::path(dir, purpose);
        fs::create_dir(&*scratch).with_context(|| format!("creating {}", scratch.display()))?;
        Ok(scratch)
    }

    /// A file of `length` bytes, written back to its disk or server.
    pub(super) fn file(dir: &Path, purpose: &str, length: usize) -> Result<Self> {
        let scratch = Self::path(dir, purpose);
        scratch.fill(length).with_context(|| format!("writing {}", scratch.display()))?;
        Ok(scratch)
    }

    fn fill(&self, length: usize) -> io::Result<()> {
        let mut file = File::create(&self.0)?;
        let block = vec![0xA5; BLOCK];
        for start in (0..length).step_by(BLOCK) {
            file.write_all(&block[..BLOCK.min(length - start)])?;
        }
        file.sync_all()
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: a folder that stays behind does no harm and must not hide the result.
        if self.0.is_dir() {
            drop(fs::remove_dir_all(&self.0));
        } else {
            drop(fs::remove_file(&self.0));
        }
    }
}

/// Opens `path` for reads and writes that bypass the page cache.
pub(super) fn open_direct(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_DIRECT);
    options.open(path).with_context(|| format!("opening {} with O_DIRECT", path.display()))
}

/// A buffer for direct reads and writes.
pub(super) fn direct_buffer() -> io::Result<Mapping> {
    let mut buffer = Mapping::anonymous(BLOCK)?;
    buffer.bytes().fill(0x5A);
    Ok(buffer)
}
