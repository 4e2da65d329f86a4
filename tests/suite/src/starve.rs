//! Taking from others what they need: CPU, memory.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::machine;

/// Threads that hardly get a CPU until this is dropped: they run when nothing else wants to, and something else always
/// does.
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
            starve(*tid)?;
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
            if let Err(error) = feed(*tid) {
                eprintln!("a thread stays starved: {error:#}");
            }
        }
    }
}

/// Leaves a thread next to nothing. On kernels from 7.0 on the scheduling class for that is too little to see the end of
/// anything: a call takes more than a second.
fn starve(tid: i32) -> Result<()> {
    if machine::kernel_is_at_least(7, 0)? { set_nice(tid, 19) } else { set_class(tid, libc::SCHED_IDLE) }
}

fn feed(tid: i32) -> Result<()> {
    set_class(tid, libc::SCHED_OTHER)?;
    set_nice(tid, 0)
}

fn set_nice(tid: i32, nice: i32) -> Result<()> {
    // SAFETY: no memory is touched.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, u32::try_from(tid)?, nice) } != 0 {
        bail!("giving thread {tid} the niceness {nice}: {}", io::Error::last_os_error());
    }
    Ok(())
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

/// This thread goes before all others until this is dropped.
#[derive(Debug)]
pub struct First(());

impl First {
    /// From now on.
    pub fn in_line() -> Result<Self> {
        let first = libc::sched_param { sched_priority: 1 };
        // SAFETY: the pointer is valid. 0: this thread.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) } != 0 {
            bail!("putting this thread before others: {}", io::Error::last_os_error());
        }
        Ok(Self(()))
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Err(error) = set_class(0, libc::SCHED_OTHER) {
            eprintln!("a thread still goes before all others: {error:#}");
        }
    }
}

/// A kernel that is told to give memory back again and again until this is dropped. Its NFS server (6.14 and later) then
/// takes back the slots that it gave to sessions.
#[derive(Debug)]
pub struct Squeezed {
    stop: Arc<AtomicBool>,
    squeezer: Option<JoinHandle<io::Result<()>>>,
}

impl Squeezed {
    const PAUSE: Duration = Duration::from_millis(10);

    /// Starts with it.
    pub fn kernel() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let squeezer = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // What can be freed besides pages: Documentation/admin-guide/sysctl/vm.rst.
                fs::write("/proc/sys/vm/drop_caches", "2")?;
                thread::sleep(Self::PAUSE);
            }
            Ok(())
        });
        Self { stop, squeezer: Some(squeezer) }
    }
}

impl Drop for Squeezed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.squeezer.take().map(JoinHandle::join) {
            eprintln!("the kernel was not told to give memory back: {error}");
        }
    }
}
