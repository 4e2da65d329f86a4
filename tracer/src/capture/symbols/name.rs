//! Names from the files of others: readable, and of bounded length. A few hundred bytes of a mangled
//! name can stand for more than all memory holds, so no more of it is written out than is kept.

use std::fmt::{self, Write as _};

/// Longest name kept, in bytes; a template's may have hundreds of thousands.
const LIMIT: usize = 512;
/// Stands for what was cut off.
const MARK: &str = "...";
/// Longer names are not looked into.
const MAX_MANGLED: usize = 64 << 10;

/// A name as it stands in the source: Rust's and C++'s mangling undone, and cut if it is too long.
pub(super) fn readable(name: &str) -> String {
    let mut text = Limited::default();
    let written = if name.len() > MAX_MANGLED {
        None
    } else if let Ok(rust) = rustc_demangle::try_demangle(name) {
        Some(write!(text, "{rust:#}"))
    } else if let Ok(cpp) = cpp_demangle::Symbol::new(name) {
        Some(cpp.structured_demangle(&mut text, &cpp_demangle::DemangleOptions::default()))
    } else {
        None
    };
    match written {
        Some(Ok(())) => text.text,
        Some(Err(_)) if text.full => text.text + MARK,
        Some(Err(_)) | None => limited(name),
    }
}

/// A name, cut if it is too long.
pub(super) fn limited(name: &str) -> String {
    let mut text = Limited::default();
    match text.write_str(name) {
        Ok(()) => text.text,
        Err(fmt::Error) => text.text + MARK,
    }
}

/// Text that fails to grow beyond what is kept.
#[derive(Default)]
struct Limited {
    text: String,
    full: bool,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = LIMIT - MARK.len() - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let end = (0..=room).rev().find(|&end| more.is_char_boundary(end)).unwrap_or(0);
        self.text.push_str(&more[..end]);
        self.full = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mangling_is_undone() {
        assert_eq!(readable("main"), "main");
        assert_eq!(readable("_ZN2ns1SIlE5innerEl"), "ns::S<long>::inner(long)");
        assert_eq!(readable("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(readable("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(readable("_Znonsense"), "_Znonsense");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let cut = limited(&"é".repeat(1000));
        assert!(cut.len() <= LIMIT && cut.len() > LIMIT - 5 && cut.ends_with("é..."), "{cut}");
        assert_eq!(readable(&"x".repeat(MAX_MANGLED + 1)).len(), LIMIT);
    }

    #[test]
    fn a_name_that_explodes_is_cut() {
        // f(A<int, int>, B<A<..>, A<..>>, C<B<..>, B<..>>, ...): each argument is twice as long.
        let seq = |number: u32| match number {
            0..=9 => format!("{number}"),
            10..=35 => char::from_u32(u32::from(b'A') + number - 10).unwrap().to_string(),
            _ => format!("1{}", number - 36),
        };
        let mut bomb = "_Z1f1AIiiE".to_owned();
        for (index, letter) in ('B'..='S').enumerate() {
            let last = seq(2 * index as u32);
            bomb += &format!("1{letter}IS{last}_S{last}_E");
        }
        let cut = readable(&bomb);
        assert!(cut.starts_with("f(A<int, int>, B<A<int, int>, A<int, int> >") && cut.ends_with(MARK), "{cut}");
        assert!(cut.len() <= LIMIT);
    }
}
