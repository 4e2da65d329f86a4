//! Names from the files of others.

/// Longest name kept, in bytes; a template's may have hundreds of thousands.
const LIMIT: usize = 512;

/// A name, cut if it is too long.
pub(super) fn limited(name: &str) -> String {
    if name.len() <= LIMIT {
        return name.to_owned();
    }
    let mark = "...";
    let end = (0..=LIMIT - mark.len()).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    format!("{}{mark}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(limited("main"), "main");
        let cut = limited(&"é".repeat(1000));
        assert!(cut.len() <= LIMIT && cut.len() > LIMIT - 5 && cut.ends_with("é..."), "{cut}");
    }
}
