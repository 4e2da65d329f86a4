//! Names for the addresses of user stacks.
//!
//! Nothing here may keep the tracer from its work or from its end: what a stuck process or a dead
//! server could hold up is done by threads that are waited for so long and no longer
//! ([`patience`]), and files of network file systems are not opened at all ([`file_systems`]).
//! While the window is open, one thread ([`Symbols::begin`]) reads what is mapped where in each process
//! whose stacks are seen, since the process may be gone later; the files are opened after the window.

mod cut;
mod elf;
mod file_systems;
mod maps;
mod module;
mod name;
mod patience;
mod perf_map;
mod resolve;
mod spaces;

use std::{
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::model::{Loss, UserStack};
use patience::Patience;
use resolve::Resolver;
use spaces::Spaces;

/// How long names are looked up after the window.
const LIMIT: Duration = Duration::from_secs(5);
/// How much longer the answer is waited for: the last step that was begun in time may take that.
const GRACE: Duration = Duration::from_secs(1);

/// A user stack as it was walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawStack {
    /// Process id.
    pub(super) pid: u32,
    /// Which of the process's address spaces.
    pub(super) address_space: u64,
    /// Where it waits, then return addresses, innermost first.
    pub(super) frames: Vec<u64>,
}

/// User stacks with names.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// In the order in which they were given.
    pub(super) stacks: Vec<UserStack>,
    /// What a reader should know of the names, for people.
    pub(super) notes: Vec<String>,
    /// Names that could have been found with more time or room.
    pub(super) losses: Vec<Loss>,
}

enum Job {
    Note(RawStack),
    Resolve(Vec<RawStack>, Sender<Resolved>),
}

/// How long the processes that have not answered yet are waited for at the end.
const SETTLE: Duration = Duration::from_secs(2);

/// The thread that knows the processes.
pub(super) struct Symbols {
    jobs: Sender<Job>,
}

impl Symbols {
    /// Starts it. Without threads nothing gets a name.
    pub(super) fn begin(proc: &Path) -> Self {
        let (jobs, received) = mpsc::channel();
        let proc = proc.to_owned();
        // If it cannot be started, the channel is closed, and the end says so.
        drop(thread::Builder::new().name("nfslat-symbols".to_owned()).spawn(move || work(&proc, &received)));
        Self { jobs }
    }

    /// Notes that a stack was seen. Returns at once.
    pub(super) fn note(&self, stack: &RawStack) {
        drop(self.jobs.send(Job::Note(stack.clone())));
    }

    /// Looks up the names: call it after the window. Takes [`LIMIT`] and [`GRACE`] at most.
    pub(super) fn resolve(&self, stacks: Vec<RawStack>) -> Resolved {
        let (sender, receiver) = mpsc::channel();
        let bare: Vec<_> = stacks.iter().map(resolve::without_names).collect();
        let frames = stacks.iter().map(|stack| stack.frames.len() as u64).sum();
        drop(self.jobs.send(Job::Resolve(stacks, sender)));
        receiver.recv_timeout(LIMIT + GRACE).unwrap_or_else(|_| Resolved {
            stacks: bare,
            notes: Vec::new(),
            losses: resolve::unresolved(frames).into_iter().collect(),
        })
    }
}

fn work(proc: &Path, jobs: &Receiver<Job>) {
    let (mut spaces, mut patience) = (Spaces::new(proc), Patience::default());
    for job in jobs {
        match job {
            Job::Note(stack) => spaces.note((stack.pid, stack.address_space), &stack.frames),
            Job::Resolve(stacks, reply) => {
                let begun = Instant::now();
                spaces.settle(begun + SETTLE);
                let resolver = Resolver { proc, spaces: &spaces, deadline: begun + LIMIT };
                drop(reply.send(resolver.resolve(&stacks, &mut patience)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    extern "C" fn waits_here() -> usize {
        std::hint::black_box(3)
    }

    #[test]
    fn a_stack_of_this_process_gets_names() {
        let symbols = Symbols::begin(Path::new("/proc"));
        let address = waits_here as *const () as u64 + 1;
        let stack = RawStack { pid: std::process::id(), address_space: 1, frames: vec![address, 1] };
        symbols.note(&stack);
        let resolved = symbols.resolve(vec![stack]);
        let frames = &resolved.stacks[0].frames;
        assert!(frames[0].function.contains("waits_here"), "{frames:?}");
        assert!(frames[0].module.starts_with('/'), "{frames:?}");
        assert_eq!(frames.len(), 1, "1 is no address of code: {frames:?}");
        assert_ne!(resolved.stacks[0].cut, "");
        assert_eq!(resolved.losses, []);
    }

    #[test]
    fn a_stack_of_a_process_that_is_gone_keeps_its_addresses_and_is_noted() {
        let symbols = Symbols::begin(Path::new("/proc"));
        let stack = RawStack { pid: 4_194_305, address_space: 1, frames: vec![0x1234] };
        symbols.note(&stack);
        let resolved = symbols.resolve(vec![stack]);
        assert_eq!(resolved.stacks[0].frames[0].offset, 0x1234);
        assert!(resolved.notes[0].contains("ended"), "{:?}", resolved.notes);
        assert_eq!(resolved.losses, []);
    }

    #[test]
    fn a_process_that_does_not_answer_costs_its_names_and_nothing_else() {
        let proc = spaces::tests::stuck_proc();
        let symbols = Symbols::begin(proc.path());
        let stack = RawStack { pid: 1, address_space: 1, frames: vec![0x1234, 0x5678] };
        symbols.note(&stack);
        let begun = Instant::now();
        let resolved = symbols.resolve(vec![stack]);
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        assert_eq!(resolved.stacks[0].frames[1].offset, 0x5678);
        assert_eq!(resolved.losses[0].count, 2);
    }
}
