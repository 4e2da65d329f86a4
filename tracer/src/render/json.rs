//! Answers (schema `nfslat/1`) and comparisons (`nfslat-diff/1`) as JSON. docs/json.md describes them.

use serde::Serialize;

/// An answer or a comparison as one JSON object over several lines, with a line feed at its end.
///
/// # Panics
/// Never: everything in them has a JSON form.
#[must_use]
pub fn render(answer: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(answer).expect("an answer has a JSON form");
    text.push('\n');
    text
}
