//! Names from outside (threads, hosts, paths) may hold anything, also what a terminal obeys.

/// The text with every character that is not plainly visible written as an escape: control
/// characters, line breaks, and the Unicode characters that reorder or hide text.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_visible(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'     // zero width, direction marks
            | '\u{2028}'..='\u{202e}'     // line and paragraph separators, bidi embeddings and overrides
            | '\u{2060}'..='\u{206f}'     // invisible operators, bidi isolates
            | '\u{fff9}'..='\u{fffb}'     // annotations
            | '\u{fffe}' | '\u{ffff}'     // no characters, and not allowed in XML
            | '\u{e0000}'..='\u{e007f}') // tags
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(escape("a\x1b[31mb\r\n\t\u{9b}2J"), "a\\u{1b}[31mb\\r\\n\\t\\u{9b}2J");
        assert_eq!(escape("x\u{202e}gpj.exe\u{2066}"), "x\\u{202e}gpj.exe\\u{2066}");
        assert_eq!(escape("\u{fffe}\u{ffff}\u{fffd}"), "\\u{fffe}\\u{ffff}\u{fffd}");
        assert_eq!(escape("/mnt/größe 日本"), "/mnt/größe 日本");
    }
}
