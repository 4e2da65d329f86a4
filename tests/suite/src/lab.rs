//! Runs checks in the lab: one guest per kernel goes through all stages, and every trial reads its
//! verdict from what that guest left behind.

use std::{
    env,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result};
use nfslat_lab::{GuestResult, Lab, SOURCES};

use crate::{
    check::{Check, Ended, Stage, Verdict},
    guest,
    machine::Machine,
};

/// Prepares each stage and runs the suite in it.
const SCRIPT: &str = include_str!("../guest/stages.sh");

/// Where the programs are in a guest.
const FOLDER: &str = "/usr/local/bin";

/// All stages on an emulated machine.
const LIMIT: Duration = Duration::from_secs(900);

/// The names of the lab's kernels, oldest first.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// One kernel's guest. It boots when the first verdict is asked for.
#[derive(Debug)]
pub struct Guest {
    kernel: &'static str,
    machine: Machine,
    wanted: Vec<&'static Check>,
    ran: OnceLock<Result<Ran, String>>,
}

/// What a guest left behind.
#[derive(Debug)]
struct Ran {
    release: String,
    result: GuestResult,
}

impl Guest {
    /// A guest with `kernel` that will run the checks in `wanted`.
    #[must_use]
    pub fn new(kernel: &'static str, machine: &Machine, wanted: Vec<&'static Check>) -> Arc<Self> {
        Arc::new(Self { kernel, machine: machine.clone(), wanted, ran: OnceLock::new() })
    }

    /// The kernel's name in the lab.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The kernel's release, once the guest has run.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        Some(&self.ran.get()?.as_ref().ok()?.release)
    }

    /// A file that a check left, once the guest has run.
    #[must_use]
    pub fn left(&self, name: &str) -> Option<String> {
        self.ran.get()?.as_ref().ok()?.result.read(name).ok()
    }

    /// What came of `check`.
    #[must_use]
    pub fn verdict(&self, check: &Check) -> Verdict {
        self.read(check).unwrap_or_else(|error| Verdict {
            check: check.name.to_owned(),
            result: Ended::Failed(format!("{error:#}")),
            seconds: 0.0,
        })
    }

    fn read(&self, check: &Check) -> Result<Verdict> {
        let ran = self.ran.get_or_init(|| self.boot().map_err(|error| format!("{error:#}")));
        let ran = ran.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        let verdict = ran.result.read(&guest::file_name(check.name)).with_context(|| {
            let tail: Vec<_> = ran.result.output.lines().rev().take(20).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            format!("the guest's script ended with {}, and its output with:\n{}", ran.result.code, tail.join("\n"))
        })?;
        serde_json::from_str(&verdict).context("the guest wrote a verdict that cannot be read")
    }

    fn boot(&self) -> Result<Ran> {
        let lab = Lab::open()?;
        let kernel = lab.kernel(self.kernel)?;
        let stages = Stage::ALL.iter().filter(|stage| self.wanted.iter().any(|check| check.stage == **stage));
        let stages: Vec<_> = stages.map(|stage| stage.name()).collect();
        let wanted: Vec<_> = self.wanted.iter().map(|check| check.name).collect();
        let program = |name: &str| format!("{FOLDER}/{name}");
        let result = lab
            .guest(&kernel)
            .file(&self.machine.nfslat, &program("nfslat"))
            .file(&self.machine.workload, &program("nfslat-workload"))
            .file(env::current_exe().context("finding this program")?, &program("nfslat-suite"))
            .env("NFSLAT_BIN", program("nfslat"))
            .env("NFSLAT_WORKLOAD_BIN", program("nfslat-workload"))
            .env("NFSLAT_SUITE_STAGES", stages.join(" "))
            .env(guest::WANTED, wanted.join(" "))
            .timeout(LIMIT)
            .run(SCRIPT)?;
        Ok(Ran { release: kernel.release, result })
    }
}
