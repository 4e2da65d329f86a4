//! `nfslat report`: the answer again, from a recording.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow};

use super::print;
use crate::{analyse, model::Recording};

/// Print the answer of an earlier run again, from its recording
///
/// Needs no root and works on any machine: a recording holds everything that was measured.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo nfslat trace --duration 60 -o run.nfslat   record
  nfslat report run.nfslat                        the same answer again
  nfslat report run.nfslat --json | jq .findings  for programs; docs/json.md describes it
  ssh vm-a cat run.nfslat | nfslat report -       from standard input

Exit codes: 0 printed; 2 could not read the recording; 3 printed, but the data is incomplete.")]
pub(super) struct ReportArgs {
    /// Recording that `nfslat trace -o FILE` wrote; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print JSON (schema nfslat/1) instead of text
    #[arg(long)]
    json: bool,

    /// Columns of the text [default: the terminal's, else 100]
    #[arg(long, value_name = "N", conflicts_with = "json", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

/// Reads the recording and prints its answer.
///
/// # Errors
/// If the recording cannot be read or the answer not be written; the text names the file, the
/// reason and the remedy.
pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let recording = read(&args.file)?;
    print::answer(&analyse::answer(&recording), args.json, args.width.map(usize::from))
}

/// Reads a recording from a file, or from standard input for `-`.
///
/// # Errors
/// See [`run`].
pub(super) fn read(file: &Path) -> anyhow::Result<Recording> {
    if file.as_os_str() == "-" {
        return from("standard input", io::stdin().lock());
    }
    let name = file.display();
    let opened = File::open(file).with_context(|| format!("cannot open {name}"))?;
    if opened.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(anyhow!("{name} is a directory, not a recording"));
    }
    from(&name.to_string(), BufReader::new(opened))
}

fn from(name: &str, input: impl Read) -> anyhow::Result<Recording> {
    Recording::read_from(input).map_err(|error| anyhow!("{name} {error}"))
}
