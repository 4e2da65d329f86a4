//! Stalls that no pressure file shows: whoever watches these files misses them.

use super::{Effect, Finding, Layer};
use crate::analyse::{
    answer::Answer,
    pressure::Fed,
    units::{duration, percent},
};
use crate::model::PressureLine;

/// Worth naming from this share of the window on, ..
const SHARE_OF_WALL: f64 = 0.01;

/// .. if it is this share of the stalls.
const SHARE_OF_STALL: f64 = 0.2;

/// Classes listed.
const LISTED: usize = 4;

pub(super) fn find(answer: &Answer) -> Option<Finding> {
    let explained = &answer.pressure_explained;
    let files = answer.pressure?;
    let (stalled, unshown) = (explained.stalled_ns, &explained.not_shown);
    let wall = answer.window.duration_ns;
    let matters = |share: f64, whole: u64| unshown.total_ns as f64 >= share * whole as f64;
    if unshown.total_ns == 0 || !matters(SHARE_OF_WALL, wall) || !matters(SHARE_OF_STALL, stalled) {
        return None;
    }
    let line = |name: &str, line: PressureLine| format!("{name} some {}", percent(line.some_ns, wall));
    Some(Finding {
        id: "stall-without-pressure",
        claim: format!(
            "{} of the {} that threads were blocked in stalls ({}) shows in no pressure file: {}.",
            duration(unshown.total_ns),
            duration(stalled),
            percent(unshown.total_ns, stalled),
            classes(unshown)
        ),
        layer: Layer::Measurement,
        subject: "pressure files".into(),
        effect: Some(Effect::time(unshown.total_ns, answer)),
        evidence: vec![
            format!("these waits are neither in iowait nor memory stalls: {}", duration(unshown.total_ns)),
            format!(
                "feeding io (iowait): {}; feeding memory: {}; ready to run, feeding cpu: {}",
                classes(&explained.io),
                classes(&explained.memory),
                duration(explained.runnable_ns)
            ),
            format!(
                "the files: {}; {}; {}",
                line("cpu", files.cpu),
                line("memory", files.memory),
                line("io", files.io)
            ),
        ],
        refutes: vec!["the total of a pressure file grows whenever these waits happen and nothing else waits".into()],
        next: "do not judge these waits by /proc/pressure, low or high: what it shows comes from other waits".into(),
    })
}

fn classes(fed: &Fed) -> String {
    if fed.classes.is_empty() {
        return "nothing".into();
    }
    let mut names: Vec<_> = fed
        .classes
        .iter()
        .take(LISTED)
        .map(|time| format!("{} {}", time.class.name(), duration(time.total_ns)))
        .collect();
    match fed.classes.len().saturating_sub(LISTED) {
        0 => {}
        more => names.push(format!("{more} more")),
    }
    names.join(", ")
}
