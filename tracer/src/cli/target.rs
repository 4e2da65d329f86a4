//! Checking what is to be traced, before any probe is attached.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{capture, model::Mount};

/// Fails unless the process exists.
///
/// # Errors
/// Names the process and the remedy.
pub(super) fn check_pid(pid: u32) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("no process {pid}: list the running ones with `ps -e`"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse::<u32>().ok());
    match tgid {
        Some(tgid) if tgid != pid => {
            bail!("{pid} is a thread of process {tgid}: use -p {tgid}, which traces all its threads")
        }
        _ => Ok(()),
    }
}

/// Fails if no thread can have this name.
///
/// # Errors
/// Names the limit and the remedy.
pub(super) fn check_comm(comm: &str) -> Result<()> {
    ensure!(!comm.is_empty(), "an empty thread name matches nothing: give --comm a name");
    let cut = comm.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= 15).last();
    ensure!(
        comm.len() <= 15,
        "the kernel keeps 15 bytes of a thread's name, and '{comm}' has {}: use --comm '{}'",
        comm.len(),
        &comm[..cut.unwrap_or(0)]
    );
    Ok(())
}

/// Id and depth of a cgroup (version 2), given as an absolute path or relative to the root of the
/// cgroup file system.
///
/// # Errors
/// Names the path and the remedy.
pub(super) fn find_cgroup(path: &str) -> Result<(u64, u32)> {
    let root = cgroup_root(Path::new("/proc/self/mountinfo"))?;
    let given = Path::new(path);
    let full = if given.starts_with(&root) {
        given.to_path_buf()
    } else {
        root.join(given.strip_prefix("/").unwrap_or(given))
    };
    let full = fs::canonicalize(&full).with_context(|| {
        format!("no cgroup {}: list them with `systemd-cgls` or `find {}`", full.display(), root.display())
    })?;
    let inside = full
        .strip_prefix(&root)
        .with_context(|| format!("{} is not a cgroup: it is not below {}", full.display(), root.display()))?;
    let metadata = fs::metadata(&full).with_context(|| format!("cannot read {}", full.display()))?;
    ensure!(metadata.is_dir(), "{} is not a cgroup, but a file in one", full.display());
    // The inode number of a cgroup's folder is its id (`kernfs_node.id`, 64-bit systems).
    Ok((metadata.ino(), inside.components().count() as u32))
}

fn cgroup_root(mountinfo: &Path) -> Result<PathBuf> {
    fs::read_to_string(mountinfo)
        .with_context(|| format!("cannot read {}", mountinfo.display()))?
        .lines()
        .find(|line| line.split(" - ").nth(1).is_some_and(|right| right.starts_with("cgroup2 ")))
        .and_then(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .context("no cgroup version 2 file system is mounted: --cgroup needs one")
}

/// The NFS mount that a path names. Nothing on the mount is opened.
///
/// # Errors
/// Names the path and lists the mounts there are.
pub(super) fn find_mount(path: &str) -> Result<Mount> {
    let mounts = capture::nfs_mounts()?;
    let wanted = Path::new(path).components().collect::<PathBuf>();
    if let Some(mount) = mounts.iter().find(|mount| Path::new(&mount.mount_point) == wanted) {
        return Ok(mount.clone());
    }
    let known: Vec<&str> = mounts.iter().map(|mount| mount.mount_point.as_str()).collect();
    if known.is_empty() {
        bail!("{path} is not an NFS mount: this machine has none");
    }
    bail!("{path} is not the mount point of an NFS mount: give one of {}", known.join(", "))
}

/// Fails unless the command can be found.
///
/// # Errors
/// Names the command.
pub(super) fn check_command(program: &str) -> Result<()> {
    let found = if program.contains('/') {
        Path::new(program).exists()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(OsStr::new(program)).exists())
    };
    ensure!(found, "no command {program}: give its path, or put its folder on PATH");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_exist_is_named() {
        assert!(check_pid(4_194_305).unwrap_err().to_string().contains("no process 4194305"));
        assert!(check_pid(std::process::id()).is_ok());
    }

    #[test]
    fn a_name_too_long_is_cut_for_the_user() {
        let message = check_comm("a-very-long-thread-name").unwrap_err().to_string();
        assert!(message.contains("--comm 'a-very-long-thr'"), "{message}");
        assert!(check_comm("exactly-15-byte").is_ok());
        assert!(check_comm("ééééééééé").unwrap_err().to_string().contains("'ééééééé'"));
    }

    #[test]
    fn a_command_that_does_not_exist_is_named() {
        assert!(check_command("no-such-command-here").is_err());
        assert!(check_command("sh").is_ok());
        assert!(check_command("/bin/sh").is_ok());
    }
}
