//! Threads that hardly get a CPU: they run when nothing else wants to, and something else always does.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail, ensure};

/// Threads that are starved until this is dropped.
#[derive(Debug)]
pub struct Starved {
    tids: Vec<i32>,
    stop: Arc<AtomicBool>,
    hogs: Vec<JoinHandle<()>>,
}

impl Starved {
    /// All processes (and threads of the kernel) of this name.
    pub fn threads_of(comm: &str) -> Result<Self> {
        let mut tids = Vec::new();
        for entry in fs::read_dir("/proc").context("reading /proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim_end() == comm {
                tids.push(pid);
            }
        }
        ensure!(!tids.is_empty(), "no thread is called {comm}");
        for tid in &tids {
            set_class(*tid, libc::SCHED_IDLE)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let cpus = thread::available_parallelism().context("counting the CPUs")?.get();
        let hog = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        };
        let hogs = (0..cpus).map(hog).collect();
        Ok(Self { tids, stop, hogs })
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for hog in self.hogs.drain(..) {
            drop(hog.join());
        }
        for tid in &self.tids {
            if let Err(error) = set_class(*tid, libc::SCHED_OTHER) {
                eprintln!("a thread stays starved: {error:#}");
            }
        }
    }
}

/// Sets a thread's scheduling class, one without priorities.
fn set_class(tid: i32, class: i32) -> Result<()> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is valid.
    if unsafe { libc::sched_setscheduler(tid, class, &raw const none) } != 0 {
        bail!("giving thread {tid} the scheduling class {class}: {}", io::Error::last_os_error());
    }
    Ok(())
}
