//! Whether an executable may be opened, decided without touching it: by the process's own list of
//! mounts and the path that the kernel prints. Asking the filesystem itself (`stat`, `statfs`,
//! `open` with `O_PATH`) would wait for a server that hangs.

use crate::capture::proc::mounts::unescape;

/// Filesystems that answer from this machine's own memory and disks. One that is not known is not
/// opened.
const LOCAL: [&str; 23] = [
    "bcachefs", "btrfs", "cramfs", "devtmpfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "iso9660",
    "jfs", "msdos", "ntfs3", "overlay", "ramfs", "rootfs", "squashfs", "tmpfs", "vfat", "xfs", "zfs",
];

/// The filesystem an executable is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its type; empty if not known.
    pub(super) filesystem: String,
    /// Why the executable must not be opened; empty if it may be.
    pub(super) refusal: String,
}

/// Finds the filesystem of a path: the mount with the longest mount point that leads to it. Of the
/// mounts listed behind that one some may cover it, so they have to be local, too.
///
/// `root` is the process's root as it links to it: mount points are relative to that, and the path
/// is not.
pub(super) fn find(mountinfo: &str, root: &str, path: &str) -> Place {
    let refuse = |filesystem: &str, refusal: String| Place { filesystem: filesystem.to_owned(), refusal };
    if root != "/" {
        return refuse("", "not opened: the process runs in a root of its own (chroot)".to_owned());
    }
    if !path.starts_with('/') {
        return refuse("", "not opened: no mount of the process leads to it".to_owned());
    }
    let leading: Vec<(String, &str)> =
        mountinfo.lines().filter_map(parse).filter(|(point, _)| leads_to(point, path)).collect();
    let deepest = leading.iter().map(|(point, _)| point.len()).max().unwrap_or(0);
    let Some(first) = leading.iter().rposition(|(point, _)| point.len() == deepest) else {
        return refuse("", "not opened: no mount of the process leads to it".to_owned());
    };
    let filesystem = leading[first].1;
    match leading[first..].iter().find(|(_, filesystem)| !LOCAL.contains(filesystem)) {
        Some((_, foreign)) => refuse(foreign, format!("executable is on {foreign}: not opened")),
        None => refuse(filesystem, String::new()),
    }
}

/// Mount point and filesystem type (`proc_pid_mountinfo(5)`). A type may have a part of its own
/// behind a dot (`fuse.sshfs`).
fn parse(line: &str) -> Option<(String, &str)> {
    let (left, right) = line.split_once(" - ")?;
    Some((unescape(left.split(' ').nth(4)?), right.split(' ').next()?))
}

fn leads_to(point: &str, path: &str) -> bool {
    point == "/" || path.strip_prefix(point).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:5 / /dev rw - devtmpfs udev rw
53 22 0:44 / /mnt/nfs rw,relatime shared:1 - nfs4 192.0.2.1:/export rw,vers=4.2
54 53 0:45 / /mnt/nfs/local rw - tmpfs tmpfs rw
55 22 0:46 / /mnt/two\\040words rw - fuse.sshfs host: rw
56 22 0:47 / /opt rw - nfs 192.0.2.1:/opt rw
57 56 0:48 / /opt rw - xfs /dev/vdb rw
58 22 0:49 / /srv/deep/er rw - ext4 /dev/vdc rw
59 22 0:50 / /srv rw - ceph mon:/ rw
";

    fn place(path: &str) -> (String, String) {
        let place = find(MOUNTS, "/", path);
        (place.filesystem, place.refusal)
    }

    fn refused(filesystem: &str) -> (String, String) {
        (filesystem.into(), format!("executable is on {filesystem}: not opened"))
    }

    #[test]
    fn the_longest_mount_point_decides() {
        assert_eq!(place("/usr/bin/x"), ("ext4".into(), String::new()));
        assert_eq!(place("/mnt/nfs/bin/x (deleted)"), refused("nfs4"));
        assert_eq!(place("/mnt/nfs/local/x"), ("tmpfs".into(), String::new()));
        assert_eq!(place("/mnt/nfsx/x"), ("ext4".into(), String::new()));
        assert_eq!(place("/mnt/two words/x"), refused("fuse.sshfs"));
    }

    #[test]
    fn of_two_mounts_at_one_point_the_later_decides() {
        assert_eq!(place("/opt/x"), ("xfs".into(), String::new()));
    }

    #[test]
    fn a_later_mount_further_up_may_cover_it() {
        assert_eq!(place("/srv/deep/er/x"), refused("ceph"));
    }

    #[test]
    fn what_cannot_be_told_is_not_opened() {
        assert!(!find(MOUNTS, "/srv/jail", "/srv/jail/bin/x").refusal.is_empty());
        assert!(!find("", "/", "/bin/x").refusal.is_empty());
        assert!(!find("22 1 0:9 / / rw - newfs dev rw\n", "/", "/bin/x").refusal.is_empty());
        assert!(!find(MOUNTS, "/", "(unreachable)/bin/x").refusal.is_empty());
    }
}
