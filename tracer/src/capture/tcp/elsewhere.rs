//! Other network namespaces, such as those of containers that mount NFS themselves: ways to ask each for its sockets and
//! for its transports.
//!
//! A netlink socket and a mount of sysfs belong to the namespace in which they were made (`kobj_ns_grab_current` in
//! `fs/sysfs/mount.c`). So a thread of its own goes there (`setns(2)`), makes both, and ends. The mount is attached nowhere
//! (`fsmount(2)`, 5.2 and later), and nothing of the container's files is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    ptr, thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use netlink_sys::Socket as Netlink;

use super::sock_diag;

/// More are not read at a time.
const AT_MOST: usize = 64;

/// `FSOPEN_CLOEXEC`, `FSCONFIG_CMD_CREATE` and `FSMOUNT_CLOEXEC` of `include/uapi/linux/mount.h`.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;

/// A namespace. As long as this lives, so does the namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Asks for its sockets.
    pub(super) netlink: Netlink,
    sysfs: OwnedFd,
}

impl Namespace {
    /// Makes the ways into the namespace of a process.
    fn of_process(proc: &Path, pid: u32, inode: u64) -> Result<Self> {
        let path = proc.join(pid.to_string()).join("ns/net");
        let enter = move || -> Result<Self> {
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            // The number may be another process's by now.
            ensure!(file.metadata()?.ino() == inode, "its process is gone");
            // SAFETY: the descriptor is valid. Only this thread changes its namespace, and it does nothing else.
            if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error()).context("cannot enter it (needs CAP_SYS_ADMIN)");
            }
            Ok(Self { netlink: sock_diag::open()?, sysfs: mount_sysfs().context("cannot mount sysfs")? })
        };
        let thread = thread::Builder::new().name("nfslat-netns".to_owned()).spawn(enter)?;
        thread.join().map_err(|_| anyhow!("the thread that enters it has panicked"))?
    }

    /// The root of its `/sys`. `proc`: the root of `/proc`.
    pub(super) fn sys(&self, proc: &Path) -> PathBuf {
        proc.join("self/fd").join(self.sysfs.as_raw_fd().to_string())
    }
}

/// Mounts the sysfs of the network namespace of this thread, nowhere.
fn mount_sysfs() -> io::Result<OwnedFd> {
    let descriptor = |result: libc::c_long| match i32::try_from(result) {
        // SAFETY: the kernel has just made it for this call alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the string ends with a 0 and outlives the call.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, c"sysfs".as_ptr(), FSOPEN_CLOEXEC) })?;
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the descriptor is valid, and this command takes no more arguments.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) };
    if created != 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    // SAFETY: the descriptor is valid, the other arguments are numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

/// Those that are read.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    open: BTreeMap<u64, Namespace>,
    /// All that were ever read.
    read: BTreeSet<u64>,
    /// Those that were not -> by way of which process it was tried, and why not.
    failed: BTreeMap<u64, (u32, String)>,
}

impl Namespaces {
    /// Enters those that are not read yet and leaves those that are not wanted any more, so that they may end. Returns
    /// those that are new. `wanted`: inode of a namespace -> a process in it.
    pub(super) fn keep(&mut self, proc: &Path, wanted: &BTreeMap<u64, u32>) -> BTreeSet<u64> {
        let mut new = BTreeSet::new();
        self.open.retain(|inode, _| wanted.contains_key(inode));
        for (&inode, &pid) in wanted {
            // By way of the same process it would fail again.
            if self.open.contains_key(&inode) || self.failed.get(&inode).is_some_and(|(tried, _)| *tried == pid) {
                continue;
            }
            if self.open.len() >= AT_MOST {
                // By way of none.
                self.note_failure(inode, 0, &anyhow!("no more than {AT_MOST} are read at a time"));
                continue;
            }
            match Namespace::of_process(proc, pid, inode) {
                Ok(namespace) => {
                    self.open.insert(inode, namespace);
                    self.read.insert(inode);
                    new.insert(inode);
                    self.failed.remove(&inode);
                }
                Err(error) => self.note_failure(inode, pid, &error),
            }
        }
        new
    }

    /// Those that are read now, by inode.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Namespace)> {
        self.open.iter().map(|(&inode, namespace)| (inode, namespace))
    }

    /// Does not read this one until it is entered again.
    pub(super) fn give_up(&mut self, inode: u64, error: &anyhow::Error) {
        if self.open.remove(&inode).is_some() {
            // By way of none: with a new socket it may go on.
            self.note_failure(inode, 0, error);
        }
    }

    fn note_failure(&mut self, inode: u64, pid: u32, error: &anyhow::Error) {
        log::debug!("network namespace {inode} of pid {pid}: {error:#}");
        self.failed.insert(inode, (pid, format!("{error:#}")));
    }

    /// Where connections are read, and where they are not and why.
    pub(super) fn describe(&self) -> String {
        let read = match self.read.len() {
            0 => "in this network namespace".to_owned(),
            1 => "in this network namespace, and in one with mounts of its own (a container)".to_owned(),
            count => format!("in this network namespace, and in {count} with mounts of their own (containers)"),
        };
        let mut failures = self.failed.values();
        match failures.next() {
            None => read,
            Some((_, reason)) => format!("{read}; not in {} more: {reason}", failures.len() + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_entered_is_told_and_not_tried_again() {
        let proc = tempfile::tempdir().unwrap();
        let mut namespaces = Namespaces::default();
        assert_eq!(namespaces.describe(), "in this network namespace");
        let wanted = BTreeMap::from([(11, 3), (12, 4)]);
        namespaces.keep(proc.path(), &wanted);
        let told = namespaces.describe();
        let expected = "in this network namespace; not in 2 more: cannot open ";
        assert!(told.starts_with(expected) && told.contains("3/ns/net"), "{told}");
        // It is there now, but only another process may lead to it; and that one leads elsewhere.
        for pid in ["3", "5"] {
            std::fs::create_dir_all(proc.path().join(pid).join("ns")).unwrap();
            std::fs::write(proc.path().join(pid).join("ns/net"), "").unwrap();
        }
        namespaces.keep(proc.path(), &wanted);
        assert_eq!(namespaces.describe(), told);
        namespaces.keep(proc.path(), &BTreeMap::from([(11, 5)]));
        assert!(namespaces.describe().ends_with("not in 2 more: its process is gone"), "{}", namespaces.describe());
        assert_eq!(namespaces.iter().count(), 0);
    }
}
