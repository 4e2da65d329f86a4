//! The toolchain for the kernel side: a compiler that comes with its own library source, and the linker.
//!
//! `core` for the BPF target has to be compiled along, from a source that matches the compiler exactly. A nightly with
//! `rust-src` is the usual way; Debian's compiler with its source package is another that needs nothing but apt.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use nfslat_lab::{apt, cache, host};

use crate::show;

/// The name under which rustup knows Debian's compiler.
const LINKED: &str = "nfslat-ebpf";

/// Debian's compiler and the matching library source. They are kept new for building browsers.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

const LINKER: &str = "0.13.0";

/// A toolchain that can compile for the BPF target.
pub(crate) struct Toolchain {
    name: String,
    sysroot: PathBuf,
    /// The first number of its LLVM's version.
    llvm: u32,
}

/// Finds or installs the whole toolchain.
pub(crate) fn setup() -> Result<()> {
    linker(&compiler()?)
}

/// Finds or installs the compiler.
pub(crate) fn compiler() -> Result<Toolchain> {
    if let Some(found) = find_toolchain()? {
        show::step("eBPF compiler", &format!("ready, toolchain {} (LLVM {})", found.name, found.llvm));
        return Ok(found);
    }
    let start = Instant::now();
    install_debian_toolchain().map_err(|error| {
        let remedy = "rustup toolchain install nightly --component rust-src";
        host::with_remedy(&error, &format!("get a compiler for the kernel side, and run the same again:\n  {remedy}"))
    })?;
    let found = find_toolchain()?.context("Debian's compiler was installed, but rustup does not run it")?;
    let packages = DEBIAN_PACKAGES.join(" ");
    show::step("eBPF compiler", &format!("installed {packages} ({})", show::duration(start.elapsed())));
    Ok(found)
}

/// Finds or builds the linker, and leaves the toolchain's name where nfslat's build script looks for it.
pub(crate) fn linker(toolchain: &Toolchain) -> Result<()> {
    let folder = cache::ebpf(&cache::root()?);
    link_llvm(&folder.join("llvm/lib"), toolchain)?;
    build_linker(&folder, toolchain)?;
    let note = folder.join("toolchain");
    fs::write(&note, &toolchain.name).with_context(|| format!("writing {}", note.display()))
}

fn find_toolchain() -> Result<Option<Toolchain>> {
    let list = host::output(host::command("rustup").args(["toolchain", "list"])).context("listing Rust toolchains")?;
    Ok(candidates(&list).into_iter().find_map(|name| usable(&name)))
}

/// The toolchains to try, in order of preference.
fn candidates(list: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let (nightly, other): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with("nightly"));
    nightly.into_iter().chain(other.into_iter().filter(|name| *name == LINKED)).map(str::to_owned).collect()
}

/// The toolchain `name`, if it runs and has its library source.
fn usable(name: &str) -> Option<Toolchain> {
    let rustc =
        |arguments: &[&str]| host::output(host::command("rustup").args(["run", name, "rustc"]).args(arguments)).ok();
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?.trim());
    let source = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    let llvm = llvm_major(&rustc(&["-vV"])?)?;
    source.is_file().then(|| Toolchain { name: name.to_owned(), sysroot, llvm })
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version:"))?;
    line.trim().split('.').next()?.parse().ok()
}

fn install_debian_toolchain() -> Result<()> {
    ensure!(
        Path::new("/etc/debian_version").is_file(),
        "no toolchain has the library source that the kernel side is compiled with, and this is no Debian machine, whose \
         packages would do"
    );
    if !apt::missing(&DEBIAN_PACKAGES)?.is_empty() {
        apt::install(&DEBIAN_PACKAGES)?;
    }
    host::run(host::command("rustup").args(["toolchain", "link", LINKED, "/usr"]))
}

/// The linker needs an LLVM at least as new as the compiler's: it gets the compiler's own.
fn build_linker(folder: &Path, toolchain: &Toolchain) -> Result<()> {
    let program = folder.join("bin/bpf-linker");
    let version = || host::output(host::command(&program.display().to_string()).arg("--version"));
    if version().is_ok_and(|version| version.trim().ends_with(LINKER)) {
        show::step("bpf-linker", &format!("ready, {LINKER}"));
        return Ok(());
    }
    let start = Instant::now();
    let mut cargo = host::command("cargo");
    cargo.args(["install", "bpf-linker", "--version", LINKER, "--locked", "--force", "--no-default-features"]);
    cargo.args(["--features", &format!("llvm-{}", toolchain.llvm), "--root"]).arg(folder);
    let build = folder.join("build");
    cargo.env("LLVM_PREFIX", folder.join("llvm")).env("CARGO_TARGET_DIR", &build);
    host::run(&mut cargo).context("building bpf-linker")?;
    version().with_context(|| format!("{} was built, but does not run", program.display()))?;
    fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))?;
    show::step("bpf-linker", &format!("built {LINKER} ({})", show::duration(start.elapsed())));
    Ok(())
}

/// Links the compiler's LLVM library under its own name, which the linker runs with, and the plain one, which it is
/// built with.
fn link_llvm(lib: &Path, toolchain: &Toolchain) -> Result<()> {
    let library = llvm_library(toolchain)?;
    let name = library.file_name().context("a library has a name")?;
    fs::create_dir_all(lib).with_context(|| format!("creating {}", lib.display()))?;
    for link in [lib.join("libLLVM.so"), lib.join(name)] {
        if fs::read_link(&link).is_ok_and(|target| target == library) {
            continue;
        }
        let _ = fs::remove_file(&link);
        symlink(&library, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    Ok(())
}

/// The LLVM library that the compiler itself runs with.
fn llvm_library(toolchain: &Toolchain) -> Result<PathBuf> {
    let lib = toolchain.sysroot.join("lib");
    // Debian keeps libraries in a folder for each architecture.
    for folder in [lib.clone(), lib.join("x86_64-linux-gnu")] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("librustc_driver") {
                let needs = host::output(host::command("ldd").arg(entry.path()))?;
                return library_in(&needs).with_context(|| format!("{} needs no libLLVM", entry.path().display()));
            }
        }
    }
    bail!("toolchain {} has no librustc_driver in {}", toolchain.name, lib.display())
}

fn library_in(needs: &str) -> Option<PathBuf> {
    let line = needs.lines().find(|line| line.trim_start().starts_with("libLLVM"))?;
    let path = line.split_once("=>")?.1.split_whitespace().next()?;
    fs::canonicalize(path).ok().or_else(|| Some(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nightly_comes_before_the_linked_toolchain() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnfslat-ebpf\nnightly-x86_64-unknown-linux-gnu\n";
        assert_eq!(candidates(list), ["nightly-x86_64-unknown-linux-gnu", LINKED]);
        assert!(candidates("no installed toolchains\n").is_empty());
    }

    #[test]
    fn versions_and_libraries_are_read_from_what_tools_print() {
        assert_eq!(llvm_major("release: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("release: 1.96.0\n"), None);
        let needs = "\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\tlibLLVM.so.22.1 => /nowhere/libLLVM.so.22.1 (0x7f)\n";
        assert_eq!(library_in(needs), Some(PathBuf::from("/nowhere/libLLVM.so.22.1")));
    }
}
