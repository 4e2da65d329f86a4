//! Runs checks in the lab: two guests per kernel share the stages, and every trial reads its verdict
//! from what its guest left behind.
//!
//! The checks of threads and locks need two processors, and so do those that compare latencies. The
//! others do with one, and two guests of one processor each run side by side on a machine with two.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
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
const LIMIT: Duration = Duration::from_secs(1500);

/// The names of the lab's kernels, oldest first.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// The guests of one kernel.
#[derive(Debug)]
pub struct Guests {
    kernel: &'static str,
    guests: [Guest; 2],
}

impl Guests {
    /// The guests with `kernel` that will run the checks in `wanted`.
    #[must_use]
    pub fn new(kernel: &'static str, machine: &Machine, wanted: &[&'static Check]) -> Arc<Self> {
        let guest = |smp, stages: &[Stage]| Guest {
            kernel,
            smp,
            machine: machine.clone(),
            wanted: wanted.iter().copied().filter(|check| stages.contains(&check.stage)).collect(),
            ran: OnceLock::new(),
        };
        let (two, one): (Vec<_>, Vec<_>) =
            Stage::ALL.iter().partition(|stage| matches!(stage, Stage::Bare | Stage::TwoClients | Stage::DeadServer));
        Arc::new(Self { kernel, guests: [guest(2, &two), guest(1, &one)] })
    }

    /// The kernel's name in the lab.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The kernel's release, once a guest has run.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.guests.iter().find_map(Guest::release)
    }

    /// A file that a check left, once the guests have run.
    #[must_use]
    pub fn left(&self, name: &str) -> Option<String> {
        self.guests.iter().find_map(|guest| guest.left(name))
    }

    /// What came of `check`; waits for its guest, which [`start`] boots.
    #[must_use]
    pub fn verdict(&self, check: &Check) -> Verdict {
        let guest = self.guests.iter().find(|guest| guest.wanted.iter().any(|wanted| wanted.name == check.name));
        guest.map_or_else(
            || Verdict { check: check.name.to_owned(), result: Ended::Failed("no guest runs it".into()), seconds: 0.0 },
            |guest| guest.verdict(check),
        )
    }
}

/// Boots every guest that has something to run: first those with one processor, side by side, then
/// the others.
pub fn start(fleet: Vec<Arc<Guests>>) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::spawn(move || {
        for smp in [1, 2] {
            let guests = fleet.iter().flat_map(|guests| &guests.guests);
            let queue = Mutex::new(guests.filter(|guest| guest.smp == smp && !guest.wanted.is_empty()));
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            thread::scope(|scope| {
                for _ in 0..(processors / smp).max(1) {
                    scope.spawn(|| {
                        while let Some(guest) = next() {
                            guest.run();
                        }
                    });
                }
            });
        }
    });
}

/// One guest.
#[derive(Debug)]
struct Guest {
    kernel: &'static str,
    smp: usize,
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
    fn release(&self) -> Option<&str> {
        Some(&self.ran.get()?.as_ref().ok()?.release)
    }

    fn left(&self, name: &str) -> Option<String> {
        self.ran.get()?.as_ref().ok()?.result.read(name).ok()
    }

    fn verdict(&self, check: &Check) -> Verdict {
        self.read(check).unwrap_or_else(|error| Verdict {
            check: check.name.to_owned(),
            result: Ended::Failed(format!("{error:#}")),
            seconds: 0.0,
        })
    }

    fn read(&self, check: &Check) -> Result<Verdict> {
        let ran = self.ran.wait().as_ref().map_err(|error| anyhow!("{error}"))?;
        let verdict = ran.result.read(&guest::file_name(check.name)).with_context(|| {
            let tail: Vec<_> = ran.result.output.lines().rev().take(20).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            format!("the guest's script ended with {}, and its output with:\n{}", ran.result.code, tail.join("\n"))
        })?;
        serde_json::from_str(&verdict).context("the guest wrote a verdict that cannot be read")
    }

    /// Boots it, and keeps what it leaves behind for whoever waits, even if that is a panic.
    fn run(&self) {
        let ran = panic::catch_unwind(AssertUnwindSafe(|| self.boot()));
        let ran = ran.unwrap_or_else(|_| Err(anyhow!("booting it panicked")));
        self.ran.set(ran.map_err(|error| format!("{error:#}"))).expect("each guest is booted once");
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
            .file(&self.machine.go_storm, &program("nfslat-go-storm"))
            .file(&self.machine.tokio_storm, &program("nfslat-tokio-storm"))
            .file(env::current_exe().context("finding this program")?, &program("nfslat-suite"))
            .env("NFSLAT_BIN", program("nfslat"))
            .env("NFSLAT_WORKLOAD_BIN", program("nfslat-workload"))
            .env("NFSLAT_SUITE_STAGES", stages.join(" "))
            .env(guest::WANTED, wanted.join(" "))
            .smp(self.smp)
            .timeout(LIMIT)
            .run(SCRIPT)?;
        Ok(Ran { release: kernel.release, result })
    }
}
