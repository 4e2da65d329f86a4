//! Starts the threads of the chosen kinds, lets them begin together, and collects their accounts.

use std::{
    panic::resume_unwind,
    process,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use crate::{
    meter::Meter,
    schedstat::SchedStat,
    settings::Settings,
    sys,
    truth::{Cause, ThreadTruth, Truth},
};

/// The work of a thread; it returns when the meter tells it to.
pub type Body = Box<dyn FnOnce(&mut Meter) -> Result<()> + Send>;

/// One thread to be started.
pub struct Worker {
    /// Name of the thread, at most 15 bytes.
    pub comm: String,
    /// What it waits for.
    pub cause: Cause,
    /// The only CPU it may use, from its start on; any, if none is named.
    pub cpu: Option<usize>,
    /// What it does.
    pub body: Body,
}

impl Worker {
    /// A worker called `w-NAME`.
    pub fn new(name: &str, cause: Cause, body: impl FnOnce(&mut Meter) -> Result<()> + Send + 'static) -> Self {
        let comm = format!("w-{name}");
        assert!(comm.len() <= 15, "{comm} is longer than the kernel's thread names");
        Self { comm, cause, cpu: None, body: Box::new(body) }
    }

    /// Keeps it on one CPU, also while it waits for the start.
    #[must_use]
    pub fn on_cpu(self, cpu: usize) -> Self {
        Self { cpu: Some(cpu), ..self }
    }
}

/// A door that threads wait at.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// A gate that lets everyone through.
    #[must_use]
    pub fn opened() -> Arc<Self> {
        let gate = Self::default();
        gate.open();
        Arc::new(gate)
    }

    /// Opens it for good.
    pub fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.opened.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The threads of a run, started and on their way.
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    accounts: Receiver<(usize, Result<ThreadTruth>)>,
    start_mono_ns: u64,
}

/// Starts `workers` (each with the name of its kind). They begin when `start` opens, and stay
/// alive, asleep, until `leave` opens.
pub fn start(
    workers: Vec<(&str, Worker)>,
    settings: &Settings,
    start: &Arc<Gate>,
    leave: &Arc<Gate>,
) -> Result<Running> {
    let (sender, accounts) = mpsc::channel();
    let mut threads = Vec::new();
    for (number, (kind, worker)) in workers.into_iter().enumerate() {
        let (kind, settings, sender) = (kind.to_owned(), settings.clone(), sender.clone());
        let (start, leave) = (Arc::clone(start), Arc::clone(leave));
        let comm = worker.comm.clone();
        let thread = thread::Builder::new().name(comm.clone()).spawn(move || {
            let pinned = worker.cpu.map_or(Ok(()), sys::pin_to_cpu);
            start.pass();
            let account = pinned.context("choosing its CPU").and_then(|()| account(&kind, worker, &settings));
            let account = account.with_context(|| format!("{comm} failed"));
            // Nobody listens any more if another thread failed first, and that one is reported.
            drop(sender.send((number, account)));
            drop(sender);
            leave.pass();
        })?;
        threads.push(thread);
    }
    Ok(Running { threads, accounts, start_mono_ns: sys::monotonic_ns() })
}

fn account(kind: &str, worker: Worker, settings: &Settings) -> Result<ThreadTruth> {
    let before = SchedStat::of_this_thread()?;
    let start_mono_ns = sys::monotonic_ns();
    let mut meter = Meter::start(settings);
    (worker.body)(&mut meter)?;
    let wall_ns = sys::monotonic_ns() - start_mono_ns;
    let after = SchedStat::of_this_thread()?;
    Ok(ThreadTruth {
        pid: process::id(),
        tid: sys::thread_id(),
        comm: worker.comm,
        kind: kind.to_owned(),
        cause: worker.cause,
        start_mono_ns,
        wall_ns,
        waited_ns: u64::try_from(meter.waited().as_nanos())?,
        count: meter.count(),
        before,
        after,
        calls: meter.into_calls(),
    })
}

impl Running {
    /// Waits until every thread has done its work, and returns their accounts.
    pub fn truth(&self) -> Result<Truth> {
        // Ends when every sender is gone, which a panic drops too.
        let mut given: Vec<_> = self.accounts.iter().collect();
        given.sort_by_key(|(number, _)| *number);
        let threads = given.into_iter().map(|(_, account)| account).collect::<Result<Vec<_>>>()?;
        Ok(Truth { pid: process::id(), start_mono_ns: self.start_mono_ns, end_mono_ns: sys::monotonic_ns(), threads })
    }

    /// Waits for the threads' end.
    pub fn join(self) {
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}
