//! The kernel's BPF objects: whether any were made, whether any stayed behind, and running a program by hand.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result, bail};

/// Commands and constants of the `bpf` system call, from `linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
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

/// Runs a command and returns what it does.
///
/// # Safety
/// Addresses among the attributes must be valid for what the command does with them.
unsafe fn call(command: libc::c_long, attributes: &mut Attributes) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes the given number of bytes, and what the caller vouches for.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Puts an address among the attributes, at the place of a word.
fn put_address<T>(attributes: &mut Attributes, word: usize, address: *const T) {
    let address = address as u64;
    attributes[word] = address as u32;
    attributes[word + 1] = (address >> 32) as u32;
}

fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<OwnedFd> {
    // SAFETY: no addresses are among the attributes of the commands used here.
    let fd = unsafe { call(command, &mut { *attributes }) }?;
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

fn open(object: Object) -> io::Result<OwnedFd> {
    let (command, id) = match object {
        Object::Program(id) => (PROG_GET_FD_BY_ID, id),
        Object::Map(id) => (MAP_GET_FD_BY_ID, id),
        Object::Link(id) => (LINK_GET_FD_BY_ID, id),
    };
    let mut attributes = Attributes::default();
    attributes[0] = id;
    bpf(command, &attributes)
}

/// Whether the kernel still has an object.
#[must_use]
pub fn exists(object: Object) -> bool {
    open(object).is_ok()
}

/// The first program or map with this name that a process has loaded. The kernel keeps 15 bytes of a name.
pub fn named(pid: u32, name: &str) -> Result<OwnedFd> {
    for object in held_by(pid)? {
        // Where the name is in `struct bpf_prog_info` and `struct bpf_map_info`.
        let at = match object {
            Object::Program(_) => 64,
            Object::Map(_) => 24,
            Object::Link(_) => continue,
        };
        let file = open(object).context("opening a BPF object")?;
        let mut info = [0_u8; 80];
        let mut attributes = Attributes::default();
        attributes[..2].copy_from_slice(&[u32::try_from(file.as_raw_fd())?, 80]);
        put_address(&mut attributes, 2, info.as_mut_ptr());
        // SAFETY: the kernel writes at most the stated 80 bytes.
        unsafe { call(OBJ_GET_INFO_BY_FD, &mut attributes) }.context("asking for the name of a BPF object")?;
        let own = info[at..at + 16].split(|&byte| byte == 0).next().unwrap_or_default();
        if own == &name.as_bytes()[..name.len().min(15)] {
            return Ok(file);
        }
    }
    bail!("process {pid} has loaded no {name}")
}

/// A key of a map with keys of 8 bytes; `None` if it is empty.
pub fn any_key(map: &OwnedFd) -> Result<Option<u64>> {
    let mut key = 0_u64;
    let mut attributes = Attributes::default();
    attributes[0] = u32::try_from(map.as_raw_fd())?;
    put_address(&mut attributes, 4, &raw mut key);
    // SAFETY: no key is given, and the kernel writes one.
    match unsafe { call(MAP_GET_NEXT_KEY, &mut attributes) } {
        Ok(_) => Ok(Some(key)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error).context("looking into a BPF map"),
    }
}

/// Runs the program of a raw tracepoint once, as if its event had come with these arguments.
pub fn run(program: &OwnedFd, arguments: &[u64; 4]) -> Result<()> {
    let mut attributes = Attributes::default();
    attributes[0] = u32::try_from(program.as_raw_fd())?;
    // `ctx_size_in` and `ctx_in`.
    attributes[10] = u32::try_from(size_of_val(arguments))?;
    put_address(&mut attributes, 12, arguments.as_ptr());
    // SAFETY: the kernel reads the stated number of bytes.
    unsafe { call(PROG_TEST_RUN, &mut attributes) }.context("running a BPF program")?;
    Ok(())
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
