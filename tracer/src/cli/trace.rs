//! `nfslat trace`: measure, print the answer, keep a recording.

mod progress;
mod stop;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::{
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::{duration, output::Output, print, target};
use crate::{
    analyse,
    capture::{FileOps, Filter, Run, Session, Settings},
    model::{Options, Recording},
};
use progress::Progress;
use stop::StopSignals;

/// Window when neither a duration nor a command is given.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// A traced command may take its time: a year.
const WHILE_COMMAND_RUNS: Duration = Duration::from_secs(365 * 24 * 3600);
/// Length of a slice.
const SLICE: Duration = Duration::from_secs(1);
/// How often a command that may be short is looked at before the first slice.
const LOOK: Duration = Duration::from_millis(50);

/// Options of `nfslat trace`.
#[derive(Debug, Args)]
#[command(after_help = "\
Filters pick threads by what they are: a thread must match all that are given, and one that
matched once stays in. The NFS part is always about the whole machine, because calls are made on
behalf of others (write-back); --mount narrows it to one mount.

Ctrl-C and SIGTERM end the window early and print the answer.")]
pub(super) struct TraceArgs {
    /// How long to measure: 60, 60s, 5m [default: 60s, or while COMMAND runs]
    #[arg(short, long, value_parser = duration::parse_nonzero)]
    duration: Option<Duration>,

    /// Only this process, with all its threads
    #[arg(short, long, conflicts_with = "command")]
    pid: Option<u32>,

    /// Only threads of this name (15 bytes at most, as the kernel keeps it)
    #[arg(long, value_name = "NAME")]
    comm: Option<String>,

    /// Only this cgroup (version 2) and those below it
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,

    /// Only this NFS mount, by its mount point, in the NFS part
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// Sum waits shorter than this without looking what they were for: looking is what costs
    #[arg(long, value_name = "TIME", default_value = "10us", value_parser = duration::parse)]
    min_wait: Duration,

    /// Take the user stacks of waits, by frame pointers
    #[arg(long, value_name = "WHEN", default_value = "on")]
    user_stacks: Switch,

    /// Measure operations on NFS files as programs see them (read, open, stat, fsync, ...), and which files they wait for.
    /// Attaches to some 27 functions of the kernel, which takes a moment more at the start and at the end
    #[arg(long)]
    file_ops: bool,

    /// Keep a recording in this file, for nfslat report
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print JSON (schema nfslat/1) instead of text
    #[arg(long)]
    json: bool,

    /// Columns of the text [default: the terminal's, else 100]
    #[arg(long, value_name = "N", conflicts_with = "json", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,

    /// Run this command and trace it and its descendants; its standard output goes to stderr
    /// with --json
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Runs the command.
pub(super) fn run(args: &TraceArgs) -> Result<ExitCode> {
    let settings = args.settings()?;
    let output = args.output.as_deref().map(|path| Output::reserve("the recording", path)).transpose()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")?;
    let (recording, session) = runtime.block_on(measure(args, &settings))?;
    // The answer first: a full disk must not take it along. To detach may take a while, so that comes last.
    let code = print::answer(&analyse::answer(&recording), args.json, args.width.map(usize::from))?;
    if let Some(output) = output {
        output.write(|file| Ok(recording.write_to(file)?))?;
    }
    drop(session);
    Ok(code)
}

impl TraceArgs {
    /// Checks all that can be checked before anything is attached.
    fn settings(&self) -> Result<Settings> {
        if let Some(pid) = self.pid {
            target::check_pid(pid)?;
        }
        if let Some(comm) = &self.comm {
            target::check_comm(comm)?;
        }
        if let Some(mount) = &self.mount {
            target::find_mount(mount)?;
        }
        if let Some(program) = self.command.first() {
            target::check_command(program)?;
        }
        Ok(Settings {
            filter: Filter {
                pid: self.pid,
                comm: self.comm.clone(),
                cgroup: self.cgroup.as_deref().map(target::find_cgroup).transpose()?,
                command: !self.command.is_empty(),
            },
            min_wait: self.min_wait,
            user_stacks: self.user_stacks == Switch::On,
            file_ops: if self.file_ops { FileOps::Measured } else { FileOps::Off },
        })
    }

    fn window(&self) -> Duration {
        let default = if self.command.is_empty() { DEFAULT_WINDOW } else { WHILE_COMMAND_RUNS };
        self.duration.unwrap_or(default)
    }

    /// What is written into the recording about the request.
    fn options(&self, command_exit_code: Option<i32>) -> Result<Options> {
        Ok(Options {
            pid: self.pid,
            comm: self.comm.clone(),
            cgroup: self.cgroup.clone(),
            mount: self.mount.as_deref().map(target::find_mount).transpose()?.map(|mount| mount.mount_point),
            min_wait_ns: self.min_wait.as_nanos().try_into().unwrap_or(u64::MAX),
            command: self.command.clone(),
            command_exit_code,
        })
    }
}

/// Measures until the window ends, the command ends, or a signal comes. The session is still attached.
async fn measure(args: &TraceArgs, settings: &Settings) -> Result<(Recording, Session)> {
    // First, so that no signal finds the tracer without a handler.
    let mut signals = StopSignals::listen()?;
    let mut session = Session::attach(settings)?;
    session.open_window(args.window())?;
    let mut run = Run::begin(&session);
    let mut command = start_command(args, &mut session)?;
    let progress = Progress::begin(args.duration, !args.command.is_empty());

    let opened = Instant::now();
    let deadline = opened + args.window();
    let mut ticks = interval_at(opened + SLICE, SLICE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval_at(opened + LOOK, LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut exit_code = None;
    let stopped_early = loop {
        tokio::select! {
            biased;
            () = signals.any() => break true,
            () = sleep_until(deadline) => break false,
            status = ended(&mut command) => {
                exit_code = status?.code();
                break false;
            }
            _ = looks.tick(), if command.is_some() && opened.elapsed() < SLICE => run.look(&session)?,
            _ = ticks.tick() => {
                session.tick();
                progress.show(run.take_slice(&mut session)?);
            }
        }
    };
    progress.end();
    let recording = run.finish(&mut session, args.options(exit_code)?, stopped_early)?;
    if exit_code.is_none() && command.is_some() {
        note(&format!("{} still runs; it was left alone", args.command[0]));
    }
    Ok((recording, session))
}

/// Starts the command as a child of this process, whose children are traced from their birth.
fn start_command(args: &TraceArgs, session: &mut Session) -> Result<Option<Child>> {
    let Some((program, arguments)) = args.command.split_first() else { return Ok(None) };
    session.follow_children_of_this_process(true)?;
    let mut command = Command::new(program);
    command.args(arguments);
    if args.json {
        command.stdout(Stdio::from(io::stderr().as_fd_owned()?));
    }
    let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    session.follow_children_of_this_process(false)?;
    Ok(Some(child))
}

/// Waits for the command to end; forever if there is none.
async fn ended(command: &mut Option<Child>) -> Result<std::process::ExitStatus> {
    match command {
        Some(child) => child.wait().await.context("cannot wait for the command"),
        None => std::future::pending().await,
    }
}

/// A line for the person at the terminal; never part of the answer.
fn note(line: &str) {
    // A closed stderr is no reason to lose the answer.
    let _ = writeln!(io::stderr(), "nfslat: {line}");
}

/// A second handle of stderr for a child.
trait AsFdOwned {
    fn as_fd_owned(&self) -> Result<std::os::fd::OwnedFd>;
}

impl AsFdOwned for io::Stderr {
    fn as_fd_owned(&self) -> Result<std::os::fd::OwnedFd> {
        use std::os::fd::AsFd as _;
        self.as_fd().try_clone_to_owned().context("cannot hand stderr to the command")
    }
}
