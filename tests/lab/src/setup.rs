//! Getting what guests need: packages of this machine, kernels, the root image. What is there is left alone.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::{
    apt, cache, host,
    kernel::{self, Kernel, Source},
    root,
};

/// Packages of this machine that the lab works with, QEMU apart.
const HOST_PACKAGES: [&str; 7] =
    ["busybox-static", "erofs-utils", "kmod", "mmdebstrap", "tar", "util-linux", "xz-utils"];

/// The emulator. Version 7.2, in Debian 12, corrupts the flags of a guest with two processors now and then.
const QEMU: &str = "qemu-system-x86";
const QEMU_PROGRAM: &str = "qemu-system-x86_64";
const QEMU_AT_LEAST: u32 = 10;

/// What to prepare, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The kernels to have ready.
    pub kernels: Vec<&'static Source>,
    /// Further packages of this machine, which tests need.
    pub packages: Vec<&'static str>,
    /// Ask the mirror again for newer kernels and packages, although there are some.
    pub refresh: bool,
}

/// A step that is done.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What it was about.
    pub what: &'a str,
    /// How it went.
    pub outcome: &'a str,
    /// Whether anything had to be done.
    pub changed: bool,
}

/// Told of each step when it is done.
pub type Report<'a> = &'a (dyn Fn(Step<'_>) + Sync);

fn ready(report: Report<'_>, what: &str, outcome: &str) {
    report(Step { what, outcome, changed: false });
}

fn changed(report: Report<'_>, what: &str, outcome: &str) {
    report(Step { what, outcome, changed: true });
}

/// Prepares the lab for what is wanted.
pub fn run(wanted: &Wanted, report: Report<'_>) -> Result<()> {
    let lab = cache::lab(&cache::root()?);
    let kernels = lab.join("kernels");
    fs::create_dir_all(&kernels).with_context(|| format!("creating {}", kernels.display()))?;
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the lab runs programs built on this machine in x86-64 guests, and this is no x86-64 machine"
    );
    // Two at a time would write the same files; the second finds everything ready.
    let lock = lab.join("setup.lock");
    let lock = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    lock.lock().context("waiting for another setup to end")?;
    host_packages(wanted, report)?;
    qemu(&lab, report)?;

    // Only what is missing needs the mirror, so that a machine that is set up also works without a network.
    let missing = |source: &&&Source| wanted.refresh || Kernel::find(&kernels, source.name).is_none();
    let old_root = wanted.refresh || !root::is_current(&lab);
    let mirror = if old_root || wanted.kernels.iter().any(|source| missing(&source)) {
        apt::mirror()?.uri
    } else {
        String::new()
    };
    thread::scope(|scope| {
        let mut steps = Vec::new();
        if old_root {
            steps.push(scope.spawn(|| root_image(&lab, &mirror, report)));
        } else {
            ready(report, "root image", "ready");
        }
        for source in &wanted.kernels {
            let ask = missing(&source);
            let (kernels, apt, mirror) = (&kernels, lab.join("apt"), &mirror);
            steps.push(scope.spawn(move || one_kernel(kernels, &apt, mirror, source, ask, report)));
        }
        // All are waited for, so that nothing still writes when the first failure is reported.
        let results: Vec<_> = steps.into_iter().map(|step| step.join().expect("a setup step does not panic")).collect();
        results.into_iter().collect::<Result<()>>()
    })?;
    kernel::forget_old(&kernels)
}

fn host_packages(wanted: &Wanted, report: Report<'_>) -> Result<()> {
    let packages: Vec<_> = HOST_PACKAGES.iter().chain(&wanted.packages).copied().collect();
    let missing = apt::missing(&packages)?;
    if missing.is_empty() {
        ready(report, "host packages", "ready");
        return Ok(());
    }
    let start = Instant::now();
    apt::install(&missing)?;
    changed(report, "host packages", &format!("installed {} ({})", missing.join(" "), seconds(start)));
    Ok(())
}

fn qemu(lab: &Path, report: Report<'_>) -> Result<()> {
    if let Some(version) = qemu_version().filter(|version| major(version) >= QEMU_AT_LEAST) {
        ready(report, "QEMU", &format!("ready, {version}"));
        return Ok(());
    }
    let start = Instant::now();
    if apt::codename()? == "bookworm" {
        apt::install_from_backports(&[QEMU], &lab.join("apt/host-backports"))?;
    } else {
        apt::install(&[QEMU])?;
    }
    let version =
        qemu_version().with_context(|| format!("{QEMU} is installed, but {QEMU_PROGRAM} does not tell its version"))?;
    ensure!(
        major(&version) >= QEMU_AT_LEAST,
        "QEMU {version} is what apt offers here, and guests need {QEMU_AT_LEAST} or newer: install a newer {QEMU}"
    );
    changed(report, "QEMU", &format!("installed {version} ({})", seconds(start)));
    Ok(())
}

fn qemu_version() -> Option<String> {
    let text = host::output(host::command(QEMU_PROGRAM).arg("--version")).ok()?;
    let version = text.split_once("version ")?.1.split_whitespace().next()?;
    Some(version.to_owned())
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn root_image(lab: &Path, mirror: &str, report: Report<'_>) -> Result<()> {
    let start = Instant::now();
    root::build(lab, mirror)?;
    let size = fs::metadata(root::image(lab))?.len() >> 20;
    changed(report, "root image", &format!("made, {size} MiB ({})", seconds(start)));
    Ok(())
}

fn one_kernel(kernels: &Path, apt: &Path, mirror: &str, source: &Source, ask: bool, report: Report<'_>) -> Result<()> {
    let start = Instant::now();
    let before = Kernel::find(kernels, source.name);
    let kernel = match &before {
        Some(kernel) if !ask => kernel.clone(),
        _ => kernel::fetch(kernels, apt, mirror, source)?,
    };
    let rebuilt = kernel.build_initrd()?;
    let what = format!("kernel {}", source.name);
    match (before.as_ref() == Some(&kernel), rebuilt) {
        (false, _) => changed(report, &what, &format!("{} unpacked ({})", kernel.release, seconds(start))),
        (true, true) => changed(report, &what, &format!("{}, initrd rebuilt", kernel.release)),
        (true, false) => ready(report, &what, &format!("{} ready", kernel.release)),
    }
    Ok(())
}

fn seconds(start: Instant) -> String {
    format!("{:.0} s", start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_first_number() {
        assert_eq!(major("10.0.2"), 10);
        assert_eq!(major("7.2.17 (Debian)"), 7);
        assert_eq!(major(""), 0);
    }
}
