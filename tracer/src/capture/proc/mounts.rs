//! NFS mounts, from `/proc/PID/mountinfo`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::net_namespace;
use crate::model::{FileSystem, Mount};

/// The NFS mounts of this mount namespace.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn read(proc: &Path) -> Result<Vec<Mount>> {
    let own = proc.join("self");
    let path = own.join("mountinfo");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let net_namespace = net_namespace::of(&own);
    let mounts = String::from_utf8_lossy(&text);
    Ok(mounts.lines().filter_map(parse).map(|mount| Mount { net_namespace, ..mount }).collect())
}

/// What is in other mount namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elsewhere {
    /// Their NFS mounts.
    pub(crate) mounts: Vec<Mount>,
    /// Network namespace (inode) of their processes, other than this one -> one of these processes.
    pub(crate) net_namespaces: BTreeMap<u64, u32>,
}

/// A mount namespace.
struct MountNamespace {
    /// The first of its processes.
    pid: u32,
    /// Network namespace (inode) of its processes -> the first of them.
    nets: BTreeMap<u64, u32>,
}

/// The NFS mounts of other mount namespaces, such as those of containers, that have at least one process. What is in this
/// one too is left out. Processes come and go meanwhile: those that cannot be read are passed over.
pub(crate) fn read_elsewhere(proc: &Path) -> Elsewhere {
    let device = |mount: &Mount| (mount.dev_major, mount.dev_minor);
    let here: BTreeSet<_> = read(proc).unwrap_or_default().iter().map(device).collect();
    let own_net = net_namespace::of(&proc.join("self"));
    let mut found = Elsewhere::default();
    for MountNamespace { pid, nets } in other_mount_namespaces(proc) {
        let text = fs::read(proc.join(pid.to_string()).join("mountinfo")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut mounts = text.lines().filter_map(parse).filter(|mount| !here.contains(&device(mount))).peekable();
        if mounts.peek().is_some() {
            found.net_namespaces.extend(nets.iter().filter(|(net, _)| Some(**net) != own_net));
        }
        let only_net = nets.keys().next().copied().filter(|_| nets.len() == 1);
        for mount in mounts {
            let is_known = |other: &Mount| device(other) == device(&mount) && other.mount_point == mount.mount_point;
            if !found.mounts.iter().any(is_known) {
                found.mounts.push(Mount { namespace_pid: Some(pid), net_namespace: only_net, ..mount });
            }
        }
    }
    found
}

/// Those that have processes, by the first of these.
fn other_mount_namespaces(proc: &Path) -> Vec<MountNamespace> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let own = namespace(&proc.join("self"));
    let mut pids: Vec<u32> = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let mut found: BTreeMap<PathBuf, MountNamespace> = BTreeMap::new();
    for pid in pids {
        let process = proc.join(pid.to_string());
        let Some(name) = namespace(&process).filter(|name| Some(name) != own.as_ref()) else { continue };
        let entry = found.entry(name).or_insert_with(|| MountNamespace { pid, nets: BTreeMap::new() });
        if let Some(net) = net_namespace::of(&process) {
            entry.nets.entry(net).or_insert(pid);
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|namespace| namespace.pid);
    found
}

/// The file systems of this mount namespace on the given devices; the first mount point of each.
pub(crate) fn file_systems(proc: &Path, devices: &BTreeSet<(u32, u32)>) -> Vec<FileSystem> {
    let text = fs::read(proc.join("self/mountinfo")).unwrap_or_default();
    let mut found = BTreeMap::new();
    for system in String::from_utf8_lossy(&text).lines().filter_map(parse_any) {
        if devices.contains(&system.device) {
            found.entry(system.device).or_insert(system);
        }
    }
    found.into_values().collect()
}

fn parse_any(line: &str) -> Option<FileSystem> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (major, minor) = left.next()?.split_once(':')?;
    Some(FileSystem {
        device: (major.parse().ok()?, minor.parse().ok()?),
        kind: right.split(' ').next()?.to_owned(),
        mount_point: unescape(left.nth(1)?),
    })
}

/// One line (`proc_pid_mountinfo(5)`); `None` unless it is an NFS client mount.
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let fs_type = right.next()?;
    if !matches!(fs_type, "nfs" | "nfs4") {
        return None;
    }
    let source = unescape(right.next()?);
    let options = right.next().unwrap_or_default();
    let mut left = left.split(' ').skip(2);
    let (major, minor) = left.next()?.split_once(':')?;
    let mount_point = unescape(left.nth(1)?);
    let option = |name: &str| {
        options
            .split(',')
            .find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .to_owned()
    };
    Some(Mount {
        mount_point,
        source,
        server: option("addr"),
        version: option("vers"),
        options: options.to_owned(),
        dev_major: major.parse().ok()?,
        dev_minor: minor.parse().ok()?,
        namespace_pid: None,
        net_namespace: None,
    })
}

/// Undoes the kernel's octal escapes (`\040` is a space).
pub(crate) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let octal = bytes
            .get(index + 1..index + 4)
            .filter(|_| bytes[index] == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                plain.push(byte);
                index += 4;
            }
            None => {
                plain.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn reads_an_nfs_mount() {
        let mount = parse(
            "53 28 0:44 /sub /mnt/a\\040b rw,relatime shared:1 - nfs4 192.0.2.1:/export \
             rw,vers=4.2,proto=tcp,addr=192.0.2.1",
        )
        .unwrap();
        assert_eq!(mount.mount_point, "/mnt/a b");
        assert_eq!(mount.source, "192.0.2.1:/export");
        assert_eq!(mount.version, "4.2");
        assert_eq!(mount.server, "192.0.2.1");
        assert_eq!((mount.dev_major, mount.dev_minor), (0, 44));
    }

    #[test]
    fn finds_the_mounts_of_other_namespaces_once() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, [mount_namespace, net]: [u32; 2], mounts: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir_all(folder.join("ns")).unwrap();
            symlink(format!("mnt:[{mount_namespace}]"), folder.join("ns/mnt")).unwrap();
            symlink(format!("net:[{net}]"), folder.join("ns/net")).unwrap();
            fs::write(folder.join("mountinfo"), mounts).unwrap();
        };
        let mount = |minor: u32, point: &str| format!("53 28 0:{minor} / {point} rw - nfs4 192.0.2.1:/e rw,vers=4.2\n");
        let here = mount(44, "/mnt/a");
        process("self", [1, 10], &here);
        process("7", [1, 19], &here);
        // A namespace that is a copy of this one, with a mount of its own; and another process of it.
        process("20", [2, 11], &(here.clone() + &mount(45, "/data")));
        process("3", [2, 11], &(here.clone() + &mount(45, "/data")));
        // One in which not all processes have the same network.
        process("30", [3, 12], &mount(46, "/data"));
        process("31", [3, 10], &mount(46, "/data"));
        process("32", [4, 10], &mount(47, "/data"));
        // One without a mount of its own.
        process("40", [5, 13], &here);
        let found = read_elsewhere(proc.path());
        let mounts: Vec<_> =
            found.mounts.iter().map(|mount| (mount.dev_minor, mount.name(), mount.net_namespace)).collect();
        let name = |pid: u32| format!("/data (mount namespace of pid {pid})");
        assert_eq!(mounts, [(45, name(3), Some(11)), (46, name(30), None), (47, name(32), Some(10))]);
        assert_eq!(found.net_namespaces, BTreeMap::from([(11, 3), (12, 30)]));
        assert_eq!(read(proc.path()).unwrap()[0].net_namespace, Some(10));
    }

    #[test]
    fn passes_over_other_file_systems() {
        assert_eq!(parse("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"), None);
        assert_eq!(parse("22 1 8:1 / /proc/fs/nfsd rw - nfsd nfsd rw"), None);
        assert_eq!(parse("nonsense"), None);
    }
}
