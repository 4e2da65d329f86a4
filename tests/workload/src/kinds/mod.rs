//! The kinds of workload: one file each, one line each in [`ALL`].

use anyhow::Result;

use crate::{run::Worker, settings::Settings};

mod append;
mod block_read;
mod busy;
mod child;
mod compete;
#[cfg(target_arch = "x86_64")]
mod deep;
mod epoll;
mod files;
mod fsync;
mod futex;
mod mmap_fault;
mod mmap_holder;
mod mmap_storm;
mod nfs_direct;
mod nfs_meta;
mod nfs_mixed;
mod nfs_mmap;
mod nfs_read;
mod peer;
mod pipe;
mod poll;
mod proc_reader;
mod reclaim;
mod sleep;
mod socket;

/// One kind of workload.
pub struct Kind {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Makes ready what it needs and returns its threads.
    pub workers: fn(&Settings) -> Result<Vec<Worker>>,
}

/// Every kind.
pub const ALL: &[Kind] = &[
    sleep::KIND,
    pipe::KIND,
    futex::KIND,
    poll::KIND,
    epoll::KIND,
    socket::TCP,
    socket::UNIX,
    child::KIND,
    busy::KIND,
    compete::KIND,
    block_read::KIND,
    fsync::KIND,
    append::KIND,
    mmap_fault::KIND,
    mmap_storm::KIND,
    mmap_holder::KIND,
    proc_reader::KIND,
    reclaim::KIND,
    nfs_read::KIND,
    nfs_direct::KIND,
    nfs_meta::KIND,
    nfs_mixed::KIND,
    nfs_mmap::KIND,
    #[cfg(target_arch = "x86_64")]
    deep::KIND,
    #[cfg(target_arch = "x86_64")]
    deep::STACKS_KIND,
];

/// Kinds that wait for one known thing each and need no folder.
pub const WAITS: &[&str] = &["sleep", "pipe", "futex", "poll", "epoll", "socket-tcp", "socket-unix", "child"];

/// Those of them that need a folder on a local disk.
pub const DISK_WAITS: &[&str] = &["block-read", "fsync"];

/// The kind of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    ALL.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_the_groups_name_kinds() {
        let names: HashSet<_> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(WAITS.iter().chain(DISK_WAITS).all(|name| find(name).is_some()));
    }
}
