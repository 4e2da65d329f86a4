//! A program on Tokio whose tasks contend for the lock of the process's memory map, for as many seconds as its argument
//! says. Its threads bear a name that belongs to another runtime: a name proves nothing.

use std::{
    env, io, ptr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

const STORMS: usize = 4;
const LENGTH: usize = 4 << 20;

fn main() -> Result<()> {
    let seconds = env::args().nth(1).context("usage: nfslat-tokio-storm SECONDS")?;
    let until = Instant::now() + Duration::try_from_secs_f64(seconds.parse().context("not a number of seconds")?)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(STORMS).thread_name("GC-worker").build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..STORMS).map(|_| tokio::spawn(async move { storm(until) })).collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

fn storm(until: Instant) -> io::Result<()> {
    while Instant::now() < until {
        // SAFETY: a new mapping of its own.
        let memory = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // The lock is held while all the pages are made, on every kernel: long enough for the others to wait.
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
            libc::mmap(ptr::null_mut(), LENGTH, access, flags, -1, 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping that was made above.
        if unsafe { libc::munmap(memory, LENGTH) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
