//! `nfslat doctor`: what can be measured on this kernel.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use clap::Args;

use super::print::INCOMPLETE;
use crate::{
    capture::doctor,
    render::doctor::{Report, json, text},
};

/// Options of `nfslat doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Attaches everything that `nfslat trace` would, and detaches it again. Exit codes: 0 tracing works;
3 it does not, or something that matters is missing.")]
pub(super) struct DoctorArgs {
    /// Print JSON (schema nfslat-doctor/1) instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let examination = doctor::examine();
    let report = Report { host: &examination.host, can_trace: examination.can_trace, checks: &examination.checks };
    let output = if args.json { json(&report) } else { text(&report) };
    io::stdout().write_all(output.as_bytes())?;
    let whole = examination.can_trace
        && examination.checks.iter().all(|check| check.state != crate::model::ProbeState::Missing);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}
