//! Blocked time by stack: what a flame graph draws.
//!
//! Every nanosecond that a selected thread was blocked is in exactly one row, waits without a stack
//! included, so that the rows add up to the blocked time of the selected threads.

mod frames;
mod gather;
mod select;
mod tree;
mod wakers;

use std::collections::{BTreeMap, BTreeSet};

use super::classify::Class;
use crate::model::{Histogram, Recording};

pub use frames::{Frame, FrameKind};
pub use select::{Empty, Selection};
pub use tree::{Node, Tree};

/// Blocked time by stack, of what was selected.
#[derive(Clone, Debug)]
pub struct Stacks<'r> {
    /// One row per distinct stack, in the order of their frames.
    pub rows: Vec<StackRow<'r>>,
    /// Sum of all rows; fits an `i64`.
    pub total_ns: u64,
    /// Time in idle classes that was left out because nobody asked for it.
    pub idle_left_out_ns: u64,
    /// True if the stacks go on to who ended the wait; then the rows hold only waits that were long
    /// enough for that.
    pub with_wakers: bool,
    /// Histograms that rows refer to.
    histograms: Vec<Histogram>,
    /// The recording's threshold: waits below it have no stack.
    min_wait_ns: u64,
}

/// Waits with the same frames.
#[derive(Clone, Debug)]
pub struct StackRow<'r> {
    /// Frames, outermost (the process) first.
    pub frames: Vec<Frame<'r>>,
    /// What was waited for.
    pub class: Class,
    /// Process id.
    pub pid: u32,
    /// The process's name.
    pub comm: &'r str,
    /// Number of waits, their sum and extremes.
    pub waits: Waits,
}

/// Sum of waits.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Their sum.
    pub total_ns: u64,
    /// Number of waits; 0 if it is not known.
    pub count: u64,
    /// Number of those below the recording's threshold.
    pub short_count: u64,
    /// The longest, those below the threshold left out.
    max_ns: u64,
    /// Histograms of waits these are among: indices into [`Stacks::histograms`].
    histograms: BTreeSet<usize>,
}

impl Waits {
    fn merge(&mut self, other: &Self) {
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.count = self.count.saturating_add(other.count);
        self.short_count = self.short_count.saturating_add(other.short_count);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.histograms.extend(&other.histograms);
    }
}

/// The length that 99% of waits do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P99 {
    /// Within 3.2%.
    pub ns: u64,
    /// Number of waits it is about. A recording keeps histograms by process and kernel stack: where
    /// stacks are told apart by more than that, these are more waits than were asked about.
    pub of: u64,
}

impl Stacks<'_> {
    /// The 99th percentile of waits of this; `None` if nothing is known of their lengths.
    #[must_use]
    pub fn p99(&self, waits: &Waits) -> Option<P99> {
        let mut merged = Histogram::default();
        for &index in &waits.histograms {
            merged.merge(&self.histograms[index]);
        }
        let counted = merged.count();
        if counted == 0 {
            return None;
        }
        // A wait without a stack was shorter than the threshold.
        merged.record(self.min_wait_ns, waits.short_count);
        let exact = counted <= waits.count.saturating_sub(waits.short_count);
        // The longest wait is known only of those asked about.
        let limit_ns = if exact { waits.max_ns.max(self.min_wait_ns) } else { u64::MAX };
        let ns = merged.quantile(0.99)?.min(limit_ns);
        Some(P99 { ns, of: if exact { waits.count } else { merged.count() } })
    }

    /// Time by class, most time first.
    #[must_use]
    pub fn classes(&self) -> Vec<(Class, u64)> {
        let mut sums = BTreeMap::<Class, u64>::new();
        for row in &self.rows {
            *sums.entry(row.class).or_default() += row.waits.total_ns;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|&(class, ns)| (std::cmp::Reverse(ns), class));
        sums
    }
}

/// Blocked time by stack of what is selected in a (validated) recording.
///
/// # Errors
/// If nothing is left to show; the error says why and what there is.
pub fn stacks<'r>(recording: &'r Recording, selection: &Selection) -> Result<Stacks<'r>, Empty> {
    let mut histograms = gather::Histograms::of(recording);
    let waits = if selection.wakers {
        wakers::gather(recording, &mut histograms)
    } else {
        gather::gather(recording, selection.threads, &mut histograms)
    };
    if waits.is_empty() {
        return Err(if selection.wakers { Empty::NoWakers } else { Empty::NothingBlocked });
    }
    let (waits, idle_left_out_ns) = select::select(waits, selection)?;
    let mut rows = BTreeMap::<Vec<Frame<'r>>, StackRow<'r>>::new();
    let mut total_ns = 0_u64;
    for wait in waits {
        total_ns = total_ns.saturating_add(wait.waits.total_ns);
        rows.entry(wait.frames.clone()).and_modify(|row| row.waits.merge(&wait.waits)).or_insert_with(|| StackRow {
            frames: wait.frames,
            class: wait.class,
            pid: wait.process.pid,
            comm: &wait.process.comm,
            waits: wait.waits,
        });
    }
    if i64::try_from(total_ns).is_err() {
        return Err(Empty::Impossible);
    }
    Ok(Stacks {
        rows: rows.into_values().collect(),
        total_ns,
        idle_left_out_ns,
        with_wakers: selection.wakers,
        histograms: histograms.values,
        min_wait_ns: recording.options.min_wait_ns,
    })
}
