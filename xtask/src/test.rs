//! `cargo xtask test`: format, lints and every test, and one line at the end that sums them up.

mod outcome;

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{build, ebpf, setup, show};
use outcome::Outcome;

/// The package whose tests need nfslat itself, built, and the lab.
const SUITE: &str = "nfslat-tests";

/// The kernel side, which compiles for the BPF target only.
const KERNEL_SIDE: &str = "tracer-ebpf";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only the tests whose name contains this, and no check of format or lints
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,
    /// Leave out the tests that boot virtual machines
    #[arg(long)]
    no_lab: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let start = Instant::now();
    let mut report = Report::default();
    let outcome = stages(arguments, &mut report);
    if let Err(error) = &outcome {
        eprintln!("error: {error:#}");
        report.add("stopped", Duration::ZERO, Outcome::failed_once());
    }
    report.print(start.elapsed());
    if report.total().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stages(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    if arguments.no_lab {
        show::title("setup");
        ebpf::setup()?;
    } else {
        setup::everything(false)?;
    }
    report.add("setup", start.elapsed(), Outcome::default());
    let workspace = ["--workspace", "--exclude", KERNEL_SIDE];
    if arguments.only.is_none() {
        report.stage("format", cargo(&["fmt", "--all", "--", "--check", "--files-with-diff"]), Kind::Check)?;
        let mut lints = cargo(&["clippy", "--quiet", "--all-targets"]);
        lints.args(workspace).args(["--", "--deny", "warnings"]);
        report.stage("lints", lints, Kind::Check)?;
    }
    let filter = arguments.only.as_deref();
    let mut unit = cargo(&["test", "--no-fail-fast", "--exclude", SUITE]);
    unit.args(workspace).args(filter);
    report.stage("unit and golden", unit, Kind::ManyTests)?;

    let start = Instant::now();
    build::release(&["nfslat", "nfslat-workload", "nfslat-tokio-storm"])?;
    build::go("go-storm")?;
    report.add("release build", start.elapsed(), Outcome::default());
    let release = build::target()?.join("release");
    let mut suite = cargo(&["test", "--package", SUITE, "--no-fail-fast", "--"]);
    suite.args(filter);
    suite.env("NFSLAT_BIN", release.join("nfslat")).env("NFSLAT_WORKLOAD_BIN", release.join("nfslat-workload"));
    if arguments.no_lab {
        suite.args(["--skip", "lab::"]);
        report.left_out = Some("the tests of the lab are left out, as asked with --no-lab");
    }
    report.stage("kernels", suite, Kind::Tests)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = build::cargo();
    cargo.args(arguments);
    cargo
}

/// How a stage's command tells its outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By its exit code; it counts as one test.
    Check,
    /// By the lines that test programs print.
    Tests,
    /// The same; of so many, only those that did not pass are shown.
    ManyTests,
}

impl Kind {
    fn shows(self, line: &str) -> bool {
        let passed = line.starts_with("test ") && line.ends_with(" ... ok");
        let frame = line.is_empty() || line.starts_with("running ");
        self != Self::ManyTests || !(passed || frame)
    }
}

/// What each stage found.
#[derive(Default)]
struct Report {
    stages: Vec<(&'static str, Duration, Outcome)>,
    left_out: Option<&'static str>,
}

impl Report {
    /// Runs a stage; what it prints is shown as it comes.
    fn stage(&mut self, name: &'static str, mut command: Command, kind: Kind) -> Result<()> {
        show::title(&format!("\n{name}"));
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting cargo")?;
        let mut outcome = Outcome::default();
        let printed = child.stdout.take().context("cargo has no output")?;
        for line in BufReader::new(printed).split(b'\n') {
            let line = line.context("reading what cargo prints")?;
            let line = String::from_utf8_lossy(&line);
            if kind.shows(&line) {
                writeln!(io::stdout(), "{line}").context("printing")?;
            }
            outcome.read(&line);
        }
        let status = child.wait().context("waiting for cargo")?;
        if kind == Kind::Check {
            outcome = if status.success() { Outcome::passed_once() } else { Outcome::failed_once() };
        } else if !status.success() && outcome.failed == 0 {
            // It did not compile, or a test program died: no line tells of it.
            outcome.failed = 1;
        }
        self.add(name, start.elapsed(), outcome);
        Ok(())
    }

    fn add(&mut self, name: &'static str, time: Duration, outcome: Outcome) {
        self.stages.push((name, time, outcome));
    }

    fn total(&self) -> Outcome {
        let mut total = Outcome::default();
        for (_, _, outcome) in &self.stages {
            total.add(outcome);
        }
        total
    }

    fn print(&self, time: Duration) {
        let total = self.total();
        println!();
        for (name, time, outcome) in &self.stages {
            let counts = if *outcome == Outcome::default() { String::new() } else { outcome.to_string() };
            println!("{}", format!("  {name:<16} {:>12}   {counts}", show::duration(*time)).trim_end());
        }
        println!("  {:<16} {:>12}", "all", show::duration(time));
        if !total.skips.is_empty() {
            println!("\nskipped:");
        }
        for skip in &total.skips {
            println!("  {}: {}", skip.name, skip.reason);
        }
        if let Some(what) = self.left_out {
            println!("\n{what}");
        }
        println!("\n{total}");
    }
}
