//! Function names as compilers leave them in the kernel's symbol table, and functions that occur
//! in stacks of all kinds and so say nothing.

/// A function's name without what compilers and linkers append to copies and parts of it:
/// `do_select.constprop.0`, `__mutex_lock.isra.0`, `filemap_fault.part.0`, `mm_fault.cold`,
/// `schedule.llvm.1234`. (C names contain no dot, so the first one starts the suffix.)
#[must_use]
pub(in crate::analyse) fn base_name(symbol: &str) -> &str {
    match symbol.find('.') {
        Some(dot) if dot > 0 => &symbol[..dot],
        _ => symbol,
    }
}

/// The scheduler's frames, with which every stack of a sleeper begins, and the tracer's own. They
/// say that a thread sleeps, not for what.
const SCHEDULER: &[&str] = &[
    "__schedule",
    "schedule",
    "schedule_preempt_disabled",
    "schedule_rtlock",
    "rt_mutex_schedule",
    "io_schedule",
    "io_schedule_timeout",
    "schedule_timeout",
    "schedule_timeout_idle",
    "schedule_timeout_interruptible",
    "schedule_timeout_killable",
    "schedule_timeout_uninterruptible",
    "schedule_hrtimeout",
    "schedule_hrtimeout_range",
    "schedule_hrtimeout_range_clock",
    "usleep_range_state",
    "msleep",
    "msleep_interruptible",
    "freezable_schedule",
    "freezable_schedule_timeout",
];
const TRACER_PREFIXES: &[&str] = &["bpf_", "__bpf_", "__traceiter_", "trace_event_raw_event_"];

/// Functions that wait for something their caller chose: bits, completions, wait queues, and the
/// entries of sleeping locks.
const WRAPPERS: &[&str] = &[
    "__wait_for_common",
    "__wait_on_bit",
    "__wait_on_bit_lock",
    "bit_wait",
    "bit_wait_io",
    "bit_wait_io_timeout",
    "bit_wait_timeout",
    "do_wait_for_common",
    "do_wait_intr",
    "do_wait_intr_irq",
    "down",
    "down_interruptible",
    "down_killable",
    "down_read",
    "down_read_interruptible",
    "down_read_killable",
    "down_read_nested",
    "down_timeout",
    "down_write",
    "down_write_killable",
    "down_write_killable_nested",
    "down_write_nested",
    "__down_read",
    "__down_read_common",
    "__down_read_killable",
    "__down_write",
    "__down_write_common",
    "__down_write_killable",
    "mmap_read_lock",
    "mmap_read_lock_killable",
    "mmap_write_lock",
    "mmap_write_lock_killable",
    "mutex_lock",
    "mutex_lock_interruptible",
    "mutex_lock_io",
    "mutex_lock_killable",
    "mutex_lock_nested",
    "__mutex_lock_interruptible_slowpath",
    "__mutex_lock_killable_slowpath",
    "__mutex_lock_slowpath",
    "out_of_line_wait_on_bit",
    "out_of_line_wait_on_bit_lock",
    "out_of_line_wait_on_bit_timeout",
    "percpu_down_write",
    "__percpu_down_read",
    "rt_mutex_lock",
    "wait_for_common",
    "wait_for_common_io",
    "wait_for_completion",
    "wait_for_completion_interruptible",
    "wait_for_completion_interruptible_timeout",
    "wait_for_completion_io",
    "wait_for_completion_io_timeout",
    "wait_for_completion_killable",
    "wait_for_completion_killable_timeout",
    "wait_for_completion_state",
    "wait_for_completion_timeout",
    "wait_woken",
];

/// True for the scheduler's and the tracer's frames.
#[must_use]
pub(super) fn is_scheduler(function: &str) -> bool {
    SCHEDULER.contains(&function) || TRACER_PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}

/// True for functions that wait on behalf of their caller.
#[must_use]
pub(super) fn is_wrapper(function: &str) -> bool {
    WRAPPERS.contains(&function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_dropped() {
        for (symbol, base) in [
            ("__mutex_lock.constprop.0", "__mutex_lock"),
            ("do_poll.constprop.0.isra.0", "do_poll"),
            ("filemap_fault.part.0", "filemap_fault"),
            ("jbd2_log_wait_commit.cold", "jbd2_log_wait_commit"),
            ("shrink_node.llvm.8329473", "shrink_node"),
            ("do_exit", "do_exit"),
            ("0xffffffff81000000", "0xffffffff81000000"),
            ("", ""),
            (".text", ".text"),
        ] {
            assert_eq!(base_name(symbol), base);
        }
    }
}
