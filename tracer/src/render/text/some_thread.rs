//! For how much of the time some thread waited, beside the pressure files, which do not say.

use crate::analyse::{
    Answer,
    some_thread::SomeTime,
    units::{percent, short_duration},
};

/// Below this share of the window, for storage and for memory locks both, there is nothing to say.
const WORTH_SAYING: f64 = 0.01;

/// What it is and what it can be at most are told apart from this share of the window on.
const UNSURE: f64 = 0.01;

/// The same, as a share of what it can be at most.
const UNSURE_OF_MOST: f64 = 0.1;

/// One line; `None` if hardly any thread waited, or if it is not known.
pub(super) fn line(answer: &Answer) -> Option<String> {
    let some = answer.some_thread.as_ref()?;
    let wall_ns = answer.window.duration_ns;
    let is_little = |time: &SomeTime| (time.at_most_ns as f64) < WORTH_SAYING * wall_ns as f64;
    if is_little(&some.storage) && is_little(&some.memory_lock) {
        return None;
    }
    Some(format!(
        "{:<16}waited for storage {} of the time, for a memory lock {} (waits from {})",
        "some thread",
        share(&some.storage, wall_ns),
        share(&some.memory_lock, wall_ns),
        short_duration(some.min_wait_ns)
    ))
}

/// `34%`, or `16-67%` if much is left out.
fn share(time: &SomeTime, wall_ns: u64) -> String {
    let least = percent(time.some_ns, wall_ns);
    let unsure_ns = time.at_most_ns.saturating_sub(time.some_ns) as f64;
    if unsure_ns < UNSURE * wall_ns as f64 || unsure_ns < UNSURE_OF_MOST * time.at_most_ns as f64 {
        return least;
    }
    format!("{}-{}", least.trim_end_matches('%'), percent(time.at_most_ns, wall_ns))
}
