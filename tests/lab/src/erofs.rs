//! Packing a folder into a read-only file system image.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::host;

/// How a folder is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is, all files root's: for what is made anew for each run.
    Plain,
    /// With lz4, which an emulated processor still unpacks quickly, all files root's: for images that are kept.
    Small,
    /// With lz4 and the owners that the files have, which takes root to read them all.
    SmallWithOwners,
}

/// Packs `folder` into `image`, which appears whole or not at all.
pub(crate) fn pack(folder: &Path, image: &Path, packing: Packing) -> Result<()> {
    let unfinished = image.with_extension("part");
    let mut command = match packing {
        Packing::Plain | Packing::Small => host::command("mkfs.erofs"),
        Packing::SmallWithOwners => host::privileged("mkfs.erofs")?,
    };
    command.arg("--quiet");
    if packing != Packing::Plain {
        command.arg("-zlz4");
    }
    if packing != Packing::SmallWithOwners {
        command.arg("--all-root");
    }
    host::run(command.arg(&unfinished).arg(folder))?;
    fs::rename(&unfinished, image).with_context(|| format!("moving {} into place", image.display()))
}
