//! Builds the kernel side, so that one `cargo build` makes a binary that carries it.
//!
//! The BPF target needs a compiler with the source of `core` and the linker bpf-linker.
//! `cargo xtask setup` finds or installs both and notes them in a cache folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya_build::{Package, Toolchain};

fn main() -> Result<()> {
    for variable in ["NFSLAT_CACHE", "XDG_CACHE_HOME", "HOME"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed=../tracer-common/src");
    let ebpf_cache = cache_dir()?.join("ebpf");
    let toolchain = toolchain(&ebpf_cache)?;
    prepend_to_path(&ebpf_cache.join("bin"))?;
    if toolchain.starts_with("nfslat-") {
        // A release compiler with its own source: it builds `core` when told that this is meant.
        // SAFETY: the build script has one thread.
        unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    }
    let root = env::var("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")? + "/../tracer-ebpf";
    let package = Package { name: "tracer-ebpf", root_dir: &root, no_default_features: false, features: &[] };
    share_build_folder()?;
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))
}

/// Lets the profiles share one build of the kernel side, which is the same for all and takes a minute:
/// aya-build's folder becomes a link to one beside the profiles' own.
fn share_build_folder() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // TARGET/PROFILE/build/PACKAGE/out
    let target = out.ancestors().nth(4).context("OUT_DIR is not where cargo puts it")?;
    let (shared, link) = (target.join("ebpf"), out.join("aya-build/target"));
    fs::create_dir_all(&shared).with_context(|| format!("cannot create {}", shared.display()))?;
    fs::create_dir_all(out.join("aya-build"))?;
    if fs::read_link(&link).is_ok_and(|target| target == shared) {
        return Ok(());
    }
    if link.is_symlink() {
        // A target folder that was copied: its link leads to the other's build.
        fs::remove_file(&link).with_context(|| format!("cannot remove {}", link.display()))?;
    } else if link.exists() {
        fs::remove_dir_all(&link).with_context(|| format!("cannot remove {}", link.display()))?;
    }
    std::os::unix::fs::symlink(&shared, &link).with_context(|| format!("cannot create {}", link.display()))
}

/// The folder that `cargo xtask setup` uses; the rule stands in its module `cache` too.
fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("NFSLAT_CACHE") {
        return Ok(dir.into());
    }
    if let Some(dir) = env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("nfslat"));
    }
    let home = env::var_os("HOME").ok_or_else(|| anyhow!("HOME is not set; set NFSLAT_CACHE"))?;
    Ok(PathBuf::from(home).join(".cache/nfslat"))
}

fn toolchain(ebpf_cache: &Path) -> Result<String> {
    let note = ebpf_cache.join("toolchain");
    println!("cargo:rerun-if-changed={}", note.display());
    let name = fs::read_to_string(&note).with_context(|| {
        format!("no toolchain for the eBPF side is set up ({}): run `cargo xtask setup`", note.display())
    })?;
    let name = name.trim();
    if name.is_empty() {
        bail!("{} is empty: run `cargo xtask setup`", note.display());
    }
    Ok(name.to_owned())
}

fn prepend_to_path(dir: &Path) -> Result<()> {
    let old = env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(dir.to_path_buf()).chain(env::split_paths(&old));
    let path = env::join_paths(paths).context("cannot extend PATH")?;
    // SAFETY: the build script has one thread.
    unsafe { env::set_var("PATH", path) };
    Ok(())
}
