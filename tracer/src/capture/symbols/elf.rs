//! Names of functions from an ELF file.
//!
//! The file is another's: it may be cut short at any moment, and a disk may fail under it. Looked
//! at through a memory mapping, as symbolisers do, either would kill this process (SIGBUS). So the
//! parts with symbols are first read into a file in memory, with the rest of it left as a hole.

use std::{
    fs::File,
    io,
    ops::Range,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::FileExt as _,
    },
};

use anyhow::{Context as _, Result, ensure};
use blazesym::symbolize::{
    Input, Symbolizer,
    source::{Elf, Source},
};

use super::name;

/// More symbols than this are not read: the largest programs known have a tenth of it.
const MAX_SYMBOL_BYTES: u64 = 512 << 20;
/// Size of the file header of a 64-bit ELF file (`elf(5)`).
const HEADER_BYTES: u64 = 64;
/// Size of an entry of its section table.
const SECTION_BYTES: u64 = 64;
/// Types of the sections with symbols, their names, versions and notes (`elf(5)`).
const WANTED_SECTIONS: [u32; 7] = [2, 3, 7, 11, 0x6fff_fffd, 0x6fff_fffe, 0x6fff_ffff];

/// The function at each offset of the file; `None` where it has no symbol.
///
/// # Errors
/// If the file cannot be read or is no ELF file.
pub(super) fn resolve(file: &File, offsets: &[u64]) -> Result<Vec<Option<String>>> {
    let copy = copy_of_symbols(file)?;
    let mut source = Elf::new(format!("/proc/self/fd/{}", copy.as_raw_fd()));
    source.debug_syms = false;
    let symbolizer = Symbolizer::builder()
        .enable_auto_reload(false)
        .enable_code_info(false)
        .enable_inlined_fns(false)
        .enable_demangling(false)
        .build();
    let found = symbolizer.symbolize(&Source::Elf(source), Input::FileOffset(offsets))?;
    Ok(found.iter().map(|found| found.as_sym().map(|symbol| name::readable(&symbol.name))).collect())
}

/// A file in memory with the parts of an ELF file that name functions, at the same offsets.
fn copy_of_symbols(file: &File) -> Result<File> {
    let length = file.metadata()?.len();
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact_at(&mut header, 0).context("too short for an ELF file")?;
    let tables = Tables::of(&header)?;
    let mut sections = vec![0; usize::try_from(tables.sections.end - tables.sections.start)?];
    file.read_exact_at(&mut sections, tables.sections.start).context("no section table")?;

    let mut ranges = vec![0..HEADER_BYTES, tables.segments, tables.sections];
    ranges.extend(wanted(&sections));
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    ensure!(total <= MAX_SYMBOL_BYTES, "{total} bytes of symbols");

    let copy = file_in_memory().context("cannot make a file in memory")?;
    copy.set_len(length)?;
    let mut buffer = vec![0; 1 << 20];
    for range in ranges {
        let mut at = range.start;
        let end = range.end.min(length);
        while at < end {
            let part = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let read = file.read_at(&mut buffer[..part], at)?;
            ensure!(read > 0, "it was cut short");
            copy.write_all_at(&buffer[..read], at)?;
            at += read as u64;
        }
    }
    Ok(copy)
}

/// An empty file in memory.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn file_in_memory() -> io::Result<File> {
    // SAFETY: the name ends with a 0, and the call touches nothing else.
    let fd = unsafe { libc::memfd_create(c"nfslat-symbols".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Where the tables of an ELF file lie.
#[derive(Debug, PartialEq, Eq)]
struct Tables {
    segments: Range<u64>,
    sections: Range<u64>,
}

impl Tables {
    /// From the file header (`Elf64_Ehdr` in `elf(5)`).
    fn of(header: &[u8; HEADER_BYTES as usize]) -> Result<Self> {
        ensure!(header.starts_with(b"\x7fELF"), "it is no ELF file");
        ensure!(header[4] == 2 && header[5] == 1, "only 64-bit little-endian ELF files are read");
        let half = |at| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
        ensure!(half(58) == SECTION_BYTES || half(60) == 0, "its section table is odd");
        let table = |at, size: u64| {
            let start = long(header, at);
            Ok::<_, anyhow::Error>(start..start.checked_add(size).context("a table lies beyond every file")?)
        };
        Ok(Self { segments: table(32, half(54) * half(56))?, sections: table(40, half(60) * SECTION_BYTES)? })
    }
}

/// The ranges of the sections that are wanted, from the section table (`Elf64_Shdr` in `elf(5)`).
fn wanted(sections: &[u8]) -> impl Iterator<Item = Range<u64>> {
    sections.chunks_exact(SECTION_BYTES as usize).filter_map(|section| {
        let kind = u32::from_le_bytes(section[4..8].try_into().ok()?);
        let (start, size) = (long(section, 24), long(section, 32));
        WANTED_SECTIONS.contains(&kind).then_some(start..start.checked_add(size)?)
    })
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A function to be found again by the test, in this very program.
    #[inline(never)]
    extern "C" fn function_to_be_found() -> usize {
        std::hint::black_box(17)
    }

    #[test]
    fn finds_a_function_of_this_program() {
        let address = function_to_be_found as *const () as u64;
        let maps = super::super::maps::parse(&std::fs::read("/proc/self/maps").unwrap());
        let mapping = super::super::maps::find(&maps, address).unwrap();
        let offset = address - mapping.start + mapping.offset;
        let file = File::open("/proc/self/exe").unwrap();
        let found = resolve(&file, &[offset + 1, u64::MAX]).unwrap();
        assert!(found[0].as_ref().unwrap().contains("function_to_be_found"), "{found:?}");
        assert_eq!(found[1], None);
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        for content in [&b""[..], b"#!/bin/sh\n", &[0x7f; 4096]] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            assert!(resolve(&file, &[0]).is_err());
        }
    }

    #[test]
    fn a_damaged_elf_file_is_an_error_or_names_nothing() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        for cut in [65, 4096, whole.len() / 2] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&whole[..cut]).unwrap();
            drop(resolve(&file, &[0x1000]));
        }
        // Tables that point anywhere.
        for at in 32..64 {
            let mut header = whole[..4096].to_vec();
            header[at] = 0xff;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&header).unwrap();
            drop(resolve(&file, &[0x1000]));
        }
    }
}
