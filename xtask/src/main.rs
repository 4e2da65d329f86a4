//! `cargo xtask`: everything about nfslat that is more than one cargo command.
//!
//! Each command gets what it needs first, so that all of them work on a fresh machine.

mod build;
mod demo;
mod ebpf;
mod lab;
mod setup;
mod show;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Sets up, builds, runs, demonstrates and tests nfslat"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Get everything: the toolchain for the kernel side, QEMU, kernels, the guests' root image
    Setup(setup::Arguments),
    /// Build nfslat for this machine (target/release/nfslat)
    Build,
    /// Build nfslat and run it as root: cargo xtask run -- trace --duration 10
    Run(build::RunArguments),
    /// Measure two NFS clients, one of them with a slow network path, in three virtual machines
    Demo(demo::Arguments),
    /// Check format and lints, then run all tests, those on real kernels included
    Test(test::Arguments),
    /// Run a command on one of the lab's kernels, with or without NFS
    Lab(lab::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Build => build::build(),
        Command::Run(arguments) => build::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => Ok(test::run(&arguments)),
        Command::Lab(arguments) => lab::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
