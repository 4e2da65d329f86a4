//! Threads that hardly get a CPU: kept on one that another keeps busy, of a class that goes before them.

use std::{
    fs, io,
    mem::{size_of, zeroed},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// The CPU they are kept on. There must be another for everything else.
const CPU: usize = 1;
/// In each turn the CPU is theirs for the rest only. Less than a real-time thread may have (95% of a second).
const BUSY: Duration = Duration::from_millis(80);
const REST: Duration = Duration::from_millis(8);

/// Threads that are starved until this is dropped.
#[derive(Debug)]
pub struct Starved {
    tids: Vec<i32>,
    stop: Arc<AtomicBool>,
    hog: Option<JoinHandle<()>>,
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
            allow(*tid, &[CPU])?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let hog = thread::spawn({
            let stop = Arc::clone(&stop);
            move || hog(&stop)
        });
        Ok(Self { tids, stop, hog: Some(hog) })
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(hog) = self.hog.take() {
            drop(hog.join());
        }
        for tid in &self.tids {
            if let Err(error) = allow(*tid, &[0, CPU]) {
                eprintln!("a thread stays on its CPU: {error:#}");
            }
        }
    }
}

fn hog(stop: &AtomicBool) {
    if let Err(error) = go_first() {
        eprintln!("nobody is starved: {error:#}");
        return;
    }
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        while begun.elapsed() < BUSY {}
        thread::sleep(REST);
    }
}

/// Makes this thread go before all that are not of a real-time class, on the CPU of the starved.
fn go_first() -> Result<()> {
    allow(0, &[CPU])?;
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is valid.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
    ensure!(result == 0, "asking for a real-time class: {}", io::Error::last_os_error());
    Ok(())
}

/// Keeps a thread (0: this one) on some CPUs.
fn allow(tid: i32, cpus: &[usize]) -> Result<()> {
    // SAFETY: plain data; the call reads as much as it is told to.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result != 0 {
        bail!("keeping thread {tid} on CPUs {cpus:?}: {}", io::Error::last_os_error());
    }
    Ok(())
}
