//! `cargo xtask setup`: everything that the other commands need. What is there is left alone.

use std::{process::ExitCode, thread, time::Instant};

use anyhow::Result;
use nfslat_lab::{SOURCES, setup};

use crate::{ebpf, show};

/// What tests need of this machine: a compiler for a program that is traced.
pub(crate) const TEST_PACKAGES: [&str; 1] = ["golang-go"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Ask the mirror for newer kernels, and make the root image anew
    #[arg(long)]
    refresh: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    everything(arguments.refresh)?;
    Ok(ExitCode::SUCCESS)
}

/// The toolchain, and the whole lab.
pub(crate) fn everything(refresh: bool) -> Result<()> {
    let start = Instant::now();
    show::title("setup");
    let compiler = ebpf::compiler()?;
    let wanted = setup::Wanted { kernels: SOURCES.iter().collect(), packages: TEST_PACKAGES.to_vec(), refresh };
    // The linker is a long computation and the lab mostly a long download: together they take little more than one.
    thread::scope(|scope| {
        let linker = scope.spawn(|| ebpf::linker(&compiler));
        let lab = setup::run(&wanted, &|step| show::step(step.what, step.outcome));
        linker.join().expect("building the linker does not panic").and(lab)
    })?;
    show::step("done", &format!("in {}", show::duration(start.elapsed())));
    Ok(())
}
