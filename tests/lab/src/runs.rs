//! A folder for each guest that runs, kept a while so that a failed run can be looked at.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

/// How many runs are kept. Far more than ever run at once, so no running guest loses its folder.
const KEPT: usize = 60;

/// A new folder for a run of the guest called `name`; the oldest ones make room.
pub(crate) fn create(runs: &Path, name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock stands before 1970")?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Sorts by time; the process and a counter keep apart what starts in the same millisecond.
    let folder = runs.join(format!("{:013}-{}-{count}-{name}", now.as_millis(), process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // Another process may be removing the same old folders.
    let _ = make_room(runs);
    Ok(folder)
}

fn make_room(runs: &Path) -> io::Result<()> {
    let mut folders = fs::read_dir(runs)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    folders.sort();
    for old in &folders[..folders.len().saturating_sub(KEPT)] {
        fs::remove_dir_all(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn the_newest_runs_are_kept() {
        let runs = env::temp_dir().join(format!("nfslat-runs-{}", process::id()));
        let first = create(&runs, "first").unwrap();
        let rest: Vec<_> = (0..KEPT).map(|_| create(&runs, "later").unwrap()).collect();
        assert!(!first.exists() && rest.iter().all(|folder| folder.exists()));
        fs::remove_dir_all(&runs).unwrap();
    }
}
