//! Why there is no picture, and what there is instead.

use super::{
    escape::escape,
    heading::{class_filters, thread_filters},
};
use crate::analyse::{
    stacks::{Empty, Selection},
    units::duration,
};

/// Most names listed.
const LISTED: usize = 8;

/// The reason and the remedy in a sentence.
#[must_use]
pub fn explain(empty: &Empty, selection: &Selection) -> String {
    let threads = escape(&thread_filters(selection).join(" and "));
    match empty {
        Empty::NothingBlocked => "no thread was blocked in this recording: there is nothing to draw".into(),
        Empty::NoWakers => {
            "this recording does not say who ended a wait: the nfslat that made it kept no wake-ups, or \
                            no wait was long enough; without --wakers its waits can be drawn"
                .into()
        }
        Empty::NoSuchProcess(there) => {
            format!("this recording has no blocked time of {threads}; it has {}", list(there))
        }
        Empty::NoSuchClass(there) => {
            let classes = class_filters(selection).join(" and ");
            let of = if threads.is_empty() { String::new() } else { format!(" of {threads}") };
            format!("this recording has no blocked time{of} in {classes}; it has {}", list(there))
        }
        Empty::OnlyIdle(ns) => {
            format!("all of it ({} of blocked time) is idle waits: --idle shows them", duration(*ns))
        }
        Empty::Impossible => "the times in this recording add up to centuries: it was not made by measuring".into(),
    }
}

/// Names with their time: `block 3.50 s, futex 2.02 ms, 3 more`.
fn list(there: &[(String, u64)]) -> String {
    let names = there.iter().take(LISTED).map(|(name, ns)| format!("{} {}", escape(name), duration(*ns)));
    let mut names: Vec<_> = names.collect();
    if there.len() > LISTED {
        names.push(format!("{} more", there.len() - LISTED));
    }
    names.join(", ")
}
