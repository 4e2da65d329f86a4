//! What tells the language, the runtime or the allocator of a program.

use crate::model::Made;

/// Room for a sign's string.
const LONGEST: usize = 24;

/// A sign that is a string.
pub(super) struct Sign {
    /// The string, backwards: it is to be found in other programs, not in this one's own table.
    backwards: [u8; LONGEST],
    length: usize,
    /// What it tells.
    pub(super) tells: Made,
    /// What has to follow, and how much of it belongs to the evidence.
    pub(super) follows: Follows,
}

/// What has to follow a string to make it a sign.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// Anything.
    Anything,
    /// The end of a name; and the string has to be the name's beginning, too.
    End,
    /// A version such as `1.45.0`, and a slash.
    Version,
    /// The 40 hexadecimal digits of a commit, and a slash.
    Commit,
}

impl Sign {
    const fn new(text: &str, tells: Made, follows: Follows) -> Self {
        let bytes = text.as_bytes();
        let mut backwards = [0; LONGEST];
        let mut index = 0;
        while index < bytes.len() {
            backwards[index] = bytes[bytes.len() - 1 - index];
            index += 1;
        }
        Self { backwards, length: bytes.len(), tells, follows }
    }

    /// The string.
    pub(super) fn text(&self) -> String {
        self.backwards[..self.length].iter().rev().map(|&byte| char::from(byte)).collect()
    }

    /// If the sign stands there: the version that follows it, or what of the rest is evidence.
    pub(super) fn check(&self, before: Option<u8>, after: &[u8]) -> Option<String> {
        match self.follows {
            Follows::Anything => Some(String::new()),
            Follows::End => (matches!(before, None | Some(0)) && after.first() == Some(&0)).then(String::new),
            Follows::Version => up_to_slash(after).filter(|text| is_version(text)).map(str::to_owned),
            Follows::Commit => up_to_slash(after)
                .filter(|text| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .map(|text| text[..12].to_owned()),
        }
    }
}

fn up_to_slash(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&byte| byte == b'/')?;
    std::str::from_utf8(&bytes[..end]).ok()
}

fn is_version(text: &str) -> bool {
    text.len() <= 32
        && text.split('.').count() >= 3
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte))
}

/// Strings among a program's constants.
pub(super) const CONSTANTS: &[Sign] = &[
    // Paths in panic messages: of the standard library, and of crates.
    Sign::new("/rustc/", Made::Rust, Follows::Commit),
    Sign::new("/tokio-", Made::Tokio, Follows::Version),
    // Default names of Tokio's threads (`runtime/builder.rs`), older and newer.
    Sign::new("tokio-runtime-worker", Made::Tokio, Follows::Anything),
    Sign::new("tokio-rt-worker", Made::Tokio, Follows::Anything),
    // Beginnings of what allocators print.
    Sign::new("<jemalloc>: ", Made::Jemalloc, Follows::Anything),
    Sign::new("mimalloc: ", Made::Mimalloc, Follows::Anything),
    Sign::new("tcmalloc: large alloc", Made::Tcmalloc, Follows::Anything),
    Sign::new("malloc(): corrupted", Made::GlibcMalloc, Follows::Anything),
];

/// Names of symbols.
pub(super) const NAMES: &[Sign] = &[
    Sign::new("rust_eh_personality", Made::Rust, Follows::End),
    Sign::new("__gxx_personality_v0", Made::CPlusPlus, Follows::End),
    Sign::new("Py_BytesMain", Made::Python, Follows::End),
    Sign::new("napi_module_register", Made::Node, Follows::End),
    Sign::new("JNI_CreateJavaVM", Made::Jvm, Follows::End),
    // jemalloc without a prefix, with its own, and with that of its Rust crate.
    Sign::new("mallctl", Made::Jemalloc, Follows::End),
    Sign::new("je_malloc", Made::Jemalloc, Follows::End),
    Sign::new("_rjem_malloc", Made::Jemalloc, Follows::End),
    Sign::new("mi_malloc", Made::Mimalloc, Follows::End),
    Sign::new("tc_malloc", Made::Tcmalloc, Follows::End),
    Sign::new("TCMallocInternalMalloc", Made::Tcmalloc, Follows::End),
    Sign::new("__malloc_donate", Made::MuslMalloc, Follows::End),
];

/// Beginnings of names of libraries.
pub(super) const LIBRARIES: &[(&str, Made)] = &[
    ("libstdc++.so", Made::CPlusPlus),
    ("libc++.so", Made::CPlusPlus),
    ("libstd-", Made::Rust),
    ("libjvm.so", Made::Jvm),
    ("libjli.so", Made::Jvm),
    ("libpython", Made::Python),
    ("libnode.so", Made::Node),
    ("libjemalloc", Made::Jemalloc),
    ("libmimalloc", Made::Mimalloc),
    ("libtcmalloc", Made::Tcmalloc),
    ("libc.so.6", Made::GlibcMalloc),
    ("libc.musl-", Made::MuslMalloc),
];

/// Beginnings of what compilers write into `.comment`.
pub(super) const COMPILERS: &[(&str, Made)] = &[
    ("rustc version ", Made::Rust),
    ("GCC: ", Made::CCompiler),
    ("clang version ", Made::CCompiler),
    ("Debian clang version ", Made::CCompiler),
    ("Ubuntu clang version ", Made::CCompiler),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(follows: Follows, before: Option<u8>, after: &[u8]) -> Option<String> {
        Sign::new("ab", Made::Rust, follows).check(before, after)
    }

    #[test]
    fn a_version_is_digits_and_a_slash() {
        assert_eq!(check(Follows::Version, None, b"1.45.0/src/runtime").as_deref(), Some("1.45.0"));
        assert_eq!(check(Follows::Version, None, b"util-0.7.1/src"), None);
        assert_eq!(check(Follows::Version, None, b"1.45.0"), None);
        assert_eq!(check(Follows::Version, None, b"1.4\x1b[2J.0/"), None);
    }

    #[test]
    fn a_commit_is_forty_digits() {
        let commit = b"17067e9ac6d7e7c36b5f5a7f0b3e29a1b7d5c3f1/library/core";
        assert_eq!(check(Follows::Commit, None, commit).as_deref(), Some("17067e9ac6d7"));
        assert_eq!(check(Follows::Commit, None, b"1.85.0/library"), None);
    }

    #[test]
    fn a_name_is_whole() {
        assert!(check(Follows::End, Some(0), b"\0x").is_some());
        assert!(check(Follows::End, Some(b'_'), b"\0x").is_none());
        assert!(check(Follows::End, Some(0), b"_aligned\0").is_none());
    }
}
