//! `nfslat flamegraph`: blocked time by stack, from a recording.

mod format;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{output::Output, print, report};
use crate::{
    analyse::{
        self,
        classify::{Class, Group},
        stacks::{Selection, stacks},
    },
    model::Recording,
    render::{
        empty, flamegraph, folded,
        heading::{Heading, heading},
        pprof, speedscope,
    },
};
use format::Format;

/// Options of `nfslat flamegraph`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Needs no root and works on any machine. From the outside in a stack is: the process, its functions
(where the recording has them), the kernel's functions, and what was waited for. Waits too short for
a stack stand beside the others: all adds up to the time the selected threads were blocked.

Waits of idle threads (poll, sleep, pipe, child, kernel threads without work, ...) would drown all
others. They are left out, and the picture says how much that was, unless --idle, --class or --group
asks for them.

Examples:
  sudo nfslat trace --duration 60 -o run.nfslat            record
  nfslat flamegraph run.nfslat -o off.svg                  draw; open it in a browser
  nfslat flamegraph run.nfslat -o off.svg -p 47 --threads  one process, with a level for threads
  nfslat flamegraph run.nfslat -o nfs.svg --group storage  what waited for storage
  nfslat flamegraph run.nfslat -o mm.svg --class mmap-lock,vma-lock
  nfslat flamegraph run.nfslat -o who.svg --wakers         who ended the long waits
  nfslat flamegraph run.nfslat -o off.speedscope.json      for https://www.speedscope.app
  nfslat flamegraph run.nfslat -o off.pb.gz                for go tool pprof
  nfslat flamegraph run.nfslat --format folded -o -        one line per stack, for other tools

Exit codes: 0 drawn; 2 nothing to draw, or could not; 3 drawn, but the data is incomplete.")]
pub(super) struct FlamegraphArgs {
    /// Recording that `nfslat trace -o FILE` wrote; - reads standard input
    #[arg(value_name = "RECORDING")]
    recording: PathBuf,

    /// File to write; - is standard output [default: standard output, if it is not a terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What to write [default: by the end of FILE's name, else svg]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Only these processes
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,

    /// Only these threads
    #[arg(short, long, value_name = "TID", value_delimiter = ',', conflicts_with = "wakers")]
    tid: Vec<u32>,

    /// Only threads of this name, and processes of this name with all their threads
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,

    /// Only waits of these classes; a name that does not exist lists all
    #[arg(long, value_name = "CLASS", value_delimiter = ',', hide_possible_values = true, value_parser = class_parser())]
    class: Vec<Class>,

    /// Only waits of these groups of classes
    #[arg(long, value_name = "GROUP", value_delimiter = ',', value_parser = group_parser())]
    group: Vec<Group>,

    /// Show idle waits too
    #[arg(long)]
    idle: bool,

    /// Add a level for the thread, by name and id
    #[arg(long, conflicts_with = "wakers")]
    threads: bool,

    /// Show long waits with the stack of who ended them on top
    #[arg(long)]
    wakers: bool,
}

/// Reads the recording and draws it.
///
/// # Errors
/// If the recording cannot be read, nothing is left to draw, or the picture cannot be written; the
/// text names the thing, the reason and the remedy.
pub(super) fn run(args: &FlamegraphArgs) -> anyhow::Result<ExitCode> {
    let to_file = args.output.as_deref().filter(|path| path.as_os_str() != "-");
    let format = match (args.format, to_file) {
        (Some(format), _) => format,
        (None, None) => Format::Svg,
        (None, Some(path)) => Format::of(path).with_context(|| {
            let endings = format::ENDINGS;
            format!("{} does not tell what to write: let it end with {endings}, or give --format", path.display())
        })?,
    };
    if to_file.is_none() && io::stdout().is_terminal() && (args.output.is_none() || format == Format::Pprof) {
        bail!("this is not for a terminal: give -o a file, such as -o off.svg, or redirect standard output");
    }
    let output = to_file.map(|path| Output::reserve("the picture", path)).transpose()?;
    let recording = report::read(&args.recording)?;
    let answer = analyse::answer(&recording);
    let selection = args.selection();
    let stacks = stacks(&recording, &selection).map_err(|reason| anyhow!(empty::explain(&reason, &selection)))?;
    let heading = heading(&recording, &answer, &selection, &stacks);
    let picture = draw(format, &recording, &stacks, &heading)?;
    match output {
        Some(output) => {
            output.write(|file| Ok(file.write_all(&picture)?))?;
            eprint!("{}", heading.to_text());
        }
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&picture).and_then(|()| stdout.flush()).context("cannot write to standard output")?;
        }
    }
    Ok(if answer.complete { ExitCode::SUCCESS } else { ExitCode::from(print::INCOMPLETE) })
}

fn draw(
    format: Format,
    recording: &Recording,
    stacks: &analyse::stacks::Stacks<'_>,
    heading: &Heading,
) -> anyhow::Result<Vec<u8>> {
    Ok(match format {
        Format::Svg => flamegraph::render(stacks, heading)?,
        Format::Folded => folded::render(stacks).into_bytes(),
        Format::Speedscope => speedscope::render(stacks, heading)?.into_bytes(),
        Format::Pprof => pprof::render(stacks, heading, &recording.window)?,
    })
}

impl FlamegraphArgs {
    fn selection(&self) -> Selection {
        Selection {
            pids: self.pid.clone(),
            tids: self.tid.clone(),
            comms: self.comm.clone(),
            classes: self.class.clone(),
            groups: self.group.clone(),
            idle: self.idle,
            threads: self.threads,
            wakers: self.wakers,
        }
    }
}

fn class_parser() -> impl TypedValueParser<Value = Class> {
    PossibleValuesParser::new(Class::ALL.iter().map(|class| class.name()))
        .map(|name| *Class::ALL.iter().find(|class| class.name() == name).unwrap_or(&Class::Unknown))
}

/// Groups in which a thread is blocked: in the CPU queue it is not, and has no stack.
fn group_parser() -> impl TypedValueParser<Value = Group> {
    let groups = || Group::ALL.into_iter().filter(|&group| group != Group::Cpu);
    PossibleValuesParser::new(groups().map(Group::name))
        .map(move |name| groups().find(|group| group.name() == name).unwrap_or(Group::Unknown))
}
