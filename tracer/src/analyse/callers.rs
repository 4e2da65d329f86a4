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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Process, Slice, Thread, UserStack, WaitSeries, WaitSlice, WakeSeries};

    fn recording() -> Recording {
        let process = |pid, comm: &str| Process { pid, comm: comm.into(), ..Process::default() };
        let frame = |function: &str, module: &str, offset| UserFrame {
            function: function.into(),
            module: module.into(),
            offset,
        };
        let wait = |thread, user_stack| WaitSeries { thread, user_stack, ..WaitSeries::default() };
        let ended = |wait, count, total_ns| WaitSlice { wait, count, total_ns };
        let wake = |waker_comm: &str, interrupt, total_ns| WakeSeries {
            waker_pid: 9,
            waker_comm: waker_comm.into(),
            interrupt,
            count: 1,
            total_ns,
            ..WakeSeries::default()
        };
        Recording {
            processes: vec![process(1, "a"), process(2, "b")],
            threads: [0, 0, 1].map(|process| Thread { process, ..Thread::default() }).to_vec(),
            user_stacks: vec![
                UserStack { frames: vec![frame("f", "/x", 1), frame("", "/x", 0x20)], cut: String::new() },
                UserStack { frames: vec![frame("", "", 0x30)], cut: "why".into() },
            ],
            waits: vec![wait(0, Some(0)), wait(1, Some(0)), wait(2, Some(1)), wait(2, None)],
            slices: vec![Slice {
                waits: vec![ended(0, 1, 10), ended(1, 2, 20), ended(2, 4, 100), ended(3, 8, 1000)],
                ..Slice::default()
            }],
            wakes: vec![wake("w", false, 5), wake("w", false, 6), wake("w", true, 7)],
            ..Recording::default()
        }
    }

    #[test]
    fn threads_of_a_process_share_a_stack_and_the_most_comes_first() {
        let found = user_stacks(&recording());
        assert_eq!((found.distinct, found.waits), (2, 7));
        let rows: Vec<_> = found.most.iter().map(|row| (row.pid, row.count, row.total_ns)).collect();
        assert_eq!(rows, [(2, 4, 100), (1, 3, 30)]);
        assert_eq!(found.most[0].frames, ["0x30"]);
        assert_eq!(found.most[0].cut.as_deref(), Some("why"));
        assert_eq!(found.most[1].frames, ["f", "/x+0x20"]);
        assert_eq!(found.most[1].cut, None);
    }

    #[test]
    fn an_interrupt_is_not_the_thread_it_came_upon() {
        let rows: Vec<_> =
            wakers(&recording()).iter().map(|row| (row.waker_pid, row.interrupt, row.count, row.total_ns)).collect();
        assert_eq!(rows, [(9, false, 2, 11), (9, true, 1, 7)]);
    }
}
