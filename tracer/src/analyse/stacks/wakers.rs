//! Long waits with the stack of who ended them on top, as bcc's offwaketime draws them.

use super::{
    Frame, FrameKind, Waits,
    frames::{named, push_kernel, push_waker},
    gather::{Histograms, Wait},
};
use crate::{
    analyse::account::Verdicts,
    model::{Recording, WakeSeries},
};

/// Every wait whose end was seen: process, kernel frames, class, `--`, the waker's frames from the
/// wake-up outwards, the waker.
pub(super) fn gather<'r>(recording: &'r Recording, histograms: &mut Histograms) -> Vec<Wait<'r>> {
    let mut verdicts = Verdicts::new(recording);
    recording
        .wakes
        .iter()
        .filter(|wake| wake.total_ns > 0)
        .map(|wake| {
            let process = &recording.processes[wake.process as usize];
            let verdict = verdicts.of(wake.stack, wake.flags);
            let mut frames = vec![Frame::process(process)];
            if let Some(stack) = wake.stack {
                push_kernel(&mut frames, &recording.stacks[stack as usize]);
            }
            frames.push(Frame::class(verdict));
            frames.push(Frame::new(FrameKind::Boundary, "--"));
            match wake.waker_stack {
                Some(stack) => push_waker(&mut frames, &recording.stacks[stack as usize], wake.interrupt),
                None => frames.push(Frame::new(FrameKind::Note, "[waker's stack not taken]")),
            }
            frames.push(waker(wake));
            let waits = Waits {
                total_ns: wake.total_ns,
                count: wake.count,
                histograms: histograms.index(wake.process, wake.stack, wake.flags).into_iter().collect(),
                // The longest is known only of all waits with this stack.
                max_ns: u64::MAX,
                ..Waits::default()
            };
            Wait { frames, class: verdict.class, process, thread: None, waits }
        })
        .collect()
}

/// Who ended the wait. An interrupt comes on the time of a thread that has nothing to do with it.
fn waker(wake: &WakeSeries) -> Frame<'_> {
    let name = if wake.interrupt {
        "woken by an interrupt".into()
    } else if wake.waker_pid == 0 {
        "woken by an idle CPU".into()
    } else {
        format!("woken by {}", named(&wake.waker_comm, wake.waker_pid))
    };
    Frame::new(FrameKind::Waker, name)
}
