//! Who the most stalled processes are, a line each.

use super::{super::Style, table::cut};
use crate::{analyse::Answer, render::escape::escape};

/// Lines shown.
const LINES: usize = 5;

/// Stands between the parts of a summary.
const DOT: &str = " · ";

/// The processes of the table above, as far as they were looked at.
pub(super) fn lines(answer: &Answer, style: Style) -> String {
    let rows = answer.processes.iter().filter(|process| process.groups.stalled() > 0);
    let known = rows.filter_map(|process| process.identity.as_ref()).take(LINES);
    let lines: String = known.map(|identity| format!("{}\n", fit(&escape(&identity.summary), style.width))).collect();
    if lines.is_empty() { lines } else { format!("{}\n{lines}", style.faint("WHO IT IS (by its executable)")) }
}

/// The parts that fit; `--json` has all.
fn fit(summary: &str, width: usize) -> String {
    let mut parts = summary.split(DOT);
    let mut line = cut(parts.next().unwrap_or_default(), width);
    for part in parts {
        if line.chars().count() + DOT.chars().count() + part.chars().count() <= width {
            line.push_str(DOT);
            line.push_str(part);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        assert_eq!(fit("sh (1): C · /a/long/path · docker 1", 23), "sh (1): C · docker 1");
        assert_eq!(fit("a long name · x", 8), "a long..");
        assert_eq!(fit("a · b", 5), "a · b");
    }
}
