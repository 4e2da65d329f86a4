//! What stands in an ELF executable. The file may be large and may be made to deceive: headers and
//! small sections are read within a budget, large sections are searched piece by piece.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use object::{
    Endianness, ReadCache, ReadRef as _, elf,
    read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _},
};

use super::{
    go,
    scan::scan,
    signs::{self, Sign},
};
use crate::model::{Executable, Made, Marker};

/// Bytes of headers and small sections read from one file.
const BUDGET: u64 = 8 << 20;
/// Bytes of one large section that are searched.
const SEARCHED: u64 = 32 << 20;
/// Bytes searched in all sections of one file together.
const SEARCHED_IN_ALL: u64 = 3 * SEARCHED;
/// Sections looked at; a program has about 40.
const MOST_SECTIONS: usize = 1000;
/// Markers kept; a program shows about 10.
const MOST_MARKERS: usize = 64;
/// Longest string taken from a file.
const LONGEST: usize = 256;
/// Most libraries listed.
const MOST_NEEDED: usize = 64;

type Result<T> = std::result::Result<T, object::Error>;
type Cache<'f> = ReadCache<Budgeted<&'f File>>;

/// A reader that ends its work when the budget is spent.
struct Budgeted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.len() as u64 > self.left {
            return Err(io::Error::other("larger than is read"));
        }
        let read = self.inner.read(into)?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Budgeted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Reads an executable.
///
/// # Errors
/// If it is no ELF file, or its headers make no sense; in words.
pub(super) fn inspect(file: &File) -> std::result::Result<Executable, String> {
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let data = Cache::new(Budgeted { inner: file, left: BUDGET });
    let is_64 = elf::FileHeader32::<Endianness>::parse(&data).is_err();
    let mut executable = if is_64 {
        inspect_class::<elf::FileHeader64<Endianness>>(file, &data)
    } else {
        inspect_class::<elf::FileHeader32<Endianness>>(file, &data)
    }
    .map_err(|error| error.to_string())?;
    executable.bytes = bytes;
    Ok(executable)
}

fn inspect_class<Elf: FileHeader<Endian = Endianness>>(file: &File, data: &Cache<'_>) -> Result<Executable> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let mut found = Executable::default();
    let segments = header.program_headers(endian, data)?;
    for segment in segments {
        if let Some(interpreter) = segment.interpreter(endian, data)? {
            found.interpreter = text(interpreter);
        }
        // A note that makes no sense is no reason to give up the rest.
        let _ = notes::<Elf>(segment, endian, data, &mut found);
    }
    found.needed = needed::<Elf>(segments, endian, data).unwrap_or_default();
    found.is_static = found.interpreter.is_empty() && found.needed.is_empty();
    libraries(&mut found);
    let Ok(sections) = header.sections(endian, data) else {
        found.cut.push("section headers".to_owned());
        return Ok(found);
    };
    let mut left = SEARCHED_IN_ALL;
    for section in sections.iter().take(MOST_SECTIONS) {
        let Ok(name) = sections.section_name(endian, section) else { continue };
        let Some((offset, size)) = section.file_range(endian) else { continue };
        let part = offset..offset.saturating_add(size).min(data.len().unwrap_or(0));
        match name {
            b".go.buildinfo" => go_build(section.data(endian, data).ok(), &mut found),
            b".gopclntab" => mark(&mut found, Made::Go, "", "section .gopclntab"),
            b".comment" => compilers(section.data(endian, data).unwrap_or_default(), &mut found),
            b".rodata" => search(file, part, &mut left, ".rodata", signs::CONSTANTS, &mut found),
            b".strtab" => search(file, part, &mut left, ".strtab", signs::NAMES, &mut found),
            b".dynstr" => search(file, part, &mut left, ".dynstr", signs::NAMES, &mut found),
            _ => {}
        }
    }
    Ok(found)
}

/// Build ids.
fn notes<Elf: FileHeader<Endian = Endianness>>(
    segment: &Elf::ProgramHeader,
    endian: Endianness,
    data: &Cache<'_>,
    found: &mut Executable,
) -> Result<()> {
    /// `ELF_NOTE_GOBUILDID_TAG` of Go's linker (`cmd/link/internal/ld/elf.go`).
    const GO_BUILD_ID: u32 = 4;
    let Some(mut notes) = segment.notes(endian, data)? else { return Ok(()) };
    while let Some(note) = notes.next()? {
        match (note.name(), note.n_type(endian)) {
            (b"GNU", elf::NT_GNU_BUILD_ID) => {
                found.build_id = note.desc().iter().take(64).map(|byte| format!("{byte:02x}")).collect();
            }
            (b"Go", GO_BUILD_ID) => {
                found.go_build_id = text(note.desc());
                mark(found, Made::Go, "", "note .note.go.buildid");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The libraries that the file itself names.
fn needed<Elf: FileHeader<Endian = Endianness>>(
    segments: &[Elf::ProgramHeader],
    endian: Endianness,
    data: &Cache<'_>,
) -> Option<Vec<String>> {
    let entries = segments.iter().find_map(|segment| segment.dynamic(endian, data).ok().flatten())?;
    let value = |tag: i64| {
        let entry = entries.iter().find(|entry| entry.tag(endian) == tag)?;
        Some(entry.d_val(endian).into())
    };
    let address: u64 = value(elf::DT_STRTAB)?;
    let strings = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).find_map(|segment| {
        let (offset, size) = segment.file_range(endian);
        let within = address.checked_sub(segment.p_vaddr(endian).into())?;
        (within < size).then(|| Some(offset.checked_add(within)?..offset.checked_add(size)?))?
    })?;
    let names = entries.iter().filter(|entry| entry.tag(endian) == elf::DT_NEEDED).filter_map(|entry| {
        let start = strings.start.checked_add(entry.d_val(endian).into())?;
        let end = strings.end.min(start.checked_add(LONGEST as u64)?);
        (start < end).then(|| data.read_bytes_at_until(start..end, 0).ok().map(text))?
    });
    Some(names.take(MOST_NEEDED).collect())
}

/// What the needed libraries and the interpreter tell.
fn libraries(found: &mut Executable) {
    for library in found.needed.clone() {
        if let Some(&(_, made)) = signs::LIBRARIES.iter().find(|(prefix, _)| library.starts_with(prefix)) {
            let version = match made {
                Made::Python => library.trim_start_matches("libpython").split(".so").next().unwrap_or_default(),
                _ => "",
            };
            mark(found, made, version, &format!("needs {library}"));
        }
    }
    if found.interpreter.contains("/ld-musl-") {
        let evidence = format!("interpreter {}", found.interpreter);
        mark(found, Made::MuslMalloc, "", &evidence);
    }
}

fn go_build(section: Option<&[u8]>, found: &mut Executable) {
    let Some(build) = section.and_then(go::parse) else { return };
    let version = cut(build.version.strip_prefix("go").unwrap_or(&build.version)).to_owned();
    let words = match version.as_str() {
        "" => "section .go.buildinfo, as before Go 1.18".to_owned(),
        version => format!(".go.buildinfo: go{version}"),
    };
    found.go_package = cut(&build.package).to_owned();
    found.go_module = cut(&build.module).to_owned();
    mark(found, Made::Go, &version, &words);
}

/// Names of compilers: strings one behind the other.
fn compilers(comment: &[u8], found: &mut Executable) {
    for line in comment.split(|&byte| byte == 0) {
        let line = text(line);
        if let Some((prefix, made)) = signs::COMPILERS.iter().find(|(prefix, _)| line.starts_with(prefix)) {
            let version = match made {
                Made::Rust => line[prefix.len()..].split(' ').next().unwrap_or_default(),
                _ => "",
            };
            mark(found, *made, version, &format!(".comment: {line}"));
        }
    }
}

fn search(file: &File, part: Range<u64>, left: &mut u64, name: &str, signs: &[Sign], found: &mut Executable) {
    let limit = SEARCHED.min(*left);
    *left -= limit.min(part.end.saturating_sub(part.start));
    let needles: Vec<_> = signs.iter().map(|sign| sign.text().into_bytes()).collect();
    let whole = scan(file, part, limit, &needles, |index, before, after| {
        let sign = &signs[index];
        let Some(rest) = sign.check(before, after) else { return false };
        let version = if sign.follows == signs::Follows::Version { rest.as_str() } else { "" };
        mark(found, sign.tells, version, &format!("\"{}{rest}\" in {name}", sign.text().trim_end()));
        true
    });
    if !matches!(whole, Ok(true)) && !found.cut.iter().any(|cut| cut == name) {
        found.cut.push(name.to_owned());
    }
}

fn mark(found: &mut Executable, tells: Made, version: &str, evidence: &str) {
    if found.markers.len() < MOST_MARKERS {
        found.markers.push(Marker { tells, version: version.to_owned(), evidence: evidence.to_owned() });
    }
}

/// Text from a file, of bounded length.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
    cut(text.trim_end_matches('\0')).to_owned()
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, time::Duration};

    use super::*;

    fn inspect_bytes(bytes: &[u8]) -> std::result::Result<Executable, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&file)
    }

    /// The test program itself: Rust, dynamic, with symbols, from the compiler that is in use.
    fn this_program() -> Vec<u8> {
        fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn recognises_a_rust_program() {
        // So that Tokio is linked.
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            tokio::time::sleep(Duration::from_nanos(1)).await;
        });
        let found = inspect_bytes(&this_program()).unwrap();
        let evidence: Vec<_> =
            found.markers.iter().filter(|marker| marker.tells == Made::Rust).map(|marker| &marker.evidence).collect();
        assert!(evidence.iter().any(|text| text.starts_with("\"/rustc/") && text.ends_with(" in .rodata")));
        assert!(evidence.iter().any(|text| *text == "\"rust_eh_personality\" in .strtab"), "{evidence:?}");
        assert!(found.markers.iter().any(|marker| marker.tells == Made::Tokio && marker.version.starts_with("1.")));
        for absent in [Made::Go, Made::Jvm, Made::Python, Made::Node, Made::Jemalloc, Made::Mimalloc, Made::Tcmalloc] {
            assert!(found.markers.iter().all(|marker| marker.tells != absent), "{absent:?} in {:?}", found.markers);
        }
        assert_eq!(found.is_static, found.interpreter.is_empty());
        assert!(found.cut.is_empty());
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", &[0; 4096]] {
            assert!(inspect_bytes(bytes).is_err());
        }
    }

    /// A file of 2 MiB with so many sections of this name, each of which is nearly the whole file.
    fn many_sections(number: u16, name: &str, content: &[u8]) -> Vec<u8> {
        const HEADERS: u64 = 64;
        let names = 1 << 20;
        let mut file = vec![0; 2 << 20];
        file[names as usize + 1..][..name.len()].copy_from_slice(name.as_bytes());
        let body = names as usize + 64;
        let length = content.len().min(file.len() - body);
        file[body..][..length].copy_from_slice(&content[..length]);
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let mut put = |at: u64, bytes: &[u8]| file[at as usize..][..bytes.len()].copy_from_slice(bytes);
        put(16, &2_u16.to_le_bytes());
        put(20, &1_u32.to_le_bytes());
        put(40, &HEADERS.to_le_bytes());
        put(58, &64_u16.to_le_bytes());
        put(60, &number.to_le_bytes());
        put(62, &1_u16.to_le_bytes());
        for section in 1..u64::from(number) {
            let at = HEADERS + 64 * section;
            let offset: u64 = if section == 1 { names } else { names + 64 };
            put(at, &u32::from(section > 1).to_le_bytes());
            put(at + 4, &1_u32.to_le_bytes());
            put(at + 24, &offset.to_le_bytes());
            put(at + 32, &((2 << 20) - offset).to_le_bytes());
        }
        file
    }

    #[test]
    fn a_file_made_to_keep_the_reader_busy_does_not() {
        let found = inspect_bytes(&many_sections(3, ".rodata", b"tokio-rt-worker")).unwrap();
        assert_eq!((found.markers.len(), found.cut.len()), (1, 0));
        let begun = std::time::Instant::now();
        let found = inspect_bytes(&many_sections(10_000, ".rodata", b"tokio-rt-worker")).unwrap();
        assert_eq!(found.cut, [".rodata"]);
        assert_eq!(found.markers.len(), MOST_MARKERS);
        let found = inspect_bytes(&many_sections(3, ".comment", &b"GCC: x\0".repeat(100_000))).unwrap();
        assert_eq!(found.markers.len(), MOST_MARKERS);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn damage_never_panics_and_never_reads_without_end() {
        let whole = this_program();
        let headers = whole.len().min(4096);
        for at in 0..headers.min(1024) {
            let mut bytes = whole[..headers].to_vec();
            bytes[at] = !bytes[at];
            let _ = inspect_bytes(&bytes);
        }
        let mut bytes = whole.clone();
        let sections = u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap()) as usize;
        for at in (sections..bytes.len()).step_by(37) {
            bytes[at] = 0xff;
        }
        let _ = inspect_bytes(&bytes);
    }
}
