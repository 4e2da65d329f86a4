//! Who a process really is: its executable, the container it runs in.
//!
//! Nothing here may wait for what is measured. Of `/proc/PID` only files are read that the kernel
//! answers without the process's mmap_lock: the links `exe`, `root` and `ns/pid`, and `mountinfo`
//! and `cgroup`. So `environ` (`LD_PRELOAD`), `cmdline` and `maps` (libraries mapped) are left out,
//! and so are newer ways to read mappings: they lock, at least now and then. What an executable
//! links is told by the file itself. It is opened only where [`place`] finds that its filesystem is
//! on this machine; and since a local disk may hang as well, a thread of its own opens and reads it, and
//! the end of a run waits for that thread no longer than [`PATIENCE`].

mod container;
mod elf;
mod go;
mod place;
mod scan;
mod signs;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::model::{Executable, Identity};

/// How long the end of a run waits for executables that are still being read.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the kernel puts behind the path of a file that is no longer there.
const DELETED: &str = " (deleted)";

/// Processes that are being looked at.
pub(super) struct Identities {
    proc: PathBuf,
    reader: Option<Reader>,
    /// Process ids, by what the asker calls the process.
    asked: HashMap<u32, u32>,
}

/// The thread that reads.
struct Reader {
    requests: Sender<Request>,
    answers: Receiver<(u32, Identity)>,
}

/// What the thread is to do.
enum Request {
    /// Note what surrounds a process, and open its executable.
    Look { process: u32, pid: u32 },
    /// Read the executable and answer.
    Read { process: u32 },
}

impl Identities {
    pub(super) fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), reader: None, asked: HashMap::new() }
    }

    /// True if the process was looked at before.
    pub(super) fn has(&self, process: u32) -> bool {
        self.asked.contains_key(&process)
    }

    /// Number of processes looked at.
    pub(super) fn count(&self) -> usize {
        self.asked.len()
    }

    /// Has a process looked at while it is there. Returns at once. The executable is opened and not
    /// read: reading from a disk that is being measured would add to what is measured.
    pub(super) fn look(&mut self, process: u32, pid: u32) {
        if self.reader.is_none() {
            self.reader = Reader::start(&self.proc).inspect_err(|error| log::debug!("no thread: {error}")).ok();
        }
        self.send(Request::Look { process, pid });
        self.asked.insert(process, pid);
    }

    /// What is found out of these processes, by what the asker calls them. Call it when the window
    /// is closed.
    pub(super) fn finish(self, processes: &[u32]) -> HashMap<u32, Identity> {
        self.finish_within(PATIENCE, processes)
    }

    fn finish_within(self, patience: Duration, processes: &[u32]) -> HashMap<u32, Identity> {
        let deadline = Instant::now() + patience;
        for &process in processes {
            self.send(Request::Read { process });
        }
        let mut found = HashMap::new();
        while let Some(reader) = self.reader.as_ref().filter(|_| found.len() < processes.len()) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((process, identity)) = reader.answers.recv_timeout(left) else { break };
            found.insert(process, identity);
        }
        for &process in processes {
            found.entry(process).or_insert_with(|| Identity {
                not_read: "the files of an executable did not answer in time".to_owned(),
                ..Identity::default()
            });
        }
        found
    }

    fn send(&self, request: Request) {
        if let Some(reader) = &self.reader {
            // A reader that is gone answers nothing, which is seen at the end.
            let _ = reader.requests.send(request);
        }
    }
}

impl Reader {
    fn start(proc: &Path) -> io::Result<Self> {
        let (requests, wanted) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let proc = proc.to_owned();
        thread::Builder::new().name("nfslat-identity".to_owned()).spawn(move || {
            let mut looked = HashMap::new();
            let mut known = Known::default();
            for request in wanted {
                match request {
                    Request::Look { process, pid } => {
                        looked.insert(process, look(&proc, pid));
                    }
                    Request::Read { process } => {
                        let Some((mut identity, file)) = looked.remove(&process) else { continue };
                        if let Some(file) = file {
                            read(&file, &mut identity, &mut known);
                        }
                        if answer.send((process, identity)).is_err() {
                            break;
                        }
                    }
                }
            }
        })?;
        Ok(Self { requests, answers })
    }
}

/// Executables read before, by device, inode, size and time of change: workers share theirs.
type Known = HashMap<(u64, u64, u64, i64), Result<Executable, String>>;

/// What surrounds a process, and its executable if it may be opened.
fn look(proc: &Path, pid: u32) -> (Identity, Option<File>) {
    let dir = proc.join(pid.to_string());
    let link = |name: &str| fs::read_link(dir.join(name)).map(|path| path.to_string_lossy().into_owned());
    let text = |name: &str| fs::read(dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let exe = match link("exe") {
        Ok(exe) => exe,
        Err(error) => return (Identity { not_read: why_not(&dir, &error), ..Identity::default() }, None),
    };
    let cgroups = text("cgroup").unwrap_or_default();
    let own_namespace = fs::read_link(proc.join("self/ns/pid")).ok().map(|path| path.to_string_lossy().into_owned());
    let mut identity = Identity {
        deleted: exe.ends_with(DELETED),
        path: exe.strip_suffix(DELETED).unwrap_or(&exe).to_owned(),
        container: container::container(&cgroups),
        unit: container::unit(&cgroups),
        other_pid_namespace: own_namespace.zip(link("ns/pid").ok()).map(|(own, its)| own != its),
        ..Identity::default()
    };
    let place = match (text("mountinfo"), link("root")) {
        (Ok(mounts), Ok(root)) => place::find(&mounts, &root, &exe),
        (Err(error), _) | (_, Err(error)) => {
            identity.not_read = why_not(&dir, &error);
            return (identity, None);
        }
    };
    identity.filesystem = place.filesystem;
    identity.not_read = place.refusal;
    if !identity.not_read.is_empty() {
        return (identity, None);
    }
    match open(&dir.join("exe")) {
        Ok(file) => (identity, Some(file)),
        Err(error) => {
            identity.not_read = why_not(&dir, &error);
            (identity, None)
        }
    }
}

fn read(file: &File, identity: &mut Identity, known: &mut Known) {
    match inspect(file, known) {
        Ok(executable) => identity.executable = Some(executable),
        Err(reason) => identity.not_read = format!("executable not understood: {reason}"),
    }
}

fn why_not(dir: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if dir.exists() => "its first thread has ended".to_owned(),
        io::ErrorKind::NotFound => "gone before it could be read".to_owned(),
        _ if error.raw_os_error() == Some(libc::ESRCH) => "gone before it could be read".to_owned(),
        _ => format!("executable not opened: {error}"),
    }
}

/// Opens without a change of the access time, where the kernel allows that.
fn open(path: &Path) -> io::Result<File> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    open(flags | libc::O_NOATIME).or_else(|_| open(flags))
}

fn inspect(file: &File, known: &mut Known) -> Result<Executable, String> {
    let meta = file.metadata().map_err(|error| error.to_string())?;
    known.entry((meta.dev(), meta.ino(), meta.size(), meta.ctime_nsec())).or_insert_with(|| elf::inspect(file)).clone()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::Made;

    /// A `/proc` with one process.
    fn proc_with(pid: u32, mounts: &str, exe: &Path) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, namespace) in [(pid.to_string(), "pid:[1]"), ("self".to_owned(), "pid:[2]")] {
            let dir = proc.path().join(pid);
            fs::create_dir_all(dir.join("ns")).unwrap();
            symlink(namespace, dir.join("ns/pid")).unwrap();
            symlink(exe, dir.join("exe")).unwrap();
            symlink("/", dir.join("root")).unwrap();
            fs::write(dir.join("mountinfo"), mounts).unwrap();
            fs::write(dir.join("cgroup"), "0::/system.slice/x.service\n").unwrap();
        }
        proc
    }

    fn look(proc: &Path, pid: u32) -> Identity {
        let mut identities = Identities::new(proc);
        identities.look(7, pid);
        // On a machine that is busy with other tests, reading may take long.
        identities.finish_within(Duration::from_secs(60), &[7]).remove(&7).unwrap()
    }

    #[test]
    fn reads_an_executable_on_a_local_filesystem() {
        let proc = proc_with(5, "1 0 0:1 / / rw - ext4 d rw\n", &std::env::current_exe().unwrap());
        let identity = look(proc.path(), 5);
        assert!(identity.executable.unwrap().markers.iter().any(|marker| marker.tells == Made::Rust));
        assert_eq!((identity.filesystem.as_str(), identity.unit.as_str()), ("ext4", "x.service"));
        assert_eq!(identity.other_pid_namespace, Some(true));
        assert!(!identity.deleted);
        assert_eq!(identity.not_read, "");
    }

    #[test]
    fn never_opens_one_on_nfs() {
        let proc = proc_with(5, "1 0 0:1 / / rw - nfs4 d rw\n", &std::env::current_exe().unwrap());
        let identity = look(proc.path(), 5);
        assert_eq!(identity.executable, None);
        assert_eq!(identity.not_read, "executable is on nfs4: not opened");
        assert!(!identity.path.is_empty());
    }

    #[test]
    fn says_what_is_gone() {
        let proc = proc_with(5, "", Path::new("/x"));
        assert_eq!(look(proc.path(), 6).not_read, "gone before it could be read");
        fs::remove_file(proc.path().join("5/exe")).unwrap();
        assert_eq!(look(proc.path(), 5).not_read, "its first thread has ended");
    }

    #[test]
    fn a_reader_that_hangs_holds_up_nobody() {
        let (requests, _unread) = mpsc::channel();
        let (_silent, answers) = mpsc::channel();
        let mut identities = Identities::new(Path::new("/nowhere"));
        identities.reader = Some(Reader { requests, answers });
        identities.look(1, 2);
        let begun = Instant::now();
        assert!(identities.finish_within(Duration::from_millis(100), &[1])[&1].not_read.ends_with("in time"));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
