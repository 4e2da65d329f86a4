//! Opening the file behind a mapping, without touching a file system that may not answer.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    file_systems::{FileSystems, Place},
    maps::Mapping,
    spaces::Snapshot,
};

/// Ways to a mapped file, the surest first.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// Through the mapping itself: cannot be another file.
    map_file: PathBuf,
    /// By its path, in the process's tree or, if it sees the same, in our own.
    paths: Vec<PathBuf>,
    inode: u64,
}

impl Ways {
    /// To the file of a mapping; `None` if opening it may have to wait for a server.
    pub(super) fn to(proc: &Path, pid: u32, snapshot: &Snapshot, mapping: &Mapping) -> Option<Self> {
        if snapshot.file_systems.of_device(mapping.device) != Place::Local {
            return None;
        }
        let dir = proc.join(pid.to_string());
        let mut paths = Vec::new();
        if let Ok(inner) = Path::new(&mapping.path).strip_prefix("/") {
            paths.push(dir.join("root").join(inner));
            if snapshot.shares_mounts {
                paths.push(PathBuf::from(&mapping.path));
            }
        }
        Some(Self {
            map_file: dir.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end)),
            paths,
            inode: mapping.inode,
        })
    }

    /// Opens the file. May take as long as its disk does.
    ///
    /// # Errors
    /// If it is gone, or another one by now, or no regular file.
    pub(super) fn open(&self) -> Result<File> {
        if let Ok(handle) = Handle::on(&self.map_file, FOLLOW) {
            return handle.open();
        }
        for path in &self.paths {
            let Ok(handle) = Handle::on(path, FOLLOW) else { continue };
            ensure!(handle.inode == self.inode, "the file is another one by now");
            return handle.open();
        }
        bail!("the file is gone")
    }
}

/// Opens the file that a process writes for profilers; `file_systems` are those that it sees.
///
/// # Errors
/// If there is none, if it is not the process's own, or if it may have to be waited for.
pub(super) fn open_perf_map(path: &Path, uid: u32, file_systems: &FileSystems, max_bytes: u64) -> Result<File> {
    // A link in /tmp could lead to any file that this process may read.
    let handle = Handle::on(path, libc::O_NOFOLLOW)?;
    ensure!(file_systems.of_mount(handle.mount_id()?) == Place::Local, "it is not on a local file system");
    ensure!(handle.uid == uid || handle.uid == 0, "it belongs to another user");
    ensure!(handle.bytes <= max_bytes, "it is too long");
    handle.open()
}

/// Links are followed: `map_files` is made of them. The checks are made on what they lead to.
const FOLLOW: libc::c_int = 0;

/// A file that was found, but not opened: opening a device or a queue would do something.
struct Handle {
    fd: OwnedFd,
    inode: u64,
    uid: u32,
    bytes: u64,
    regular: bool,
}

impl Handle {
    fn on(path: &Path, links: libc::c_int) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path ends with a 0.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC | links) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let file = unsafe { File::from_raw_fd(fd) };
        let metadata = file.metadata()?;
        Ok(Self {
            inode: metadata.ino(),
            uid: metadata.uid(),
            bytes: metadata.len(),
            regular: metadata.is_file(),
            fd: file.into(),
        })
    }

    fn open(&self) -> Result<File> {
        ensure!(self.regular, "it is no regular file");
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        File::open(path).context("it cannot be opened")
    }

    /// The mount it is on (`statx(2)`, 5.8 and later).
    fn mount_id(&self) -> Result<u64> {
        // SAFETY: all fields are integers.
        let mut found: libc::statx = unsafe { std::mem::zeroed() };
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        // SAFETY: the descriptor is open, the path empty, and the result has the size it should.
        let result =
            unsafe { libc::statx(self.fd.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_MNT_ID, &raw mut found) };
        ensure!(result == 0 && found.stx_mask & libc::STATX_MNT_ID != 0, "its mount is not known");
        Ok(found.stx_mnt_id)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, sync::Arc};

    use super::*;

    fn snapshot(mountinfo: &[u8]) -> Snapshot {
        Snapshot {
            mappings: Vec::new(),
            file_systems: Arc::new(FileSystems::parse(mountinfo)),
            shares_mounts: true,
            uid: 0,
            own_pid: 1,
        }
    }

    fn mapping(path: &Path, inode: u64, device: (u32, u32)) -> Mapping {
        Mapping { start: 0x1000, end: 0x2000, offset: 0, device, inode, path: path.as_os_str().to_owned() }
    }

    #[test]
    fn a_file_of_a_server_is_not_opened() {
        let mounts = snapshot(b"40 22 0:44 / /mnt rw - nfs4 server:/ rw\n");
        let proc = Path::new("/proc");
        assert!(Ways::to(proc, 1, &mounts, &mapping(Path::new("/mnt/x"), 5, (0, 44))).is_none());
        assert!(Ways::to(proc, 1, &mounts, &mapping(Path::new("/mnt/x"), 5, (0, 45))).is_none());
        assert!(Ways::to(proc, 1, &mounts, &mapping(Path::new("/mnt/x"), 5, (8, 1))).is_some());
    }

    #[test]
    fn a_file_is_opened_only_if_it_is_the_one_that_was_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "x").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let empty = tempfile::tempdir().unwrap();
        let way = |inode| Ways::to(empty.path(), 1, &snapshot(b""), &mapping(&path, inode, (8, 1))).unwrap();
        assert!(way(inode).open().is_ok());
        assert!(way(inode + 1).open().unwrap_err().to_string().contains("another"));
        fs::remove_file(&path).unwrap();
        assert!(way(inode).open().unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn devices_are_not_opened() {
        let null = Path::new("/dev/null");
        let inode = fs::metadata(null).unwrap().ino();
        let empty = tempfile::tempdir().unwrap();
        let way = Ways::to(empty.path(), 1, &snapshot(b""), &mapping(null, inode, (8, 1))).unwrap();
        assert!(way.open().unwrap_err().to_string().contains("regular"));
    }

    #[test]
    fn a_perf_map_must_be_local_and_of_the_same_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf-1.map");
        fs::write(&path, "1000 10 x\n").unwrap();
        let uid = fs::metadata(&path).unwrap().uid();
        let mounts = FileSystems::parse(&fs::read("/proc/self/mountinfo").unwrap());
        assert!(open_perf_map(&path, uid, &mounts, 100).is_ok());
        assert!(open_perf_map(&path, uid, &mounts, 3).is_err());
        assert!(open_perf_map(&path, uid, &FileSystems::default(), 100).is_err());
        assert!(uid != 0 || open_perf_map(&path, 12345, &mounts, 100).is_ok(), "root may write for others");
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(open_perf_map(&link, uid, &mounts, 100).is_err());
    }
}
