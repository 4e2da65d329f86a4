//! What a run brings along: files of this machine, settings and the script, as the uppermost layer of the guest's root.
//!
//! A layer instead of an archive that is unpacked: nothing is copied in the guest, and only what is used is read.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    erofs::{self, Packing},
    host,
};

/// The functions that scripts call, and the guest's first program in the root image.
const GUEST_FILES: [(&str, &str); 6] = [
    ("lab/init", include_str!("../guest/init.sh")),
    ("lab/meet", include_str!("../guest/meet.sh")),
    ("lab/lib/common.sh", include_str!("../guest/common.sh")),
    ("lab/lib/nfs.sh", include_str!("../guest/nfs.sh")),
    ("lab/lib/network.sh", include_str!("../guest/network.sh")),
    ("lab/lib/disk.sh", include_str!("../guest/disk.sh")),
];

/// The files and settings of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    files: Vec<(PathBuf, String)>,
    variables: Vec<(String, String)>,
}

impl Payload {
    pub(crate) fn file(&mut self, from: &Path, to: &str) {
        self.files.push((from.to_owned(), to.to_owned()));
    }

    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Packs everything, with `script` as what to run, into `image`.
    pub(crate) fn pack(&self, script: &str, image: &Path) -> Result<()> {
        let tree = image.with_extension("tree");
        for (path, content) in GUEST_FILES {
            write(&tree.join(path), content)?;
        }
        write(&tree.join("lab/env"), &self.environment()?)?;
        write(&tree.join("lab/script"), script)?;
        for (from, to) in &self.files {
            let to = tree.join(inside(to)?);
            copy(from, &to).with_context(|| format!("bringing {} into the guest", from.display()))?;
        }
        erofs::pack(&tree, image, Packing::Plain)?;
        fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))
    }

    fn environment(&self) -> Result<String> {
        let mut text = String::new();
        for (name, value) in &self.variables {
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                bail!("{name:?} is no name for a variable in the guest");
            }
            writeln!(text, "export {name}={}", host::quote(value))?;
        }
        Ok(text)
    }
}

/// A guest's absolute path, relative to its root.
///
/// `/bin`, `/lib` and the like are links to folders in `/usr` there, which a folder in an upper layer would hide.
fn inside(guest: &str) -> Result<PathBuf> {
    let Ok(relative) = Path::new(guest).strip_prefix("/") else {
        bail!("{guest} is not an absolute path in the guest");
    };
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) || relative.as_os_str().is_empty() {
        bail!("{guest} is not a plain path of a file in the guest");
    }
    let linked = ["bin", "sbin", "lib", "lib64"].iter().any(|link| relative.starts_with(link));
    Ok(if linked { Path::new("usr").join(relative) } else { relative.to_owned() })
}

fn write(path: &Path, content: &str) -> Result<()> {
    let parent = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", path.display()))
}

/// Copies a file or a whole folder.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_links_of_a_merged_usr() {
        assert_eq!(inside("/usr/local/bin/x").unwrap(), Path::new("usr/local/bin/x"));
        assert_eq!(inside("/bin/x").unwrap(), Path::new("usr/bin/x"));
        assert_eq!(inside("/library/x").unwrap(), Path::new("library/x"));
        assert!(inside("x").is_err() && inside("/a/../b").is_err() && inside("/").is_err());
    }

    #[test]
    fn values_reach_the_guest_unchanged() {
        let mut payload = Payload::default();
        payload.variable("WHERE", "a b's");
        assert_eq!(payload.environment().unwrap(), "export WHERE='a b'\\''s'\n");
        payload.variable("9LIVES", "x");
        assert!(payload.environment().is_err());
    }
}
