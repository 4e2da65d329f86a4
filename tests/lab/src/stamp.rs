//! Telling whether a built file still belongs to the things it was built from.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A short name for the contents of `parts`.
#[must_use]
pub(crate) fn of(parts: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Whether `file` exists and was built from what `stamp` names.
#[must_use]
pub(crate) fn matches(file: &Path, stamp: &str) -> bool {
    file.is_file() && fs::read_to_string(beside(file)).is_ok_and(|found| found == stamp)
}

/// Notes that `file` was built from what `stamp` names.
pub(crate) fn write(file: &Path, stamp: &str) -> Result<()> {
    let path = beside(file);
    fs::write(&path, stamp).with_context(|| format!("writing {}", path.display()))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".stamp");
    PathBuf::from(name)
}
