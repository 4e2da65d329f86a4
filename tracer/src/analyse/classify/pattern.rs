//! The notation of the class table.
//!
//! A pattern reads like a stack, from the innermost frame outwards:
//!
//! | notation | means |
//! |---|---|
//! | `a < b` | `a` called directly by `b` ([`is_wrapper`] functions in between do not count) |
//! | `a .. b` | `a` called by `b`, at any distance |
//! | `a\|b` | either |
//! | `nfs_*` | any function whose name begins with `nfs_` |
//! | `@mm` | any function of that set |
//! | `^ a` | `a` is the first frame under the scheduler's and the wrappers' |

use super::{sets, symbol::is_wrapper};

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    anchored: bool,
    first: Names,
    then: Vec<(Distance, Names)>,
}

/// How a step of a pattern follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distance {
    Next,
    Anywhere,
}

/// Alternatives for one frame.
#[derive(Clone, Debug, Default)]
struct Names {
    exact: Vec<&'static str>,
    prefixes: Vec<&'static str>,
}

impl Names {
    fn parse(text: &'static str) -> Self {
        let mut names = Self::default();
        for name in text.split('|') {
            if let Some(set) = name.strip_prefix('@') {
                names.exact.extend(sets::named(set));
            } else if let Some(prefix) = name.strip_suffix('*') {
                names.prefixes.push(prefix);
            } else {
                names.exact.push(name);
            }
        }
        names
    }

    fn contain(&self, frame: &str) -> bool {
        self.exact.contains(&frame) || self.prefixes.iter().any(|prefix| frame.starts_with(prefix))
    }
}

impl Pattern {
    /// Parses the notation.
    ///
    /// # Panics
    /// If it is malformed. Patterns are constants, and a test parses them all.
    pub(super) fn parse(text: &'static str) -> Self {
        let (anchored, text) = text.strip_prefix("^ ").map_or((false, text), |rest| (true, rest));
        let mut words = text.split(' ');
        let first = Names::parse(words.next().unwrap_or_default());
        let mut then = Vec::new();
        while let Some(word) = words.next() {
            let distance = match word {
                "<" => Distance::Next,
                ".." => Distance::Anywhere,
                _ => panic!("neither < nor .. before {word:?} in {text:?}"),
            };
            let names = words.next().unwrap_or_else(|| panic!("nothing after {word} in {text:?}"));
            then.push((distance, Names::parse(names)));
        }
        Self { anchored, first, then }
    }

    /// Names the first step matches exactly, and beginnings of names it matches.
    pub(super) fn first_names(&self) -> (&[&'static str], &[&'static str]) {
        (&self.first.exact, &self.first.prefixes)
    }

    /// Whether the pattern matches `frames` with its first step at `start`; if so, the index of
    /// the frame its last step matched. `body` is the index of the first frame that is neither the
    /// scheduler's nor a wrapper.
    pub(super) fn match_at(&self, frames: &[&str], start: usize, body: usize) -> Option<usize> {
        if (self.anchored && start != body) || !self.first.contain(frames[start]) {
            return None;
        }
        match_steps(frames, start, &self.then)
    }
}

fn match_steps(frames: &[&str], at: usize, steps: &[(Distance, Names)]) -> Option<usize> {
    let Some(((distance, names), rest)) = steps.split_first() else {
        return Some(at);
    };
    for next in at + 1..frames.len() {
        if names.contain(frames[next])
            && let Some(last) = match_steps(frames, next, rest)
        {
            return Some(last);
        }
        if *distance == Distance::Next && !is_wrapper(frames[next]) {
            return None;
        }
    }
    None
}
