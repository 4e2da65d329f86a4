//! The executable mappings of a process, from `/proc/PID/maps`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

/// A range of addresses that a process may execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First address.
    pub(super) start: u64,
    /// First address behind it.
    pub(super) end: u64,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// Device of the file (major, minor); (0, 0) without a file.
    pub(super) device: (u32, u32),
    /// Its inode; 0 without a file.
    pub(super) inode: u64,
    /// Its path as the process sees it, or a name in brackets; empty for memory without a name. A
    /// program picks it: anything but 0 may be in it.
    pub(super) path: OsString,
}

impl Mapping {
    /// True if a file is mapped.
    pub(super) fn is_file(&self) -> bool {
        self.inode != 0 && self.path.as_encoded_bytes().starts_with(b"/")
    }
}

/// The executable mappings, in order of address. Lines that make no sense are passed over.
pub(super) fn parse(text: &[u8]) -> Vec<Mapping> {
    let mut mappings: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(parse_line).collect();
    mappings.sort_by_key(|mapping| mapping.start);
    mappings
}

/// The mapping that holds an address; `mappings` are sorted.
pub(super) fn find(mappings: &[Mapping], address: u64) -> Option<&Mapping> {
    let behind = mappings.partition_point(|mapping| mapping.start <= address);
    mappings[..behind].last().filter(|mapping| address < mapping.end)
}

/// One line (`proc_pid_maps(5)`); `None` unless it is executable. Only line feeds in a path are
/// escaped, so everything behind the inode and its padding is the path.
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut word = || {
        let length = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (word, tail) = rest.split_at(length);
        rest = tail.get(1..).unwrap_or_default();
        std::str::from_utf8(word).ok()
    };
    let (start, end) = word()?.split_once('-')?;
    let permissions = word()?;
    let offset = word()?;
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mapping = Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode: inode.parse().ok()?,
        path: OsString::from_vec(rest.trim_ascii_start().to_vec()),
    };
    (permissions.as_bytes().get(2) == Some(&b'x') && mapping.start < mapping.end).then_some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 1311 /usr/bin/x
55d0c0a02000-55d0c0a07000 r-xp 00002000 fe:01 1311                       /usr/bin/x
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
7f0000002000-7f0000003000 r-xs 00000000 00:2a 77                         /mnt/a b  c (deleted)
7ffd1d5f0000-7ffd1d5f2000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn keeps_what_can_be_executed() {
        let mappings = parse(MAPS);
        let paths: Vec<_> = mappings.iter().map(|mapping| mapping.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/usr/bin/x", "", "/mnt/a b  c (deleted)", "[vdso]", "[vsyscall]"]);
        let program = &mappings[0];
        assert_eq!((program.offset, program.device, program.inode), (0x2000, (0xfe, 1), 1311));
        let files: Vec<_> = mappings.iter().map(Mapping::is_file).collect();
        assert_eq!(files, [true, false, true, false, false]);
    }

    #[test]
    fn an_address_is_found_in_its_mapping_and_nowhere_else() {
        let mappings = parse(MAPS);
        let inode = |address| find(&mappings, address).map(|mapping| mapping.inode);
        assert_eq!(inode(0x55d0_c0a0_2000), Some(1311));
        assert_eq!(inode(0x55d0_c0a0_6fff), Some(1311));
        assert_eq!(inode(0x55d0_c0a0_7000), None);
        assert_eq!(inode(0x55d0_c0a0_1fff), None);
        assert_eq!(inode(0), None);
        assert_eq!(inode(u64::MAX), None);
    }

    #[test]
    fn hostile_paths_are_taken_as_they_are() {
        let line = b"1000-2000 r-xp 0 08:01 5 /tmp/ 3000-4000 r-xp 0 08:01 6 /bin/su\\012\xff\x1b[31m";
        let mappings = parse(line);
        assert_eq!(mappings.len(), 1);
        assert_eq!(mappings[0].inode, 5);
        assert!(mappings[0].path.as_encoded_bytes().ends_with(b"\xff\x1b[31m"));
    }

    #[test]
    fn nonsense_is_passed_over() {
        for line in [&b""[..], b"-", b"1000-", b"2000-1000 r-xp 0 8:1 5 /x", b"1-2 r-xp 0 8:1", b"1-2 r-xp 0 81 5 /x"] {
            assert_eq!(parse(line), [], "{}", line.escape_ascii());
        }
    }
}
