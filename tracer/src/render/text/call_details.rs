//! What is remarkable in the calls of one operation, a line each: where they waited before they were sent, what followed
//! the reply, errors by name, calls sent again.

use super::paragraph::paragraph;
use crate::analyse::{
    answer::{RpcRow, StepRow},
    units::{count, counted, duration, percent},
};
use crate::model::RpcStep;
use crate::render::{Style, escape::escape};

/// Steps that make up this share of an operation's time are worth a line, if they are this share of the window too.
const SHARE: f64 = 0.1;
const SHARE_OF_WINDOW: f64 = 0.01;

/// Errors named.
const ERRORS: usize = 4;

/// The lines; none if there is nothing remarkable.
pub(super) fn lines(row: &RpcRow, window_ns: u64, style: Style) -> String {
    let queues = steps(row, true, window_ns).map(|text| format!("before sending: {text}"));
    let after = steps(row, false, window_ns).map(|text| format!("after the reply: {text}"));
    let parts = [queues, after, errors(row), resent(row)];
    parts.iter().flatten().map(|text| paragraph(text, "    ", "      ", style)).collect()
}

/// The name of a step for people.
pub(super) const fn name(step: RpcStep) -> &'static str {
    match step {
        RpcStep::SessionSlot => "session slot",
        RpcStep::XprtSlot => "transport slot",
        RpcStep::SendLock => "send lock",
        RpcStep::Connect => "connecting",
        RpcStep::Security => "security context",
        RpcStep::Delay => "delay the server asked for",
        RpcStep::Recovery => "recovery of client state",
        RpcStep::Sequence => "another open or lock",
        RpcStep::Other => "another queue",
        RpcStep::Receive => "receiving the rest",
        RpcStep::Wake => "waking the waiter",
    }
}

fn steps(row: &RpcRow, before: bool, window_ns: u64) -> Option<String> {
    let steps: Vec<&StepRow> = row.steps.iter().filter(|step| step.step.is_queue() == before).collect();
    let all = steps.iter().fold(0_u64, |sum, step| sum.saturating_add(step.total_ns));
    let spent = row.spent_ns();
    if all == 0 || (all as f64) < (SHARE * spent as f64).max(SHARE_OF_WINDOW * window_ns as f64) {
        return None;
    }
    let worth = steps.iter().filter(|step| step.total_ns as f64 >= SHARE * all as f64);
    let words: Vec<_> = worth
        .map(|step| {
            format!(
                "{} {} ({}) of {}{}",
                name(step.step),
                duration(step.total_ns),
                percent(step.total_ns, spent),
                counted(step.count, "call"),
                step.p99.map(|p99| format!(", p99 {}", duration(p99))).unwrap_or_default(),
            )
        })
        .collect();
    Some(words.join("; "))
}

fn errors(row: &RpcRow) -> Option<String> {
    let named =
        row.errors_by_name.iter().take(ERRORS).map(|error| format!("{} {}", escape(&error.name), count(error.count)));
    let named: Vec<_> = named.collect();
    let more = row.errors_by_name.len().saturating_sub(ERRORS);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("errors: {}{more}", named.join(", ")))
}

fn resent(row: &RpcRow) -> Option<String> {
    let resent = row.resent.as_ref()?;
    Some(format!(
        "sent more than once, not in the times above: {}, execute p50 {}, max {}",
        counted(resent.count, "call"),
        duration(resent.execute_ns.p50),
        duration(resent.execute_ns.max)
    ))
}
