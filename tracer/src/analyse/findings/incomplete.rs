//! What was lost.

use super::{Effect, Finding, Layer};
use crate::analyse::{answer::Answer, units::count};

pub(super) fn find(answer: &Answer) -> Option<Finding> {
    if answer.complete {
        return None;
    }
    let total = answer.losses.iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.count));
    Some(Finding {
        id: "incomplete",
        claim: "The data is incomplete: what is shown was seen, but more may have happened.".into(),
        layer: Layer::Measurement,
        subject: "this recording".into(),
        effect: Some(Effect::number(total, "losses")),
        evidence: answer
            .losses
            .iter()
            .map(|loss| format!("{} {}: {}", count(loss.count), loss.what, loss.meaning))
            .collect(),
        refutes: Vec::new(),
        next: "trace less at a time: one process (-p), a higher --min-wait, a shorter --duration".into(),
    })
}
