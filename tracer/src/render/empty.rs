//! Why there is no picture, and what there is instead.

use super::escape::escape;
use crate::analyse::{stacks::Empty, units::duration};

/// Most names listed.
const LISTED: usize = 8;

/// The reason and the remedy in a sentence.
#[must_use]
pub fn explain(empty: &Empty) -> String {
    match empty {
        Empty::NothingBlocked => "no thread was blocked in this recording: there is nothing to draw".into(),
        Empty::NoWakers => {
            "this recording does not say who ended a wait: the nfslat that made it kept no wake-ups, or no \
             wait was long enough; without --wakers its waits can be drawn"
                .into()
        }
        Empty::NoSuchProcess(there) => {
            format!("--pid, --tid and --comm leave nothing that was blocked; there is {}", list(there))
        }
        Empty::NoSuchClass(there) => {
            format!("--class and --group leave nothing; of what else was selected there is {}", list(there))
        }
        Empty::OnlyIdle(ns) => format!("all {} of blocked time is idle: --idle shows it", duration(*ns)),
        Empty::Impossible => "the times in this recording add up to centuries: it was not made by measuring".into(),
    }
}

fn list(there: &[(String, u64)]) -> String {
    let names = there.iter().take(LISTED).map(|(name, ns)| format!("{} with {}", escape(name), duration(*ns)));
    let mut names: Vec<_> = names.collect();
    if there.len() > LISTED {
        names.push(format!("{} more", there.len() - LISTED));
    }
    names.join(", ")
}
