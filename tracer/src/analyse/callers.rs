//! Where in the programs waits began, and who ended the long ones.

use std::collections::HashMap;

use super::answer::{UserStackRow, UserStacks, WakerRow};
use crate::model::{Recording, UserFrame};

/// User stacks listed; a recording has all of them.
const LISTED: usize = 100;

/// Waits by process and user stack, most time first.
pub(super) fn user_stacks(recording: &Recording) -> UserStacks {
    let mut sums: HashMap<(u32, u32), (u64, u64)> = HashMap::new();
    for ended in recording.slices.iter().flat_map(|slice| &slice.waits) {
        let wait = &recording.waits[ended.wait as usize];
        let Some(stack) = wait.user_stack else { continue };
        let process = recording.threads[wait.thread as usize].process;
        let (count, total_ns) = sums.entry((process, stack)).or_default();
        *count = count.saturating_add(ended.count);
        *total_ns = total_ns.saturating_add(ended.total_ns);
    }
    let waits = sums.values().fold(0_u64, |sum, (count, _)| sum.saturating_add(*count));
    let mut order: Vec<_> = sums.into_iter().collect();
    order.sort_unstable_by_key(|(key, (_, total_ns))| (std::cmp::Reverse(*total_ns), *key));
    let listed = order.into_iter().take(LISTED).map(|((process, stack), (count, total_ns))| {
        let (process, stack) = (&recording.processes[process as usize], &recording.user_stacks[stack as usize]);
        UserStackRow {
            pid: process.pid,
            comm: process.comm.clone(),
            count,
            total_ns,
            frames: stack.frames.iter().map(frame).collect(),
            cut: (!stack.cut.is_empty()).then(|| stack.cut.clone()),
        }
    });
    UserStacks { distinct: recording.user_stacks.len() as u64, waits, most: listed.collect() }
}

/// Ends of long waits by who waited and who woke, most time first.
pub(super) fn wakers(recording: &Recording) -> Vec<WakerRow> {
    let mut rows: HashMap<(u32, u32, &str, bool), WakerRow> = HashMap::new();
    for wake in &recording.wakes {
        let process = &recording.processes[wake.process as usize];
        let row =
            rows.entry((wake.process, wake.waker_pid, &wake.waker_comm, wake.interrupt)).or_insert_with(|| WakerRow {
                pid: process.pid,
                comm: process.comm.clone(),
                waker_pid: wake.waker_pid,
                waker_comm: wake.waker_comm.clone(),
                interrupt: wake.interrupt,
                count: 0,
                total_ns: 0,
            });
        row.count = row.count.saturating_add(wake.count);
        row.total_ns = row.total_ns.saturating_add(wake.total_ns);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_unstable_by(|a, b| {
        let key = |row: &WakerRow| (std::cmp::Reverse(row.total_ns), row.pid, row.waker_pid, row.interrupt);
        key(a).cmp(&key(b)).then_with(|| a.waker_comm.cmp(&b.waker_comm))
    });
    rows
}

/// A function, or a place in a file, or an address.
fn frame(frame: &UserFrame) -> String {
    match (frame.function.is_empty(), frame.module.is_empty()) {
        (false, _) => frame.function.clone(),
        (true, false) => format!("{}+{:#x}", frame.module, frame.offset),
        (true, true) => format!("{:#x}", frame.offset),
    }
}
