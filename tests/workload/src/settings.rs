//! What a run is asked to do, as every kind sees it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

/// Settings shared by all kinds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long to work.
    pub duration: Duration,
    /// How many rounds to do; `None`: as many as the duration allows.
    pub count: Option<u64>,
    /// Length of one designed wait.
    pub step: Duration,
    /// Folder for kinds that use files.
    pub dir: Option<PathBuf>,
    /// Threads, for kinds that need several to contend.
    pub threads: usize,
    /// Size of the files that are read and written, or of the memory.
    pub file_bytes: usize,
    /// Keep each thread on one CPU.
    pub pin: bool,
    /// Note when the blocking calls were that took at least this long; `None`: of none.
    pub calls_from: Option<Duration>,
}

impl Settings {
    /// The folder for files, or an error that says which kind needs it.
    pub fn dir_for(&self, kind: &str) -> Result<PathBuf> {
        self.dir.clone().with_context(|| format!("{kind} works on files: say where with --dir"))
    }
}
