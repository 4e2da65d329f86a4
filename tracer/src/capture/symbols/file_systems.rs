//! Which file systems may keep a reader waiting for a server, told without touching them.

use std::collections::HashMap;

/// What opening a file on a file system means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is on this machine.
    Local,
    /// A server or another program has to answer.
    Remote,
    /// Nothing says which.
    Unknown,
}

/// The file systems of a mount namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct FileSystems {
    by_device: HashMap<(u32, u32), Place>,
    by_mount_id: HashMap<u64, Place>,
}

impl FileSystems {
    /// From the text of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).
    pub(super) fn parse(mountinfo: &[u8]) -> Self {
        let mut found = Self::default();
        for line in String::from_utf8_lossy(mountinfo).lines() {
            let Some((mount_id, device, place)) = parse_line(line) else { continue };
            found.by_mount_id.insert(mount_id, place);
            found.by_device.insert(device, place);
        }
        found
    }

    /// Adds a file system that is mounted nowhere and is on this machine.
    pub(super) fn add_local(&mut self, device: (u32, u32)) {
        self.by_device.insert(device, Place::Local);
    }

    /// Where a device is. Numbers below major 1 are given out to file systems without a disk, so
    /// they say nothing by themselves.
    pub(super) fn of_device(&self, device: (u32, u32)) -> Place {
        match self.by_device.get(&device) {
            Some(place) => *place,
            None if device.0 != 0 => Place::Local,
            None => Place::Unknown,
        }
    }

    /// Where a mount is.
    pub(super) fn of_mount(&self, mount_id: u64) -> Place {
        self.by_mount_id.get(&mount_id).copied().unwrap_or(Place::Unknown)
    }
}

fn parse_line(line: &str) -> Option<(u64, (u32, u32), Place)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let mount_id = left.next()?.parse().ok()?;
    let (major, minor) = left.nth(1)?.split_once(':')?;
    let place = if is_remote(right.split(' ').next()?) { Place::Remote } else { Place::Local };
    Some((mount_id, (major.parse().ok()?, minor.parse().ok()?), place))
}

/// True for a file system whose reads wait for a server or for a program.
fn is_remote(fs_type: &str) -> bool {
    const REMOTE: [&str; 16] = [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "ceph",
        "9p",
        "afs",
        "coda",
        "lustre",
        "gpfs",
        "beegfs",
        "glusterfs",
        "orangefs",
        "pvfs2",
    ];
    REMOTE.contains(&fs_type) || fs_type.starts_with("fuse")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:44 / /mnt/a\\040b rw shared:3 master:2 - nfs4 server:/export rw,vers=4.2
41 22 0:45 / /mnt/f rw - fuse.sshfs host:/ rw
42 22 0:46 / /tmp rw - tmpfs tmpfs rw
nonsense
";

    #[test]
    fn remote_file_systems_are_told_by_their_device() {
        let found = FileSystems::parse(MOUNTINFO);
        assert_eq!(found.of_device((0, 44)), Place::Remote);
        assert_eq!(found.of_device((0, 45)), Place::Remote);
        assert_eq!(found.of_device((0, 46)), Place::Local);
        assert_eq!(found.of_device((254, 1)), Place::Local);
        assert_eq!(found.of_mount(40), Place::Remote);
        assert_eq!(found.of_mount(42), Place::Local);
    }

    #[test]
    fn without_a_disk_and_unheard_of_is_not_taken_for_local() {
        let found = FileSystems::parse(MOUNTINFO);
        assert_eq!(found.of_device((0, 99)), Place::Unknown);
        assert_eq!(found.of_device((8, 1)), Place::Local);
        assert_eq!(found.of_mount(7), Place::Unknown);
    }
}
