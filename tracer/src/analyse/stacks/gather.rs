//! All waits of a recording with their frames.

use std::collections::HashMap;

use nfslat_common::sched::wait_flags;

use super::{
    Frame, FrameKind, Waits,
    frames::{push_kernel, push_user},
};
use crate::{
    analyse::{
        account::{Verdicts, wait_sums},
        classify::Class,
    },
    model::{Histogram, Process, Recording, Thread, WaitSeries},
};

/// Waits of one thread, or of several threads of one process, before they are merged by frames.
pub(super) struct Wait<'r> {
    pub(super) frames: Vec<Frame<'r>>,
    pub(super) class: Class,
    pub(super) process: &'r Process,
    /// Who waited; `None` if only the process is known.
    pub(super) thread: Option<&'r Thread>,
    pub(super) waits: Waits,
}

/// The recording's histograms: one per process, kernel stack and flags.
pub(super) struct Histograms {
    pub(super) values: Vec<Histogram>,
    indices: HashMap<(u32, Option<u32>, u32), usize>,
}

impl Histograms {
    pub(super) fn of(recording: &Recording) -> Self {
        let mut this = Self { values: Vec::new(), indices: HashMap::new() };
        for part in recording.slices.iter().flat_map(|slice| &slice.wait_histograms) {
            let next = this.values.len();
            let index = *this.indices.entry((part.process, part.stack, part.flags)).or_insert(next);
            if index == next {
                this.values.push(Histogram::default());
            }
            this.values[index].merge(&part.histogram);
        }
        this
    }

    pub(super) fn index(&self, process: u32, stack: Option<u32>, flags: u32) -> Option<usize> {
        self.indices.get(&(process, stack, flags)).copied()
    }
}

/// All blocked time of all threads, `threads` with a level for the thread.
pub(super) fn gather<'r>(recording: &'r Recording, threads: bool, histograms: &mut Histograms) -> Vec<Wait<'r>> {
    let mut verdicts = Verdicts::new(recording);
    let mut waits = Vec::new();
    let mut attributed = vec![0_u64; recording.threads.len()];
    let wait = |thread: &'r Thread, class, frames: Vec<Frame<'r>>, waits| {
        let process = &recording.processes[thread.process as usize];
        let mut outer = vec![Frame::process(process)];
        outer.extend(threads.then(|| Frame::thread(thread)));
        outer.extend(frames);
        Wait { frames: outer, class, process, thread: Some(thread), waits }
    };
    for (series, (count, total_ns)) in recording.waits.iter().zip(wait_sums(recording)) {
        if total_ns == 0 {
            continue;
        }
        let thread = &recording.threads[series.thread as usize];
        let verdict = verdicts.of_series(series);
        let sum = &mut attributed[series.thread as usize];
        *sum = sum.saturating_add(total_ns);
        let mut frames = Vec::new();
        push_stacks(&mut frames, recording, series);
        frames.push(Frame::class(&verdict));
        let sums = Waits {
            total_ns,
            count,
            short_count: 0,
            max_ns: series.max_ns,
            histograms: histograms.index(thread.process, series.stack, series.flags).into_iter().collect(),
        };
        waits.push(wait(thread, verdict.class, frames, sums));
    }
    for (thread, attributed) in recording.threads.iter().zip(attributed) {
        let times = &thread.times;
        let short = Waits {
            total_ns: times.short_ns,
            count: times.short_count,
            short_count: times.short_count,
            ..Waits::default()
        };
        let rest_ns = times.blocked_ns.saturating_sub(attributed.saturating_add(times.short_ns));
        let rest = Waits { total_ns: rest_ns, ..Waits::default() };
        for (class, name, sums) in
            [(Class::Short, "[short waits]", short), (Class::Unattributed, "[not attributed: see losses]", rest)]
        {
            if sums.total_ns > 0 {
                waits.push(wait(thread, class, vec![Frame::new(FrameKind::Note, name)], sums));
            }
        }
    }
    waits
}

fn push_stacks<'r>(frames: &mut Vec<Frame<'r>>, recording: &'r Recording, series: &WaitSeries) {
    match series.user_stack {
        Some(stack) => push_user(frames, &recording.user_stacks[stack as usize]),
        None if recording.user_stacks.is_empty() || series.flags & wait_flags::KERNEL_THREAD != 0 => {}
        None => frames.push(Frame::new(FrameKind::Note, "[user stack not taken]")),
    }
    if let Some(stack) = series.stack {
        push_kernel(frames, &recording.stacks[stack as usize]);
    }
}
