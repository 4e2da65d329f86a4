//! A check, and what came of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// How a check ended, unless it failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The claim holds.
    Passed,
    /// It could not be seen here, for this reason.
    Skipped(String),
}

/// What has to be set up on the machine before a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// A slow disk, and two processors: these run natively too.
    Bare,
    /// Nothing, and one processor does: these run natively too.
    Small,
    /// Nothing, and they are not about the kernel: they run natively and on one kernel of the lab.
    Tool,
    /// A guest in which no NFS or RPC module has been loaded yet.
    WithoutNfs,
    /// A guest that serves NFS to itself, with a slow local disk.
    WithNfs,
    /// Two network namespaces with a mount each.
    TwoClients,
    /// As [`Stage::WithNfs`]; the server is stopped, so nothing can follow.
    DeadServer,
}

impl Stage {
    /// Every stage, in the order in which a guest goes through them.
    pub const ALL: [Self; 7] =
        [Self::WithoutNfs, Self::Tool, Self::Small, Self::Bare, Self::WithNfs, Self::TwoClients, Self::DeadServer];

    /// True if its checks run natively too.
    #[must_use]
    pub fn is_native(self) -> bool {
        matches!(self, Self::Bare | Self::Small | Self::Tool)
    }

    /// Its name in the guest's script.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Small => "small",
            Self::Tool => "tool",
            Self::WithoutNfs => "without-nfs",
            Self::WithNfs => "with-nfs",
            Self::TwoClients => "two-clients",
            Self::DeadServer => "dead-server",
        }
    }
}

/// One claim about the tool.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Name, as `area::claim`.
    pub name: &'static str,
    /// What it needs.
    pub stage: Stage,
    /// Sees whether the claim holds.
    pub run: fn(&Machine) -> Result<Outcome>,
}

/// What came of a check, in a form that can be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The check's name.
    pub check: String,
    /// How it ended.
    pub result: Ended,
    /// How long it took.
    pub seconds: f64,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The claim holds.
    Passed,
    /// It could not be seen, for this reason.
    Skipped(String),
    /// The claim does not hold, or seeing it failed.
    Failed(String),
}

impl Check {
    /// Runs it; a panic is a failure like any other.
    #[must_use]
    pub fn verdict(&self, machine: &Machine) -> Verdict {
        let start = Instant::now();
        let result = match catch_unwind(AssertUnwindSafe(|| (self.run)(machine))) {
            Ok(Ok(Outcome::Passed)) => Ended::Passed,
            Ok(Ok(Outcome::Skipped(reason))) => Ended::Skipped(reason),
            Ok(Err(error)) => Ended::Failed(format!("{error:#}")),
            Err(panic) => Ended::Failed(panic_text(&*panic)),
        };
        Verdict { check: self.name.to_owned(), result, seconds: start.elapsed().as_secs_f64() }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    format!("panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: fn(&Machine) -> Result<Outcome>) -> Ended {
        Check { name: "x", stage: Stage::Bare, run }.verdict(&Machine::default()).result
    }

    #[test]
    fn every_way_to_end_is_told_apart() {
        assert_eq!(check(|_| Ok(Outcome::Passed)), Ended::Passed);
        assert_eq!(check(|_| Ok(Outcome::Skipped("no disk".into()))), Ended::Skipped("no disk".into()));
        assert_eq!(check(|_| anyhow::bail!("wrong")), Ended::Failed("wrong".into()));
        assert_eq!(check(|_| panic!("oh {}", 1)), Ended::Failed("panicked: oh 1".into()));
    }
}
