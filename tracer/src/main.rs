//! Entry point: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = nfslat::cli::Cli::parse();
    match nfslat::cli::run(cli) {
        Ok(code) => code,
        Err(error) => nfslat::cli::report_error(&error),
    }
}
