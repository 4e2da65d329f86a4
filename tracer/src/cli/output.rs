//! Files that are written: their place is checked before the work, and they appear only when whole.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tempfile::NamedTempFile;

/// Where something will be written.
pub(super) struct Output {
    what: &'static str,
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A file: written beside its place and moved there when it is whole.
    File,
    /// A pipe or device that is there already.
    Special(File),
}

impl Output {
    /// Makes sure that `what` can be written there. Leaves nothing behind, so that a tracer that is
    /// killed does not either.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(super) fn reserve(what: &'static str, path: &Path) -> Result<Self> {
        let advice = || format!("cannot write {what} to {}: give -o a path that can be written", path.display());
        let place = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                bail!("cannot write {what} to {}: it is a folder; give -o a file", path.display())
            }
            Ok(metadata) if !metadata.is_file() => {
                Place::Special(File::options().write(true).open(path).with_context(advice)?)
            }
            _ => {
                temporary_beside(path).with_context(advice)?;
                Place::File
            }
        };
        Ok(Self { what, path: path.to_path_buf(), place })
    }

    /// Writes it. An old file of this name is replaced only if all went well.
    ///
    /// # Errors
    /// If it cannot be written, as when the disk is full.
    pub(super) fn write(self, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let context = || format!("{} was not written to {}", self.what, self.path.display());
        match self.place {
            Place::Special(file) => write_to(&file, content).with_context(context),
            Place::File => {
                let file = temporary_beside(&self.path).with_context(context)?;
                write_to(file.as_file(), content).with_context(context)?;
                file.as_file().sync_all().with_context(context)?;
                file.persist(&self.path).with_context(context)?;
                Ok(())
            }
        }
    }
}

/// A new file in the same folder; gone when dropped.
fn temporary_beside(path: &Path) -> std::io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    NamedTempFile::with_prefix_in(".nfslat-", folder)
}

fn write_to(file: &File, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut writer = BufWriter::new(file);
    content(&mut writer)?;
    writer.flush()?;
    Ok(())
}
