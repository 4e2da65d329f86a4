//! Reading the outcome of tests from what test programs print.

use std::fmt;

/// A test that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skip {
    pub(super) name: String,
    pub(super) reason: String,
}

/// How many tests passed, failed and were skipped, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
    pub(super) skips: Vec<Skip>,
}

impl Outcome {
    /// One thing that was checked and is right.
    pub(super) fn passed_once() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// One thing that was checked and is wrong.
    pub(super) fn failed_once() -> Self {
        Self { failed: 1, ..Self::default() }
    }

    /// Takes in one line of a test program: its closing line, or the line of a test that it skipped.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.skipped += count(counts, "ignored");
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|test| test.split_once(" ... ignored"))
        {
            // `ignored, reason` of cargo's own tests, `ignored (reason)` of the suite's.
            let reason = reason.trim_start_matches([',', ' ', '(']);
            let reason = reason.strip_suffix(')').unwrap_or(reason);
            let reason = if reason.is_empty() { "no reason given" } else { reason };
            self.skips.push(Skip { name: name.trim().to_owned(), reason: reason.to_owned() });
        }
    }

    /// Adds another outcome to this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.skips.extend(other.skips.iter().cloned());
    }
}

/// The number before `word` in a line such as `ok. 3 passed; 0 failed; 1 ignored`.
fn count(line: &str, word: &str) -> u32 {
    let words: Vec<_> = line.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::default();
        for line in lines {
            outcome.read(line);
        }
        outcome
    }

    #[test]
    fn test_programs_are_summed() {
        let outcome = read(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test a ... ok",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(outcome.to_string(), "13 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn skipped_tests_are_named_with_their_reason() {
        let outcome = read(&[
            "test native::sched     ... ok",
            "test native::fentry    ... ignored (needs root: it measures (a lot))",
            "test model::big ... ignored, takes an hour",
            "test plain ... ignored",
            "test result: ok. 5 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out",
        ]);
        let skips: Vec<_> = outcome.skips.iter().map(|skip| (skip.name.as_str(), skip.reason.as_str())).collect();
        assert_eq!(
            skips,
            [
                ("native::fentry", "needs root: it measures (a lot)"),
                ("model::big", "takes an hour"),
                ("plain", "no reason given")
            ]
        );
        assert_eq!(outcome.to_string(), "5 passed, 0 failed, 3 skipped");
    }
}
