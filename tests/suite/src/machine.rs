//! The machine a check runs on: where the programs are and what it may do.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Where the programs under test are, and a folder to work in.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The `nfslat` program.
    pub nfslat: PathBuf,
    /// The `nfslat-workload` program.
    pub workload: PathBuf,
    /// A Go program that storms its memory map; beside the workload, if it was built.
    pub go_storm: PathBuf,
    /// The same in Rust, on Tokio.
    pub tokio_storm: PathBuf,
    /// A folder on a local disk.
    pub disk: PathBuf,
    /// Folder for what a check leaves for the table of kernels.
    pub results: PathBuf,
}

impl Machine {
    /// This machine, with programs from `NFSLAT_BIN` and `NFSLAT_WORKLOAD_BIN`, else from the
    /// release build beside this program.
    pub fn here() -> Result<Self> {
        let target = target_folder()?;
        let program = |variable: &str, name: &str| {
            env::var_os(variable).map_or_else(|| target.join("release").join(name), PathBuf::from)
        };
        let results = env::var_os("NFSLAT_SUITE_RESULTS").map_or_else(|| target.join("suite"), PathBuf::from);
        fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
        let workload = program("NFSLAT_WORKLOAD_BIN", "nfslat-workload");
        Ok(Self {
            results,
            nfslat: program("NFSLAT_BIN", "nfslat"),
            go_storm: workload.with_file_name("nfslat-go-storm"),
            tokio_storm: workload.with_file_name("nfslat-tokio-storm"),
            workload,
            disk: env::var_os("NFSLAT_DISK").map_or(target, PathBuf::from),
        })
    }

    /// Why a check that measures cannot run here; `None` if it can.
    #[must_use]
    pub fn cannot_measure(&self) -> Option<String> {
        if let Some(program) = [&self.nfslat, &self.workload].into_iter().find(|program| !program.is_file()) {
            return Some(format!("{} is not there: build it first (`cargo xtask test` does)", program.display()));
        }
        (!is_root()).then(|| "needs root: it measures with eBPF".to_owned())
    }

    /// A folder below [`Machine::disk`] that is removed when dropped.
    pub fn folder_on_disk(&self) -> Result<tempfile::TempDir> {
        tempfile::tempdir_in(&self.disk).with_context(|| format!("making a folder in {}", self.disk.display()))
    }
}

/// The build's target folder, from this program's own place in it.
pub fn target_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("finding this program")?;
    // target/PROFILE/deps/PROGRAM
    Ok(program.ancestors().nth(3).unwrap_or(Path::new("/")).to_owned())
}

/// Whether this process is root's.
#[must_use]
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Time that a host has taken away from this machine so far, as far as it says (steal time, in ticks
/// of 10 ms), rounded up.
pub fn stolen_ns() -> Result<u64> {
    const TICK_NS: u64 = 10_000_000;
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    // cpu user nice system idle iowait irq softirq steal
    let steal = stat.lines().next().and_then(|cpu| cpu.split_whitespace().nth(8)).and_then(|ticks| ticks.parse().ok());
    Ok(steal.unwrap_or(0) * TICK_NS)
}

/// The kernel's release.
pub fn kernel_release() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    Ok(release.trim().to_owned())
}

/// Whether the kernel is of this version or a later one.
pub fn kernel_is_at_least(major: u32, minor: u32) -> Result<bool> {
    let release = kernel_release()?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(own_major)), Some(Ok(own_minor))) => Ok((own_major, own_minor) >= (major, minor)),
        _ => bail!("the kernel's release reads {release}"),
    }
}
