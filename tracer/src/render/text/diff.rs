//! A comparison as text: first what it comes to, then operation by operation.

use super::{super::Style, clock, paragraph::paragraph, table::Table};
use crate::analyse::{
    diff::{CallRow, Diff, Difference, Mode, Shift, Side},
    units::{count, counted, duration, short_duration},
};

/// Operations shown.
const ROWS: usize = 12;

/// The comparison as text.
#[must_use]
pub fn render(diff: &Diff, style: Style) -> String {
    let sections =
        [header(diff, style), found(diff, style), calls(diff, style), stalls(diff, style), rest(diff, style)];
    let shown: Vec<_> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    shown.join("\n")
}

fn header(diff: &Diff, style: Style) -> String {
    let side = |side: &Side| {
        format!(
            "{}, Linux {}, {} from {}",
            side.host.hostname,
            side.host.kernel,
            duration(side.window.duration_ns),
            clock::utc(side.window.start_unix_ns)
        )
    };
    let (a, b) = match diff.mode {
        Mode::TwoHosts => ("A: ", "B: "),
        Mode::SameHost => ("A, before: ", "B, after: "),
    };
    let lines = [(a, &diff.a), (b, &diff.b)];
    lines.map(|(name, of)| paragraph(&side(of), &format!("nfslat diff {name}"), "            ", style)).concat()
}

fn found(diff: &Diff, style: Style) -> String {
    let conclusion = &diff.conclusion;
    let mut text = style.strong(&paragraph(&conclusion.claim, "", "", style));
    if !diff.complete() {
        let lost = "what is shown was seen, but more may have happened.";
        text.push_str(&style.warning(&paragraph(lost, "INCOMPLETE DATA: ", "  ", style)));
    }
    for evidence in &conclusion.evidence {
        text.push_str(&paragraph(evidence, "  seen    ", "          ", style));
    }
    for refutation in &conclusion.refutes {
        text.push_str(&style.faint(&paragraph(refutation, "  unless  ", "          ", style)));
    }
    if !conclusion.next.is_empty() {
        text.push_str(&paragraph(&conclusion.next, "  next    ", "          ", style));
    }
    text
}

fn calls(diff: &Diff, style: Style) -> String {
    let mut text = String::new();
    for place in &diff.places {
        let mut table = Table::new(&[
            "<NFS CALLS",
            "A done",
            "B done",
            "A p50",
            "B p50",
            "shift",
            "<95% interval",
            "to reply",
            "<verdict",
        ]);
        let here: Vec<&CallRow> = diff.calls.iter().filter(|row| row.source == place.source).collect();
        for row in here.iter().take(ROWS) {
            let of = |shift: Option<Shift>, cell: fn(Shift) -> String| shift.map_or_else(|| "-".to_owned(), cell);
            table.row([
                row.op.clone(),
                count(row.a_count),
                count(row.b_count),
                of(row.execute_p50, |whole| short_duration(whole.a_ns)),
                of(row.execute_p50, |whole| short_duration(whole.b_ns)),
                of(row.execute_p50, |whole| signed(whole.shift_ns)),
                of(row.execute_p50, |whole| format!("{} to {}", signed(whole.low_ns), signed(whole.high_ns))),
                of(row.rtt_p50, |rtt| signed(rtt.shift_ns)),
                verdict(row.verdict).to_owned(),
            ]);
        }
        let mounts = if place.a_mount == place.b_mount {
            place.a_mount.clone()
        } else {
            format!("{} and {}", place.a_mount, place.b_mount)
        };
        text.push_str(&paragraph(&format!("{} ({mounts})", place.source), "", "  ", style));
        text.push_str(&table.render(style));
        if here.len() > ROWS {
            text.push_str(&format!("{} more\n", counted((here.len() - ROWS) as u64, "operation")));
        }
    }
    if !diff.only_in_one.is_empty() {
        let named: Vec<_> = diff
            .only_in_one
            .iter()
            .take(ROWS)
            .map(|row| format!("{} {} ({} and {})", row.op, row.source, count(row.a_count), count(row.b_count)))
            .collect();
        let more = diff.only_in_one.len().saturating_sub(ROWS);
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        text.push_str(&paragraph(&format!("Only in one, not compared: {}{more}.", named.join(", ")), "", "  ", style));
    }
    text
}

fn stalls(diff: &Diff, style: Style) -> String {
    if diff.stalls.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["<THREADS STALLED AT ONCE", "A", "B"]);
    for row in &diff.stalls {
        table.row([row.group.title().to_owned(), format!("{:.2}", row.a_at_once), format!("{:.2}", row.b_at_once)]);
    }
    table.render(style)
}

/// What is set differently, and what each says by itself.
fn rest(diff: &Diff, style: Style) -> String {
    let mut text = String::new();
    for setting in &diff.configuration {
        let or_none = |value: &str| if value.is_empty() { "(nothing)".to_owned() } else { value.to_owned() };
        let words = format!("{}: {} and {}", setting.name, or_none(&setting.a), or_none(&setting.b));
        text.push_str(&paragraph(&words, "Different     ", "              ", style));
    }
    if diff.configuration.is_empty() {
        text.push_str("Different     nothing of what is recorded: mounts, transports, kernel, CPUs, memory\n");
    }
    for (name, side) in [("A by itself   ", &diff.a), ("B by itself   ", &diff.b)] {
        text.push_str(&paragraph(&side.claim, name, "              ", style));
    }
    text
}

fn signed(ns: i64) -> String {
    let text = short_duration(ns.unsigned_abs());
    match ns {
        0 => text,
        1.. => format!("+{text}"),
        _ => format!("-{text}"),
    }
}

fn verdict(of: Difference) -> &'static str {
    match of {
        Difference::Slower => "B slower",
        Difference::Faster => "A slower",
        Difference::None => "no difference",
        Difference::NotEnoughData => "not enough data",
    }
}
