//! Counting what could not be counted.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::warn;
use nfslat_common::loss::LossKind;

use crate::{
    atomic,
    maps::{LOSS_TO_LOG, LOSSES},
};

/// Counts one loss.
#[inline(always)]
pub(crate) fn count(kind: LossKind) {
    let (Some(counter), Some(to_log)) = (LOSSES.get_ptr_mut(kind as u32), LOSS_TO_LOG.get_ptr_mut(0)) else { return };
    // SAFETY: pointers from map lookups are valid for the run of the program. The entries are this CPU's own; still
    // atomic, as another program may come in between on it (an interrupt's, and on 7.x that of another task).
    unsafe {
        atomic::add(counter, 1);
        if counter.read_volatile() == 1 {
            to_log.write_volatile(kind as u32 + 1);
        }
    }
}

/// Logs the kind of loss that this CPU has seen for the first time, if there is one. The log's code is long, and
/// dear for the verifier wherever several paths lead to it: so it stands alone, in programs off the scheduler's path.
#[inline(always)]
pub(crate) fn log(ctx: &impl EbpfContext) {
    let Some(to_log) = LOSS_TO_LOG.get_ptr_mut(0) else { return };
    // SAFETY: as above.
    let number = unsafe { to_log.read_volatile() };
    if number != 0 {
        // SAFETY: as above.
        unsafe { to_log.write_volatile(0) };
        warn!(ctx, "first loss of kind {} on this CPU", number - 1);
    }
}
