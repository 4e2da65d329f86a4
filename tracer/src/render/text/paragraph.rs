//! Text in lines.

use crate::render::{Style, escape::escape};

/// The text, escaped and broken into lines no longer than the width; the first begins with
/// `first`, the others with `rest`.
pub(super) fn paragraph(text: &str, first: &str, rest: &str, style: Style) -> String {
    let mut out = String::from(first);
    let mut column = first.chars().count();
    let mut fresh = true;
    for word in escape(text).split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !fresh && column + 1 + length > style.width {
            out.push('\n');
            out.push_str(rest);
            column = rest.chars().count();
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        fresh = false;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_the_width() {
        let style = Style { colour: false, width: 12 };
        let text = paragraph("one two three fourandahalffive six", "- ", "  ", style);
        assert_eq!(text, "- one two\n  three\n  fourandahalffive\n  six\n");
    }
}
