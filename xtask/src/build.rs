//! `cargo xtask build` and `cargo xtask run`: nfslat on this machine.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result, bail};
use nfslat_lab::{cache, host};

use crate::{ebpf, show};

#[derive(clap::Args)]
pub(crate) struct RunArguments {
    /// What to give to nfslat
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn build() -> Result<ExitCode> {
    ebpf::setup()?;
    release(&["nfslat"])?;
    show::step("built", &program("nfslat")?.display().to_string());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode> {
    ebpf::setup()?;
    release(&["nfslat"])?;
    // nfslat as it is for root, through sudo for others: it loads programs into the kernel.
    let program = program("nfslat")?;
    let mut command = host::privileged(&program.display().to_string())?;
    let status =
        command.args(&arguments.arguments).status().with_context(|| format!("running {}", program.display()))?;
    Ok(exit_code(status))
}

/// Builds packages of the workspace with the release profile.
pub(crate) fn release(packages: &[&str]) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--release"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    let status = cargo.status().context("running cargo")?;
    if !status.success() {
        bail!("building {} failed: the errors are above", packages.join(" and "));
    }
    Ok(())
}

/// Builds one of the Go programs that tests trace, statically linked, beside the release build.
pub(crate) fn go(name: &str) -> Result<()> {
    let mut go = host::command("go");
    go.current_dir(workspace().join("tests/programs").join(name))
        .arg("build")
        .arg("-o")
        .arg(program(&format!("nfslat-{name}"))?);
    // The standard library is compiled along: kept for the next time.
    go.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOCACHE", cache::root()?.join("go"));
    host::run(&mut go).with_context(|| format!("building {name} failed; it needs Go's compiler (Debian: golang-go)"))
}

/// Cargo, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// The workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The folder that cargo builds into, found from where this program lies: `target/debug/xtask`.
pub(crate) fn target() -> Result<PathBuf> {
    let this = env::current_exe().context("finding this program's own path")?;
    let target = this.ancestors().nth(2).with_context(|| format!("{} lies in no target folder", this.display()))?;
    Ok(target.to_owned())
}

/// Where the release build of `name` lies, or would lie.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("release").join(name))
}

/// The exit code of a program, in a shell's way when a signal ended it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
