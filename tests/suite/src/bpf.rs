//! The kernel's BPF objects: whether any were made, and whether any stayed behind.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result};

/// Commands and constants of the `bpf` system call, from `linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const MAP_TYPE_ARRAY: u32 = 2;

/// One object of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A program.
    Program(u32),
    /// A map.
    Map(u32),
    /// A link of a program to a hook.
    Link(u32),
}

/// The first words of the call's argument; every command used here needs no more.
type Attributes = [u32; 16];

fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the given number of bytes, and writes none for these commands.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of::<Attributes>()) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor was just opened and belongs to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the kernel says of each descriptor of a process.
fn descriptors_of(pid: u32) -> Result<Vec<String>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
    // A descriptor may be closed meanwhile.
    entries.map(|entry| Ok(fs::read_to_string(entry?.path()).unwrap_or_default())).collect()
}

/// The objects that a process holds.
pub fn held_by(pid: u32) -> Result<BTreeSet<Object>> {
    Ok(descriptors_of(pid)?.iter().flat_map(|text| text.lines()).filter_map(object_in).collect())
}

fn object_in(line: &str) -> Option<Object> {
    let (name, value) = line.split_once(':')?;
    let id = value.trim().parse().ok()?;
    match name {
        "prog_id" => Some(Object::Program(id)),
        "map_id" => Some(Object::Map(id)),
        "link_id" => Some(Object::Link(id)),
        _ => None,
    }
}

/// What the verifier spent on each program that a process holds, in instructions; empty before 5.16, which does not tell
/// (`bpf_prog_show_fdinfo`, `kernel/bpf/syscall.c`).
pub fn verified_instructions(pid: u32) -> Result<Vec<u64>> {
    let spent = |line: &str| line.strip_prefix("verified_insns:")?.trim().parse().ok();
    Ok(descriptors_of(pid)?.iter().flat_map(|text| text.lines()).filter_map(spent).collect())
}

/// Whether the kernel still has an object.
#[must_use]
pub fn exists(object: Object) -> bool {
    let (command, id) = match object {
        Object::Program(id) => (PROG_GET_FD_BY_ID, id),
        Object::Map(id) => (MAP_GET_FD_BY_ID, id),
        Object::Link(id) => (LINK_GET_FD_BY_ID, id),
    };
    let mut attributes = Attributes::default();
    attributes[0] = id;
    bpf(command, &attributes).is_ok()
}

/// Makes a map and returns its number. The kernel counts up, so two such numbers in a row say that
/// nobody made a map in between; and nobody attaches a probe without a map to write to.
pub fn next_map_number() -> Result<u32> {
    let mut attributes = Attributes::default();
    // Type, size of a key, size of a value, number of entries.
    attributes[..4].copy_from_slice(&[MAP_TYPE_ARRAY, 4, 4, 1]);
    let map = bpf(MAP_CREATE, &attributes).context("making a BPF map")?;
    let path = format!("/proc/self/fdinfo/{}", map.as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let number = text.lines().find_map(|line| match object_in(line) {
        Some(Object::Map(id)) => Some(id),
        _ => None,
    });
    number.with_context(|| format!("{path} names no map"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_recognised_in_fdinfo() {
        assert_eq!(object_in("prog_id:\t12"), Some(Object::Program(12)));
        assert_eq!(object_in("map_id:\t7"), Some(Object::Map(7)));
        assert_eq!(object_in("link_id:\t9"), Some(Object::Link(9)));
        assert_eq!(object_in("pos:\t0"), None);
    }
}
