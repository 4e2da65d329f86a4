//! Readers of `/proc` and `/sys`. Each takes the root of its tree as a parameter, so tests can
//! give it a folder of recorded files. None opens anything on an NFS mount.

pub(super) mod bypasses;
pub(super) mod counters;
pub(super) mod host;
pub(super) mod mounts;
pub(super) mod net_namespace;
pub(super) mod own_cost;
pub(super) mod pressure;
pub(super) mod processes;
pub(super) mod rpc_clients;
pub(super) mod rpc_tasks;
pub(super) mod rpc_transports;
pub(super) mod vast;
pub(super) mod virtualisation;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Where the kernel's file systems are mounted.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// `/proc`
    pub(crate) proc: PathBuf,
    /// `/sys`
    pub(crate) sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

impl Roots {
    /// Folder with the kernel's own types.
    pub(crate) fn btf(&self) -> PathBuf {
        self.sys.join("kernel/btf")
    }

    /// The `format` file of a tracepoint.
    ///
    /// # Errors
    /// If tracefs is not mounted, or the kernel has no such tracepoint.
    pub(crate) fn tracepoint_format(&self, category: &str, name: &str) -> Result<String> {
        let places = ["kernel/tracing", "kernel/debug/tracing"];
        let paths = places.map(|place| self.sys.join(place).join("events").join(category).join(name).join("format"));
        let found = paths.iter().find_map(|path| fs::read_to_string(path).ok());
        found.with_context(|| format!("cannot read {}: is tracefs mounted?", paths[0].display()))
    }

    /// True if a kernel module is loaded (or built in with parameters of its own).
    pub(crate) fn has_module(&self, name: &str) -> bool {
        self.sys.join("module").join(name).is_dir()
    }
}
