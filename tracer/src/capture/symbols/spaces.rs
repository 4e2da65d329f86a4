//! What is mapped where in the processes whose stacks were seen.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    elf,
    file_systems::FileSystems,
    maps::{self, Mapping},
    patience::Patience,
};

/// How long one process's files in `/proc` are waited for.
const LIMIT: Duration = Duration::from_secs(2);
/// Address spaces that are looked at.
const MAX_SPACES: usize = 1_024;
/// How often one is read again because something else is mapped by now.
const MAX_READS: usize = 4;
/// Not sooner than this after the last time.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Largest file of `/proc` that is read: a process may have 65,530 mappings
/// (`vm.max_map_count`) with paths of 4 KiB each, but hardly.
const MAX_BYTES: u64 = 64 << 20;

/// An address space: a process, and which one of its own, as an exec replaces it.
pub(super) type SpaceId = (u32, u64);

/// What is known of a process at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Its executable mappings.
    pub(super) mappings: Vec<Mapping>,
    /// The file systems that it sees.
    pub(super) file_systems: Arc<FileSystems>,
    /// True if it sees the same ones as this process.
    pub(super) shares_mounts: bool,
    /// Its user, who owns what it writes.
    pub(super) uid: u32,
    /// Its process id as it sees it itself.
    pub(super) own_pid: u32,
}

/// Why nothing is known of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    /// The process was gone, or had become another program.
    Ended,
    /// It did not answer in time.
    Late,
    /// There are too many.
    TooMany,
}

#[derive(Debug)]
struct Space {
    snapshots: Vec<Snapshot>,
    blank: Blank,
    reads: usize,
    last_read: Instant,
}

/// All of them.
pub(super) struct Spaces {
    proc: PathBuf,
    spaces: HashMap<SpaceId, Space>,
    /// By the name of the mount namespace.
    mounts: HashMap<PathBuf, Arc<FileSystems>>,
    /// The device of files in memory (`memfd_create(2)`), which programs may run from.
    memory: (u32, u32),
}

impl Spaces {
    pub(super) fn new(proc: &Path) -> Self {
        let memory = elf::file_in_memory().and_then(|file| Ok(file.metadata()?.dev())).unwrap_or_default();
        Self {
            proc: proc.to_owned(),
            spaces: HashMap::new(),
            mounts: HashMap::new(),
            memory: (libc::major(memory), libc::minor(memory)),
        }
    }

    /// Notes a stack: reads what its process has mapped, unless that is known already.
    pub(super) fn note(&mut self, id: SpaceId, frames: &[u64], patience: &mut Patience) {
        let now = Instant::now();
        if let Some(space) = self.spaces.get(&id) {
            let known = frames.iter().all(|&frame| find(&space.snapshots, frame).is_some());
            let again = space.blank != Blank::Late
                && space.reads < MAX_READS
                && now.duration_since(space.last_read) >= READ_AGAIN_AFTER;
            if known || !again {
                return;
            }
        } else if self.spaces.len() >= MAX_SPACES {
            return;
        }
        let read = self.read(id.0, patience);
        let space = self.spaces.entry(id).or_insert_with(|| Space {
            snapshots: Vec::new(),
            blank: Blank::Ended,
            reads: 0,
            last_read: now,
        });
        (space.reads, space.last_read) = (space.reads + 1, now);
        match read {
            // Where it waits is mapped, or this is another address space than the one that was seen.
            Ok(snapshot) if frames.first().is_some_and(|&ip| maps::find(&snapshot.mappings, ip).is_some()) => {
                space.snapshots.push(snapshot);
            }
            Ok(_) => {}
            Err(blank) => space.blank = blank,
        }
    }

    /// The mapping of an address, and the moment it was seen at.
    pub(super) fn find(&self, id: SpaceId, address: u64) -> Result<(&Snapshot, &Mapping), Blank> {
        let Some(space) = self.spaces.get(&id) else { return Err(Blank::TooMany) };
        find(&space.snapshots, address).ok_or(space.blank)
    }

    /// True if nothing at all is known of it, and why.
    pub(super) fn blank(&self, id: SpaceId) -> Option<Blank> {
        match self.spaces.get(&id) {
            None => Some(Blank::TooMany),
            Some(space) => space.snapshots.is_empty().then_some(space.blank),
        }
    }

    fn read(&mut self, pid: u32, patience: &mut Patience) -> Result<Snapshot, Blank> {
        let dir = self.proc.join(pid.to_string());
        let raw = patience.wait(LIMIT, None, move || RawSnapshot::read(&dir)).map_err(|_| Blank::Late)?;
        let raw = raw.map_err(|_| Blank::Ended)?;
        let file_systems = match self.mounts.get(&raw.mount_namespace) {
            Some(known) => Arc::clone(known),
            None => {
                let path = self.proc.join(pid.to_string()).join("mountinfo");
                let text = patience.wait(LIMIT, None, move || read_limited(&path)).map_err(|_| Blank::Late)?;
                let mut parsed = FileSystems::parse(&text.map_err(|_| Blank::Ended)?);
                parsed.add_local(self.memory);
                let parsed = Arc::new(parsed);
                self.mounts.insert(raw.mount_namespace.clone(), Arc::clone(&parsed));
                parsed
            }
        };
        let own = fs::read_link(self.proc.join("self/ns/mnt")).ok();
        Ok(Snapshot {
            mappings: raw.mappings,
            file_systems,
            shares_mounts: own.as_ref() == Some(&raw.mount_namespace),
            uid: raw.uid,
            own_pid: raw.own_pid.unwrap_or(pid),
        })
    }
}

/// The latest word on an address.
fn find(snapshots: &[Snapshot], address: u64) -> Option<(&Snapshot, &Mapping)> {
    snapshots.iter().rev().find_map(|snapshot| Some((snapshot, maps::find(&snapshot.mappings, address)?)))
}

/// What is read of a process in one go.
struct RawSnapshot {
    mappings: Vec<Mapping>,
    mount_namespace: PathBuf,
    uid: u32,
    own_pid: Option<u32>,
}

impl RawSnapshot {
    fn read(dir: &Path) -> io::Result<Self> {
        let mount_namespace = fs::read_link(dir.join("ns/mnt"))?;
        let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
        let field = |name: &str, number: fn(&str) -> Option<&str>| {
            status.lines().find_map(|line| number(line.strip_prefix(name)?)?.parse().ok())
        };
        Ok(Self {
            // Effective, after real; the innermost namespace is the last.
            uid: field("Uid:", |line| line.split_whitespace().nth(1)).unwrap_or(u32::MAX),
            own_pid: field("NSpid:", |line| line.split_whitespace().last()),
            mappings: maps::parse(&read_limited(&dir.join("maps"))?),
            mount_namespace,
        })
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> u64 {
        here as *const () as u64
    }

    #[test]
    fn a_process_is_read_when_its_first_stack_is_noted() {
        let (mut spaces, mut patience) = (Spaces::new(Path::new("/proc")), Patience::default());
        let id = (std::process::id(), 1);
        spaces.note(id, &[here()], &mut patience);
        let (snapshot, mapping) = spaces.find(id, here()).unwrap();
        assert!(mapping.is_file() && snapshot.shares_mounts);
        assert_eq!(snapshot.own_pid, id.0);
        assert_eq!(spaces.blank(id), None);
        assert_eq!(spaces.find(id, 1).unwrap_err(), Blank::Ended);
    }

    #[test]
    fn one_that_is_gone_or_became_another_program_stays_blank() {
        let (mut spaces, mut patience) = (Spaces::new(Path::new("/proc")), Patience::default());
        let gone = (4_194_305, 1);
        spaces.note(gone, &[here()], &mut patience);
        assert_eq!(spaces.blank(gone), Some(Blank::Ended));
        // Its present mappings do not hold what was seen.
        let other = (std::process::id(), 2);
        spaces.note(other, &[1], &mut patience);
        assert_eq!(spaces.blank(other), Some(Blank::Ended));
        assert_eq!(spaces.blank((1, 1)), Some(Blank::TooMany));
    }
}
