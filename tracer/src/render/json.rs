//! The answer as JSON, schema `nfslat/1`. docs/json.md describes it.

use crate::analyse::Answer;

/// The answer as one JSON object over several lines, with a line feed at its end.
///
/// # Panics
/// Never: everything in an answer has a JSON form.
#[must_use]
pub fn render(answer: &Answer) -> String {
    let mut text = serde_json::to_string_pretty(answer).expect("an answer has a JSON form");
    text.push('\n');
    text
}
