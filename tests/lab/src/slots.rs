//! Sharing this machine's processors between guests, also between processes.
//!
//! Emulated processors that outnumber the real ones do not merely take turns: two guests of two processors each on two
//! cores ran three times slower than one after the other, and timing assertions failed. So each guest takes as many
//! slots as it has processors, and waits until that many are free. A slot is a locked file: the kernel gives it back
//! when its holder dies, however it dies.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// How often a guest that waits looks for free slots.
const LOOK: Duration = Duration::from_millis(50);

/// Slots that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Slots {
    _held: Vec<File>,
}

impl Slots {
    /// Waits for `wanted` slots, or for all there are when that is fewer. Calls `on_wait` if they are not free at once.
    pub(crate) fn acquire(folder: &Path, wanted: usize, on_wait: &mut dyn FnMut()) -> Result<Self> {
        let all = thread::available_parallelism().map_or(1, usize::from);
        Self::acquire_of(folder, wanted.min(all), all, on_wait)
    }

    /// Waits until no other guest runs, and keeps it so.
    pub(crate) fn acquire_all(folder: &Path, on_wait: &mut dyn FnMut()) -> Result<Self> {
        Self::acquire(folder, usize::MAX, on_wait)
    }

    fn acquire_of(folder: &Path, wanted: usize, all: usize, on_wait: &mut dyn FnMut()) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let open = |name: &str| {
            let path = folder.join(name);
            File::create(&path).with_context(|| format!("opening {}", path.display()))
        };
        let mut told = false;
        let mut tell = || {
            if !std::mem::replace(&mut told, true) {
                on_wait();
            }
        };
        // One waiter at a time collects slots: two that held half of what they need would wait for each other for ever.
        let gate = open("gate")?;
        if !lock_if_free(&gate)? {
            tell();
            gate.lock().context("waiting for other guests to start")?;
        }
        let mut free: Vec<File> = (0..all).map(|slot| open(&slot.to_string())).collect::<Result<_>>()?;
        let mut held = Vec::with_capacity(wanted);
        loop {
            let mut taken = Vec::new();
            for slot in free {
                if held.len() < wanted && lock_if_free(&slot)? {
                    held.push(slot);
                } else {
                    taken.push(slot);
                }
            }
            if held.len() == wanted {
                return Ok(Self { _held: held });
            }
            free = taken;
            tell();
            thread::sleep(LOOK);
        }
    }
}

fn lock_if_free(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).context("locking a processor slot"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env, process,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn whoever_has_to_wait_is_told_once() {
        let folder = env::temp_dir().join(format!("nfslat-slots-told-{}", process::id()));
        let mut told = 0;
        let first = Slots::acquire_of(&folder, 1, 1, &mut || told += 1).unwrap();
        let release = thread::spawn(move || {
            thread::sleep(3 * LOOK);
            drop(first);
        });
        assert_eq!(told, 0);
        Slots::acquire_of(&folder, 1, 1, &mut || told += 1).unwrap();
        release.join().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(told, 1);
    }

    #[test]
    fn never_more_slots_than_processors() {
        let folder = env::temp_dir().join(format!("nfslat-slots-{}", process::id()));
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for wanted in [1, 2, 3, 1, 3, 2, 1] {
                let (folder, running, most) = (&folder, &running, &most);
                scope.spawn(move || {
                    let slots = Slots::acquire_of(folder, wanted, 3, &mut || ()).unwrap();
                    let now = running.fetch_add(wanted, Ordering::SeqCst) + wanted;
                    most.fetch_max(now, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(20));
                    running.fetch_sub(wanted, Ordering::SeqCst);
                    drop(slots);
                });
            }
        });
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(most.into_inner(), 3);
    }
}
