//! Where downloads, images and toolchain pieces are kept between runs.
//!
//! One place decides it, so that setup, the lab, the demo and the tests never look in different folders.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// Overrides the folder, for a machine whose home is small or shared.
const OVERRIDE: &str = "NFSLAT_CACHE";

/// The cache folder: `$NFSLAT_CACHE`, else `$XDG_CACHE_HOME/nfslat`, else `~/.cache/nfslat`.
pub fn root() -> Result<PathBuf> {
    resolve(|name| env::var_os(name))
}

/// The part of the cache that holds the toolchain for the kernel side.
#[must_use]
pub fn ebpf(root: &Path) -> PathBuf {
    root.join("ebpf")
}

/// The part of the cache that holds kernels, the guests' root image and what guests left behind.
#[must_use]
pub fn lab(root: &Path) -> PathBuf {
    root.join("lab")
}

fn resolve(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let path = if let Some(path) = set(OVERRIDE) {
        PathBuf::from(path)
    } else if let Some(path) = set("XDG_CACHE_HOME") {
        PathBuf::from(path).join("nfslat")
    } else if let Some(home) = set("HOME") {
        PathBuf::from(home).join(".cache/nfslat")
    } else {
        bail!("no folder for downloads: neither {OVERRIDE} nor HOME is set; set {OVERRIDE} to a folder with 3 GB free");
    };
    if path.is_relative() {
        bail!("{} is not an absolute path: set {OVERRIDE} to one", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &'static [(&'static str, &'static str)]) -> Result<PathBuf> {
        resolve(move |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_override_wins_over_xdg_and_home() {
        let all = with(&[(OVERRIDE, "/big/disk"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/home/me")]);
        assert_eq!(all.unwrap(), Path::new("/big/disk"));
        let xdg = with(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/home/me")]);
        assert_eq!(xdg.unwrap(), Path::new("/x/nfslat"));
        let home = with(&[(OVERRIDE, ""), ("HOME", "/home/me")]);
        assert_eq!(home.unwrap(), Path::new("/home/me/.cache/nfslat"));
    }

    #[test]
    fn without_any_folder_the_error_names_the_variable_to_set() {
        let error = with(&[]).unwrap_err().to_string();
        assert!(error.contains(OVERRIDE), "{error}");
        assert!(with(&[(OVERRIDE, "relative")]).is_err());
    }
}
