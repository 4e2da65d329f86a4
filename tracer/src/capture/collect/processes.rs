//! The processes of a run, each described when it is first seen.

use std::collections::HashMap;

use crate::{
    capture::{proc::processes, session::Session},
    model::Process,
};

/// The processes seen so far. An id that is used again after its process has ended is another process.
#[derive(Default)]
pub(super) struct Processes {
    listed: Vec<Process>,
    alive: HashMap<u32, u32>,
    /// Of each process id the last that is gone.
    gone: HashMap<u32, u32>,
}

impl Processes {
    /// Index of a process.
    pub(super) fn index(&mut self, session: &Session, pid: u32, kernel: bool) -> u32 {
        *self.alive.entry(pid).or_insert_with(|| {
            self.listed.push(processes::read(&session.roots.proc, pid, kernel));
            (self.listed.len() - 1) as u32
        })
    }

    /// The same, also for a process that is gone. For sums over the whole run.
    pub(super) fn index_of_run(&mut self, session: &Session, pid: u32, kernel: bool) -> u32 {
        let known = self.alive.get(&pid).or_else(|| self.gone.get(&pid)).copied();
        known.unwrap_or_else(|| self.index(session, pid, kernel))
    }

    /// A process by its index.
    pub(super) fn at(&self, index: u32) -> &Process {
        &self.listed[index as usize]
    }

    /// The name of its first thread, for a process that could not be read itself.
    pub(super) fn name(&mut self, index: u32, comm: &str) {
        let name = &mut self.listed[index as usize].comm;
        if name.is_empty() {
            comm.clone_into(name);
        }
    }

    /// A process has ended.
    pub(super) fn end(&mut self, pid: u32) {
        self.gone.extend(self.alive.remove_entry(&pid));
    }

    /// All of them, by index.
    pub(super) fn into_list(self) -> Vec<Process> {
        self.listed
    }
}
