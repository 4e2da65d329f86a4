//! Nothing is stalled: said only of complete data.

use super::{Effect, Finding, Layer};
use crate::analyse::{
    answer::Answer,
    classify::Group,
    units::{counted, duration, percent},
};
use crate::model::hook;

/// The finding for a recording without a stall worth naming; `unrecognised` tells that it has
/// waits worth naming that no class fits.
pub(super) fn find(answer: &Answer, unrecognised: bool) -> Option<Finding> {
    if answer.threads.is_empty() || !hook::is_measured(&answer.probes, hook::SCHED_SWITCH) {
        return None;
    }
    let stalled = answer.groups.stalled();
    let idle = answer.groups.get(Group::Idle);
    let scope = format!(
        "{} of {}, {}",
        counted(answer.threads.len() as u64, "thread"),
        counted(answer.processes.len() as u64, "process"),
        duration(answer.window.duration_ns)
    );
    let (id, claim) = if !answer.complete {
        ("no-stall-seen", format!("No stall was seen, but the data is incomplete, so this is no all-clear ({scope})."))
    } else if unrecognised {
        (
            "no-stall-seen",
            format!(
                "No stall was seen, but there are waits that were not recognised, so this is no all-clear ({scope})."
            ),
        )
    } else {
        (
            "nothing-stalled",
            format!(
                "Nothing is stalled: no process lost 1% of the time, or 100 ms at once, to storage, \
                 memory locks, memory or other kernel locks, or 5% to waiting for a CPU ({scope})."
            ),
        )
    };
    Some(Finding {
        id,
        claim,
        layer: Layer::None,
        subject: "everything traced".into(),
        effect: Some(Effect::time(stalled, answer)),
        evidence: vec![
            format!("stalled {} in all, over all threads", duration(stalled)),
            format!("idle {}, not recognised or too short to look at {}", duration(idle), unknown(answer)),
        ],
        refutes: vec!["the trouble was not there while the trace ran: trace again when it is".into()],
        next: "if something was slow in this window, look at the time on the CPU, at futexes and at \
               the network: those are shown, and are no stall by themselves"
            .into(),
    })
}

fn unknown(answer: &Answer) -> String {
    let unknown = answer.groups.get(Group::Unknown);
    let blocked = answer.threads.iter().fold(0_u64, |sum, row| sum.saturating_add(row.blocked_ns));
    format!("{} ({} of all blocked time)", duration(unknown), percent(unknown, blocked))
}
