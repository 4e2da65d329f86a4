//! Collects everything that is wrong before failing: the numbers that do agree help to understand
//! those that do not.

use std::fmt::Display;

use anyhow::{Result, bail};

use crate::{answer::Answer, check::Outcome};

/// What was found wrong so far, and what was compared at all.
#[derive(Debug, Default)]
pub struct Complaints {
    wrong: Vec<String>,
    compared: usize,
}

impl Complaints {
    /// Complains unless `holds`.
    pub fn unless(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        self.compared += 1;
        if !holds {
            self.wrong.push(complaint());
        }
    }

    /// Complains unless `seen` is `wanted`, give or take a share of it or `slack`, whichever is more.
    pub fn unless_near(&mut self, what: impl Display, seen: u64, wanted: u64, share: f64, slack: u64) {
        let room = ((wanted as f64 * share) as u64).max(slack);
        let off = seen.abs_diff(wanted);
        self.unless(off <= room, || format!("{what}: {seen}, should be {wanted} +- {room} (off by {off})"));
    }

    /// Complains unless `seen` equals `wanted`.
    pub fn unless_equal(&mut self, what: impl Display, seen: u64, wanted: u64) {
        self.unless(seen == wanted, || format!("{what}: {seen}, should be {wanted}"));
    }

    /// Passes if all was well, and if there was anything to compare.
    pub fn settle(self) -> Result<Outcome> {
        if self.compared == 0 {
            bail!("nothing was compared: the check saw no data");
        }
        if self.wrong.is_empty() {
            return Ok(Outcome::Passed);
        }
        bail!("{} of {} comparisons are wrong:\n  {}", self.wrong.len(), self.compared, self.wrong.join("\n  "))
    }

    /// The same for a comparison with an answer. One that fails on data which the tool itself calls
    /// incomplete says nothing about the tool; in guests incomplete data has been refused before.
    pub fn settle_for(self, answer: &Answer) -> Result<Outcome> {
        match self.settle() {
            Err(error) if !answer.complete => {
                Ok(Outcome::Skipped(format!("the data was incomplete ({:?}): {error:#}", answer.losses)))
            }
            settled => settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_is_not_a_pass() {
        assert!(Complaints::default().settle().is_err());
    }

    #[test]
    fn the_larger_allowance_counts() {
        let near = |seen, share, slack| {
            let mut complaints = Complaints::default();
            complaints.unless_near("x", seen, 1000, share, slack);
            complaints.settle().is_ok()
        };
        assert!(near(1010, 0.01, 2));
        assert!(!near(1011, 0.01, 2));
        assert!(near(980, 0.01, 20));
        assert!(!near(979, 0.01, 20));
    }
}
