//! `nfslat diff`: two recordings beside each other.

use std::{path::PathBuf, process::ExitCode};

use anyhow::anyhow;

use super::{print, report};
use crate::analyse::diff::{Diff, Mode, Which, diff};

/// Exit code if what `--fail-on` names was found.
const FOUND: u8 = 1;

/// Compare two recordings: which machine is slower, in which layer, by how much, and how sure that is
///
/// Needs no root and works on any machine. Compared is what both did: operations on the same export of the same server.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nfslat diff vm-a.nfslat vm-b.nfslat                      recorded at the same time on two machines
  nfslat diff before.nfslat after.nfslat --mode same-host  whether a change helped
  nfslat diff a.nfslat b.nfslat --json | jq .conclusion    for programs; docs/json.md describes it
  nfslat diff a.nfslat b.nfslat --fail-on b-slower         in a script: exit code 1 if b is slower

Exit codes: 0 printed; 1 what --fail-on names was found; 2 could not read or compare them; 3 printed, but the data is
incomplete.")]
pub(super) struct DiffArgs {
    /// Recording that `nfslat trace -o FILE` wrote; - reads standard input
    #[arg(value_name = "A")]
    first: PathBuf,

    /// The other one: what takes longer in it is called slower
    #[arg(value_name = "B")]
    second: PathBuf,

    /// What they are of [default: same-host if the host names are the same]
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,

    /// Exit with 1 if the comparison comes to this; several, with commas between
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    fail_on: Vec<FailOn>,

    /// Print JSON (schema nfslat-diff/1) instead of text
    #[arg(long)]
    json: bool,

    /// Columns of the text [default: the terminal's, else 100]
    #[arg(long, value_name = "N", conflicts_with = "json", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeArg {
    /// Two machines
    TwoHosts,
    /// One machine, before and after
    SameHost,
}

/// What a script may take for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// The second is slower, in whichever layer
    BSlower,
    /// One of the two is slower
    Slower,
    /// It cannot be said: too few calls, or incomplete data
    Unknown,
}

impl FailOn {
    fn is_found(self, diff: &Diff) -> bool {
        match self {
            Self::BSlower => diff.conclusion.slower == Some(Which::B),
            Self::Slower => diff.conclusion.slower.is_some(),
            Self::Unknown => diff.conclusion.layer == "unknown" || !diff.complete(),
        }
    }
}

/// Reads the recordings and prints how they compare.
///
/// # Errors
/// If a recording cannot be read, or the two cannot be compared; the text names the file or the reason, and the remedy.
pub(super) fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    if args.first.as_os_str() == "-" && args.second.as_os_str() == "-" {
        return Err(anyhow!("only one of the recordings can come from standard input: name a file for the other"));
    }
    let mode = args.mode.map(|mode| match mode {
        ModeArg::TwoHosts => Mode::TwoHosts,
        ModeArg::SameHost => Mode::SameHost,
    });
    let (first, second) = (report::read(&args.first)?, report::read(&args.second)?);
    let diff = diff(&first, &second, mode).map_err(|reason| anyhow!("cannot compare: {reason}"))?;
    let code = print::diff(&diff, args.json, args.width.map(usize::from))?;
    let is_found = args.fail_on.iter().any(|what| what.is_found(&diff));
    Ok(if is_found { ExitCode::from(FOUND) } else { code })
}
