//! Waits that no class fits: shown, since a stall may hide in them.

use super::{Effect, Finding, Layer, named};
use crate::analyse::{
    answer::{Answer, Evidence, WaitRow},
    classify::Class,
    units::{counted, duration},
};

/// One process's unrecognised waits are worth naming from this share of the window on.
const SHARE_WORTH_NAMING: f64 = 0.01;

pub(super) fn find(answer: &Answer) -> Option<Finding> {
    let limit = SHARE_WORTH_NAMING * answer.window.duration_ns as f64;
    let rows: Vec<_> = answer
        .waits
        .iter()
        .filter(|row| is_unrecognised(row.class) && row.total_ns as f64 >= limit && row.total_ns > 0)
        .collect();
    let worst = rows.first()?;
    let total = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.total_ns));
    Some(Finding {
        id: "unrecognised-waits",
        claim: format!(
            "{} of waiting in {} was not recognised by its kernel stack, most of it in {}.",
            duration(total),
            counted(rows.len() as u64, "process"),
            named(&worst.comm, worst.pid)
        ),
        layer: Layer::Measurement,
        subject: named(&worst.comm, worst.pid),
        effect: Some(Effect::time(total, answer)),
        evidence: rows.iter().take(5).map(|row| describe(row)).collect(),
        refutes: Vec::new(),
        next: String::new(),
    })
}

/// Short waits are not in it: nobody looked at their stacks.
const fn is_unrecognised(class: Class) -> bool {
    matches!(class, Class::Unknown | Class::NoStack | Class::Unattributed)
}

fn describe(row: &WaitRow) -> String {
    let stack = row.detail.evidence.first().map(Evidence::frames);
    let stack = stack.filter(|stack| !stack.is_empty()).unwrap_or_else(|| "no stack".into());
    format!("{}: {}, mostly {stack}", named(&row.comm, row.pid), duration(row.total_ns))
}
