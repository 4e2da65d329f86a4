//! What is mapped where in the processes whose stacks were seen.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    elf,
    file_systems::FileSystems,
    maps::{self, Mapping},
};

/// Processes that are read at the same time. One that does not answer keeps its place for ever; when
/// all are taken, the others stay unread.
const MAX_READERS: usize = 8;
/// Address spaces that are looked at.
const MAX_SPACES: usize = 1_024;
/// How often one is read again because something else is mapped by now.
const MAX_READS: usize = 4;
/// Not sooner than this after the last time.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How much of a file of `/proc` is read: 65,530 mappings (`vm.max_map_count`) of ordinary length.
const MAX_BYTES: u64 = 16 << 20;
/// How much memory all that is known of processes may take.
const MAX_KEPT_BYTES: usize = 128 << 20;

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
    /// This process may not look at it.
    Refused,
    /// It did not answer in time.
    Late,
    /// There are too many, or it is too large.
    TooMany,
}

#[derive(Debug)]
struct Space {
    snapshots: Vec<Snapshot>,
    blank: Blank,
    reading: bool,
    reads: usize,
    last_read: Instant,
}

/// What a reader has found.
pub(super) struct Reading {
    id: SpaceId,
    result: io::Result<Snapshot>,
}

/// File systems by the name of the mount namespace.
type KnownMounts = Arc<Mutex<HashMap<PathBuf, Arc<FileSystems>>>>;

/// All of them.
pub(super) struct Spaces {
    proc: PathBuf,
    spaces: HashMap<SpaceId, Space>,
    /// To be read.
    queue: VecDeque<SpaceId>,
    readers: usize,
    kept_bytes: usize,
    done: Sender<Reading>,
    results: Receiver<Reading>,
    mounts: KnownMounts,
    /// The device of files in memory (`memfd_create(2)`), which programs may run from.
    memory: (u32, u32),
}

impl Spaces {
    pub(super) fn new(proc: &Path) -> Self {
        let memory = elf::file_in_memory().and_then(|file| Ok(file.metadata()?.dev())).unwrap_or_default();
        let (done, results) = mpsc::channel();
        Self {
            proc: proc.to_owned(),
            spaces: HashMap::new(),
            queue: VecDeque::new(),
            readers: 0,
            kept_bytes: 0,
            done,
            results,
            mounts: Arc::default(),
            memory: (libc::major(memory), libc::minor(memory)),
        }
    }

    /// Notes a stack: has what its process has mapped read, unless that is known already. Returns at
    /// once.
    pub(super) fn note(&mut self, id: SpaceId, frames: &[u64]) {
        while let Ok(reading) = self.results.try_recv() {
            self.keep(reading);
        }
        let now = Instant::now();
        let spaces = self.spaces.len();
        let space = match self.spaces.entry(id) {
            Entry::Occupied(space) => space.into_mut(),
            Entry::Vacant(_) if spaces >= MAX_SPACES => return,
            Entry::Vacant(new) => {
                let blank = Blank::Late;
                new.insert(Space { snapshots: Vec::new(), blank, reading: false, reads: 0, last_read: now })
            }
        };
        let known = frames.iter().all(|&frame| find(&space.snapshots, frame).is_some());
        let again =
            space.reads == 0 || (space.reads < MAX_READS && now.duration_since(space.last_read) >= READ_AGAIN_AFTER);
        if known || space.reading || !again {
            return;
        }
        (space.reading, space.reads, space.last_read) = (true, space.reads + 1, now);
        self.queue.push_back(id);
        self.start_readers();
    }

    /// Waits for the readers, at most until `end`.
    pub(super) fn settle(&mut self, end: Instant) {
        while self.readers > 0 {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(reading) = self.results.recv_timeout(left) else { return };
            self.keep(reading);
        }
    }

    fn start_readers(&mut self) {
        while self.readers < MAX_READERS {
            let Some(id) = self.queue.pop_front() else { return };
            let (proc, mounts, memory, done) = (self.proc.clone(), self.mounts.clone(), self.memory, self.done.clone());
            // Reading a process's mappings takes its mmap_lock.
            let reader = move || {
                let result = Snapshot::read(&proc, id.0, &mounts, memory);
                // Nobody may be listening any more.
                drop(done.send(Reading { id, result }));
            };
            if thread::Builder::new().name("nfslat-symbols".to_owned()).spawn(reader).is_ok() {
                self.readers += 1;
            }
        }
    }

    fn keep(&mut self, Reading { id, result }: Reading) {
        self.readers -= 1;
        if let Some(space) = self.spaces.get_mut(&id) {
            space.reading = false;
            space.blank = match result {
                // What is not found in it belongs to a program that the process no longer runs.
                Ok(snapshot) if self.kept_bytes + snapshot.bytes() <= MAX_KEPT_BYTES => {
                    self.kept_bytes += snapshot.bytes();
                    space.snapshots.push(snapshot);
                    Blank::Ended
                }
                Ok(_) => Blank::TooMany,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Blank::Refused,
                Err(_) => Blank::Ended,
            };
        }
        self.start_readers();
    }

    /// The mapping of an address, and the moment it was seen at.
    ///
    /// # Errors
    /// Why none is known.
    pub(super) fn find(&self, id: SpaceId, address: u64) -> Result<(&Snapshot, &Mapping), Blank> {
        let Some(space) = self.spaces.get(&id) else { return Err(Blank::TooMany) };
        find(&space.snapshots, address).ok_or(space.blank)
    }
}

/// The latest word on an address.
fn find(snapshots: &[Snapshot], address: u64) -> Option<(&Snapshot, &Mapping)> {
    snapshots.iter().rev().find_map(|snapshot| Some((snapshot, maps::find(&snapshot.mappings, address)?)))
}

impl Snapshot {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        self.mappings.iter().map(|mapping| size_of::<Mapping>() + mapping.path.len()).sum()
    }

    fn read(proc: &Path, pid: u32, mounts: &KnownMounts, memory: (u32, u32)) -> io::Result<Self> {
        let dir = proc.join(pid.to_string());
        let namespace = fs::read_link(dir.join("ns/mnt"))?;
        let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
        let field = |name: &str, number: fn(&str) -> Option<&str>| {
            status.lines().find_map(|line| number(line.strip_prefix(name)?)?.parse().ok())
        };
        let mappings = maps::parse(&read_limited(&dir.join("maps"))?);
        let known = mounts.lock().unwrap_or_else(PoisonError::into_inner).get(&namespace).cloned();
        let file_systems = match known {
            Some(known) => known,
            None => {
                let mut parsed = FileSystems::parse(&read_limited(&dir.join("mountinfo"))?);
                parsed.add_local(memory);
                let parsed = Arc::new(parsed);
                let mut mounts = mounts.lock().unwrap_or_else(PoisonError::into_inner);
                mounts.insert(namespace.clone(), Arc::clone(&parsed));
                parsed
            }
        };
        Ok(Self {
            mappings,
            file_systems,
            shares_mounts: fs::read_link(proc.join("self/ns/mnt")).is_ok_and(|own| own == namespace),
            // Effective, after real; the innermost namespace is the last.
            uid: field("Uid:", |line| line.split_whitespace().nth(1)).unwrap_or(u32::MAX),
            own_pid: field("NSpid:", |line| line.split_whitespace().last()).unwrap_or(pid),
        })
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn here() -> u64 {
        here as *const () as u64
    }

    fn noted(proc: &Path, id: SpaceId, frames: &[u64], limit: Duration) -> Spaces {
        let mut spaces = Spaces::new(proc);
        spaces.note(id, frames);
        spaces.settle(Instant::now() + limit);
        spaces
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_process_is_read_when_its_first_stack_is_noted() {
        let id = (std::process::id(), 1);
        let spaces = noted(Path::new("/proc"), id, &[here()], LONG);
        let (snapshot, mapping) = spaces.find(id, here()).unwrap();
        assert!(mapping.is_file() && snapshot.shares_mounts);
        assert_eq!(snapshot.own_pid, id.0);
        assert_eq!(spaces.find(id, 1).unwrap_err(), Blank::Ended);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let id = (std::process::id(), 1);
        let mut spaces = Spaces::new(Path::new("/proc"));
        spaces.kept_bytes = MAX_KEPT_BYTES;
        spaces.note(id, &[here()]);
        spaces.settle(Instant::now() + LONG);
        assert_eq!(spaces.find(id, here()).unwrap_err(), Blank::TooMany);
    }

    #[test]
    fn one_that_is_gone_or_became_another_program_stays_blank() {
        let gone = (4_194_305, 1);
        assert_eq!(noted(Path::new("/proc"), gone, &[here()], LONG).find(gone, here()).unwrap_err(), Blank::Ended);
        // Its present mappings do not hold what was seen.
        let other = (std::process::id(), 2);
        let spaces = noted(Path::new("/proc"), other, &[1], LONG);
        assert_eq!(spaces.find(other, 1).unwrap_err(), Blank::Ended);
        assert_eq!(spaces.find((1, 1), 1).unwrap_err(), Blank::TooMany);
    }

    /// A folder like `/proc` in which reading the mappings of process 1 never ends.
    pub(in super::super) fn stuck_proc() -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let dir = proc.path().join("1");
        fs::create_dir_all(dir.join("ns")).unwrap();
        std::os::unix::fs::symlink("mnt:[1]", dir.join("ns/mnt")).unwrap();
        // Opening a queue that nobody writes to waits for a writer.
        let queue = std::ffi::CString::new(dir.join("maps").to_str().unwrap()).unwrap();
        // SAFETY: the path ends with a 0.
        assert_eq!(unsafe { libc::mkfifo(queue.as_ptr(), 0o600) }, 0);
        proc
    }

    #[test]
    fn one_that_does_not_answer_is_late_and_holds_up_no_other() {
        let proc = stuck_proc();
        let mut spaces = Spaces::new(proc.path());
        spaces.note((1, 1), &[0x1000]);
        spaces.note((2, 1), &[0x1000]);
        spaces.settle(Instant::now() + Duration::from_millis(200));
        assert_eq!(spaces.find((1, 1), 0x1000).unwrap_err(), Blank::Late);
        assert_eq!(spaces.find((2, 1), 0x1000).unwrap_err(), Blank::Ended);
    }
}
