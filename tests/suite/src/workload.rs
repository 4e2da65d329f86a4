//! Runs workloads that know how long they waited.

use std::{
    fs,
    io::{BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
};

use anyhow::{Context, Result, ensure};
use nfslat_workload::{schedstat::SchedStat, truth::Truth};
use serde::Deserialize;

use crate::{
    machine::Machine,
    process::{PATIENCE, Process},
};

/// A workload whose threads exist and sleep, waiting for the signal to begin.
#[derive(Debug)]
pub struct Gated {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Gated {
    /// Starts `nfslat-workload --gate ARGUMENTS`.
    pub fn start(machine: &Machine, arguments: &[&str]) -> Result<Self> {
        let mut process = Process::start(Command::new(&machine.workload).arg("--gate").args(arguments))?;
        let (stdin, stdout) = (process.stdin()?, BufReader::new(process.stdout()?));
        process.wait_for("ready")?;
        Ok(Self { process, stdin, stdout })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets it work, and returns what it knows when it is done. Its threads sleep on.
    pub fn work(&mut self) -> Result<Truth> {
        self.stdin.write_all(b"begin\n")?;
        let mut documents = serde_json::Deserializer::from_reader(&mut self.stdout);
        Truth::deserialize(&mut documents).context("the workload printed no account of itself")
    }

    /// The scheduler's statistics of every thread. They are exact, as the threads sleep.
    pub fn statistics(&self) -> Result<Vec<(u32, SchedStat)>> {
        let folder = format!("/proc/{}/task", self.pid());
        let entries = fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
        let tid = |name: &str| name.parse::<u32>().with_context(|| format!("{folder} has an entry {name}"));
        let mut statistics = Vec::new();
        for entry in entries {
            let tid = tid(&entry?.file_name().to_string_lossy())?;
            statistics.push((tid, SchedStat::of(self.pid(), tid)?));
        }
        Ok(statistics)
    }

    /// Lets it end.
    pub fn end(self) -> Result<()> {
        drop(self.stdin);
        let finished = self.process.finish(PATIENCE)?;
        ensure!(finished.code() == Some(0), "the workload ended with {}: {}", finished.status, finished.stderr);
        Ok(())
    }
}

/// Reads what a workload wrote with `--output`.
pub fn read_truth(path: &Path) -> Result<Truth> {
    let text = fs::read_to_string(path).with_context(|| format!("the workload left no {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no account of a workload", path.display()))
}

/// Runs a workload to its end.
pub fn run(machine: &Machine, arguments: &[&str]) -> Result<Truth> {
    let mut command = Command::new(&machine.workload);
    let finished = Process::start(command.args(arguments))?.finish(2 * PATIENCE)?;
    ensure!(finished.code() == Some(0), "the workload ended with {}: {}", finished.status, finished.stderr);
    serde_json::from_str(&finished.stdout).context("the workload printed no account of itself")
}
