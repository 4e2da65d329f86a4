//! NFS mounts, from `/proc/PID/mountinfo`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::model::{FileSystem, Mount};

/// The NFS mounts of this mount namespace.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn read(proc: &Path) -> Result<Vec<Mount>> {
    let path = proc.join("self/mountinfo");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
}

/// The NFS mounts of other mount namespaces, such as those of containers, that have at least one process. What is in this
/// one too is left out. Processes come and go meanwhile: those that cannot be read are passed over.
pub(crate) fn read_elsewhere(proc: &Path) -> Vec<Mount> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let mut seen: BTreeSet<_> = namespace(&proc.join("self")).into_iter().collect();
    let device = |mount: &Mount| (mount.dev_major, mount.dev_minor);
    let here: BTreeSet<_> = read(proc).unwrap_or_default().iter().map(device).collect();
    let mut pids: Vec<u32> = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let mut found: Vec<Mount> = Vec::new();
    for pid in pids {
        let process = proc.join(pid.to_string());
        if !namespace(&process).is_some_and(|namespace| seen.insert(namespace)) {
            continue;
        }
        let text = fs::read(process.join("mountinfo")).unwrap_or_default();
        for mount in String::from_utf8_lossy(&text).lines().filter_map(parse) {
            let is_known = |other: &Mount| device(other) == device(&mount) && other.mount_point == mount.mount_point;
            if !here.contains(&device(&mount)) && !found.iter().any(is_known) {
                found.push(Mount { namespace_pid: Some(pid), ..mount });
            }
        }
    }
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
        let process = |pid: &str, namespace: &str, mounts: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir_all(folder.join("ns")).unwrap();
            std::os::unix::fs::symlink(namespace, folder.join("ns/mnt")).unwrap();
            fs::write(folder.join("mountinfo"), mounts).unwrap();
        };
        let mount = |minor: u32, point: &str| format!("53 28 0:{minor} / {point} rw - nfs4 192.0.2.1:/e rw,vers=4.2\n");
        let here = mount(44, "/mnt/a");
        process("self", "mnt:[1]", &here);
        process("7", "mnt:[1]", &here);
        // A namespace that is a copy of this one, with a mount of its own; and another process of it.
        process("20", "mnt:[2]", &(here.clone() + &mount(45, "/data")));
        process("3", "mnt:[2]", &(here + &mount(45, "/data")));
        process("30", "mnt:[3]", &mount(46, "/data"));
        let found: Vec<_> =
            read_elsewhere(proc.path()).into_iter().map(|mount| (mount.dev_minor, mount.name())).collect();
        let name = |pid: u32| format!("/data (mount namespace of pid {pid})");
        assert_eq!(found, [(45, name(3)), (46, name(30))]);
    }

    #[test]
    fn passes_over_other_file_systems() {
        assert_eq!(parse("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"), None);
        assert_eq!(parse("22 1 8:1 / /proc/fs/nfsd rw - nfsd nfsd rw"), None);
        assert_eq!(parse("nonsense"), None);
    }
}
