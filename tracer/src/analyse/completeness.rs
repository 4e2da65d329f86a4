//! What is missing from a recording. Whatever is listed here keeps the answer from being called
//! complete, but for names.

use crate::model::{Loss, ProbeState, Recording};

/// Threads named in a loss.
const NAMED: usize = 3;

/// Losses that cost names, and no number and no class.
const NAMES_ONLY: [&str; 1] = [Loss::UNRESOLVED_USER_FRAMES];

/// True if no number and no class suffers from these losses.
pub(super) fn is_complete(losses: &[Loss]) -> bool {
    losses.iter().all(|loss| NAMES_ONLY.contains(&loss.what.as_str()))
}

/// The losses of a recording: what the tracer counted, measurements that did not or not always
/// run, and threads whose states do not add up.
pub(super) fn losses(recording: &Recording, gaps: &[String]) -> Vec<Loss> {
    let mut losses: Vec<_> = recording.losses.iter().filter(|loss| loss.count > 0).cloned().collect();
    for probe in &recording.probes {
        let what = match probe.state {
            ProbeState::Missing => "probe-missing",
            ProbeState::AttachedLate => "probe-late",
            ProbeState::Attached | ProbeState::Fallback | ProbeState::NotApplicable => continue,
        };
        let how = match probe.state {
            ProbeState::Missing => "not measured",
            _ => "measured for a part of the window only",
        };
        let reasons = [probe.detail.as_str(), probe.remedy.as_str()];
        let why: Vec<_> = reasons.into_iter().filter(|text| !text.is_empty()).collect();
        let meaning = format!("{} ({}) {how}: {}", probe.measures, probe.hook, why.join("; "));
        losses.push(Loss { what: what.into(), count: 1, meaning });
    }
    if !gaps.is_empty() {
        losses.push(Loss {
            what: "accounting-gap".into(),
            count: gaps.len() as u64,
            meaning: format!(
                "threads whose times do not add up to the time they were traced: {}{}",
                gaps[..gaps.len().min(NAMED)].join(", "),
                if gaps.len() > NAMED { ", ..." } else { "" }
            ),
        });
    }
    losses
}
