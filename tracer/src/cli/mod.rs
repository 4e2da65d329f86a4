//! The command line: one file per command.

mod diff;
mod doctor;
mod duration;
mod flamegraph;
mod output;
mod print;
mod report;
mod target;
mod trace;

use std::{io, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Where did the time go: storage or memory locks?
///
/// nfslat measures in the kernel (eBPF): how long every thread waited and for what, and how long
/// every NFS call took and in which part. It prints what was found, with the evidence.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Say more on stderr; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sudo nfslat trace --duration 60              the whole machine, for a minute
  sudo nfslat trace -p 4711 -o run.nfslat      one process, until Ctrl-C or a minute; keep the recording
  sudo nfslat trace -- tar xf big.tar          while a command runs
  nfslat report run.nfslat                     the same answer again, anywhere, without root
  nfslat diff vm-a.nfslat vm-b.nfslat          which of two machines is slower, where, and how sure
  nfslat flamegraph run.nfslat -o off.svg      its blocked time as a picture, by stack and wait class
  sudo nfslat doctor                           what can be measured on this kernel, and what not

Exit codes: 0 done; 1 what --fail-on names was found; 2 could not run; 3 ran, but the data is incomplete
(the answer says what is missing).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, print the answer, keep a recording
    Trace(trace::TraceArgs),
    /// Print the answer of a recording again
    Report(report::ReportArgs),
    /// Compare two recordings: which machine is slower, where, and how sure that is
    Diff(diff::DiffArgs),
    /// Draw the blocked time of a recording by stack: flame graph, speedscope, pprof, folded
    Flamegraph(flamegraph::FlamegraphArgs),
    /// Say what can be measured on this kernel, what not, why, and the remedy
    Doctor(doctor::DoctorArgs),
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// If it could not run: the message names the thing, the reason and the remedy.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let level = match cli.verbose {
        0 => log::LevelFilter::Error,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new().filter_level(level).format_timestamp(None).format_target(false).init();
    match cli.command {
        Command::Trace(args) => trace::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Flamegraph(args) => flamegraph::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    }
}

/// Prints an error and gives its exit code. A reader that has gone away (`nfslat ... | head`) is
/// no error.
#[must_use]
pub fn report_error(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    eprintln!("nfslat: {error:#}");
    ExitCode::from(2)
}
