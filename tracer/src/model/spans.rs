//! When waits were, for what sums cannot tell: how much of the window *some* thread waited.

use serde::{Deserialize, Serialize};

/// A stretch of time, from the start of the window, in ns: begin and end.
pub type Span = (u64, u64);

/// When the waits of one process with one stack were that ended in one slice. Where several of its threads waited
/// at once, or one right after the other, their waits are one stretch.
///
/// Stretches are kept as two columns of small numbers, which compress well: what lies between one and the one
/// before, and how long it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanSlice {
    /// Index into the recording's `processes`.
    pub process: u32,
    /// Index into the recording's `stacks`; `None`: the kernel gave no stack.
    pub stack: Option<u32>,
    /// `nfslat_common::sched::wait_flags`, but for those that tell of the window's edges.
    pub flags: u32,
    /// Number of waits in the stretches.
    pub count: u64,
    /// Sum of their lengths, those at the same time included.
    pub total_ns: u64,
    /// From the end of the stretch before (of the start of the window, for the first) to the begin of each.
    pub gaps_ns: Vec<u64>,
    /// Length of each.
    pub lengths_ns: Vec<u64>,
}

impl SpanSlice {
    /// Adds a stretch, which must begin after the last one.
    pub fn push(&mut self, last_end_ns: u64, (begin_ns, end_ns): Span) {
        self.gaps_ns.push(begin_ns.saturating_sub(last_end_ns));
        self.lengths_ns.push(end_ns.saturating_sub(begin_ns));
    }

    /// The stretches, in order.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        let mut at_ns = 0_u64;
        self.gaps_ns.iter().zip(&self.lengths_ns).map(move |(gap_ns, length_ns)| {
            let begin_ns = at_ns.saturating_add(*gap_ns);
            at_ns = begin_ns.saturating_add(*length_ns);
            (begin_ns, at_ns)
        })
    }
}
