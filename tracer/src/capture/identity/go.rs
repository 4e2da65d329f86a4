//! What the Go linker writes into the section `.go.buildinfo` (`debug/buildinfo` of Go's standard
//! library; the form with the strings inline is that of Go 1.18 and later).

/// The section begins with it.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the inline strings begin.
const STRINGS: usize = 32;
/// Bit of the flags byte: the strings are inline.
const INLINE: u8 = 2;
/// The module information stands between two sentinels of this length.
const SENTINEL: usize = 16;

/// What a Go program says of itself. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GoBuild {
    /// Version of the toolchain, such as `go1.22.1`.
    pub(super) version: String,
    /// Path of the main package.
    pub(super) package: String,
    /// Path and version of the main module.
    pub(super) module: String,
}

/// Reads the section; `None` if it is none. Older than Go 1.18 the strings are elsewhere, and the
/// version stays empty.
pub(super) fn parse(section: &[u8]) -> Option<GoBuild> {
    if !section.starts_with(MAGIC) {
        return None;
    }
    if section.get(MAGIC.len() + 1)? & INLINE == 0 {
        return Some(GoBuild::default());
    }
    let (version, rest) = string(section.get(STRINGS..)?)?;
    let mut build = GoBuild { version: String::from_utf8_lossy(version).into_owned(), ..GoBuild::default() };
    let modules = string(rest).and_then(|(text, _)| text.get(SENTINEL..text.len().checked_sub(SENTINEL)?));
    for line in String::from_utf8_lossy(modules.unwrap_or_default()).lines() {
        let mut words = line.split('\t');
        match (words.next(), words.next(), words.next()) {
            (Some("path"), Some(path), _) => build.package = path.to_owned(),
            (Some("mod"), Some(path), version) => {
                build.module = format!("{path} {}", version.unwrap_or_default()).trim_end().to_owned();
            }
            _ => {}
        }
    }
    Some(build)
}

/// A string behind its length (varint), and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(length);
        }
    }
    None
}

#[cfg(test)]
mod tests;
