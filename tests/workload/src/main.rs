//! `nfslat-workload`: runs workloads that know how long they waited, and prints what they know.

use std::{
    fs,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Parser, builder::PossibleValuesParser};
use nfslat_workload::{
    kinds::{self, ALL, DISK_WAITS, Kind, WAITS},
    run::{self, Gate},
    settings::Settings,
    sys,
    truth::Truth,
};

/// The group of kinds that wait for one known thing each, and then the memory-map storm.
const GROUP: &str = "waits";

/// Runs workloads that know how long they waited, and for what, and prints that as JSON.
#[derive(Parser)]
#[command(version, after_help = kinds_help())]
struct Args {
    /// What to run; several run at the same time. `waits`: every kind that waits for one known
    /// thing, then the memory-map storm.
    #[arg(required = true, value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    kinds: Vec<String>,

    /// How long to work, in seconds.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,

    /// How many rounds each thread does, whatever time that takes.
    #[arg(long)]
    count: Option<u64>,

    /// Length of one designed wait, in milliseconds.
    #[arg(long, default_value_t = 20)]
    step_ms: u64,

    /// Folder for the kinds that use files.
    #[arg(long)]
    dir: Option<PathBuf>,

    /// Threads, for the kinds that need several.
    #[arg(long, default_value_t = 4)]
    threads: usize,

    /// Size of the files, or of the memory that is written to, in KiB.
    #[arg(long, default_value_t = 1024)]
    file_kib: usize,

    /// Run the kinds one after the other.
    #[arg(long)]
    in_turn: bool,

    /// Keep each thread on one CPU. Without, schedstat may be wrong: from 6.12 on a thread may stay on its
    /// run queue for a while after it went to sleep (the scheduler's feature DELAY_DEQUEUE), and if it is
    /// moved to another CPU just then, the rest of its sleep is counted as waiting for a CPU.
    #[arg(long)]
    pin: bool,

    /// Print also when the blocking calls were that took at least so many microseconds.
    #[arg(long)]
    calls_from_us: Option<u64>,

    /// File for the JSON, instead of standard output.
    #[arg(long)]
    output: Option<PathBuf>,

    /// Begin when a line arrives on standard input, and keep the threads alive, asleep, until
    /// standard input is closed. `ready` is printed on standard error once the threads exist.
    #[arg(long)]
    gate: bool,
}

fn names() -> Vec<&'static str> {
    ALL.iter().map(|kind| kind.name).chain([GROUP]).collect()
}

fn kinds_help() -> String {
    let lines: Vec<_> = ALL.iter().map(|kind| format!("  {:<12} {}", kind.name, kind.about)).collect();
    format!(
        "Kinds:\n{}\n  {GROUP:<12} {}, with --dir {}, then mmap-storm",
        lines.join("\n"),
        WAITS.join(" "),
        DISK_WAITS.join(" ")
    )
}

/// Kinds that run at the same time.
type Phase = Vec<&'static Kind>;

fn phases(args: &Args) -> Vec<Phase> {
    let found = |names: &[&str]| names.iter().filter_map(|name| kinds::find(name)).collect();
    if !args.kinds.iter().any(|name| name == GROUP) {
        let phase: Phase = args.kinds.iter().filter_map(|name| kinds::find(name)).collect();
        return if args.in_turn { phase.into_iter().map(|kind| vec![kind]).collect() } else { vec![phase] };
    }
    let disk = if args.dir.is_some() { DISK_WAITS } else { &[] };
    // The storm comes alone: it would make every other thread of the process wait for its lock too.
    vec![found(&[WAITS, disk].concat()), found(&["mmap-storm"])]
}

fn run_phase(phase: &Phase, settings: &Settings, begin: &Arc<Gate>, leave: &Arc<Gate>) -> Result<run::Running> {
    let mut workers = Vec::new();
    for kind in phase {
        workers.extend((kind.workers)(settings)?.into_iter().map(|worker| (kind.name, worker)));
    }
    if settings.pin {
        let cpus = sys::allowed_cpus()?;
        for ((_, worker), cpu) in workers.iter_mut().zip(cpus.into_iter().cycle()) {
            worker.cpu.get_or_insert(cpu);
        }
    }
    run::start(workers, settings, begin, leave)
}

/// Runs one phase between a line on standard input and the end of it.
fn run_gated(phase: &Phase, settings: &Settings, output: Option<&Path>) -> Result<()> {
    let (begin, leave) = (Arc::default(), Arc::default());
    let running = run_phase(phase, settings, &begin, &leave)?;
    eprintln!("ready");
    let mut stdin = io::stdin().lock();
    stdin.read_line(&mut String::new())?;
    begin.open();
    print(&running.truth()?, output)?;
    stdin.read_to_end(&mut Vec::new())?;
    leave.open();
    running.join();
    Ok(())
}

fn run_phases(phases: &[Phase], settings: &Settings, output: Option<&Path>) -> Result<()> {
    let mut whole: Option<Truth> = None;
    for phase in phases {
        // All threads begin together: making the later ones would disturb the earlier.
        let (begin, leave) = (Arc::default(), Gate::opened());
        let running = run_phase(phase, settings, &begin, &leave)?;
        begin.open();
        let truth = running.truth()?;
        running.join();
        match &mut whole {
            None => whole = Some(truth),
            Some(whole) => {
                whole.end_mono_ns = truth.end_mono_ns;
                whole.threads.extend(truth.threads);
            }
        }
    }
    whole.map_or(Ok(()), |truth| print(&truth, output))
}

fn print(truth: &Truth, output: Option<&Path>) -> Result<()> {
    let text = serde_json::to_string_pretty(truth)? + "\n";
    match output {
        Some(path) => fs::write(path, text).with_context(|| format!("writing {}", path.display())),
        None => Ok(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())?),
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let settings = Settings {
        duration: Duration::try_from_secs_f64(args.duration)?,
        count: args.count,
        step: Duration::from_millis(args.step_ms),
        dir: args.dir.clone(),
        threads: args.threads,
        file_bytes: args.file_kib << 10,
        pin: args.pin,
        calls_from: args.calls_from_us.map(Duration::from_micros),
    };
    let output = args.output.as_deref();
    match &phases(&args)[..] {
        [phase] if args.gate => run_gated(phase, &settings, output),
        _ if args.gate => bail!("--gate works with kinds that run at the same time"),
        phases => run_phases(phases, &settings, output),
    }
}
