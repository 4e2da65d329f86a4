//! Counting what could not be counted.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::warn;
use nfslat_common::loss::LossKind;

use crate::maps::LOSSES;

/// Counts one loss.
#[inline(always)]
pub(crate) fn count(kind: LossKind) {
    let _ = add_one(kind);
}

/// Counts one loss, and logs the first of its kind on each CPU. For programs off the scheduler's
/// path: the log's code is long.
#[inline(always)]
pub(crate) fn count_and_log(ctx: &impl EbpfContext, kind: LossKind) {
    if add_one(kind) == Some(1) {
        warn!(ctx, "first loss of kind {} on this CPU", kind as u32);
    }
}

#[inline(always)]
fn add_one(kind: LossKind) -> Option<u64> {
    let counter = LOSSES.get_ptr_mut(kind as u32)?;
    // SAFETY: a pointer from a map lookup is valid for the run of the program, and the entry is
    // this CPU's own.
    unsafe {
        *counter += 1;
        Some(*counter)
    }
}
