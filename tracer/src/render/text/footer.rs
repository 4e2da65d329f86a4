//! What stands below the tables: calls in flight, what was not measured, losses, cost.

use super::{super::Style, paragraph::paragraph, table::cut};
use crate::analyse::{
    Answer,
    findings::Layer,
    units::{bytes, count, counted, duration, percent},
};

/// Characters of one reason that are shown: the kernel's own words can be long. `--json` has all.
const LONGEST: usize = 280;

pub(super) fn lines(answer: &Answer, style: Style) -> String {
    let mut text = String::new();
    text.extend(in_flight(answer, style));
    text.push_str(&notes(answer, style));
    text.push_str(&losses(answer, style));
    text.push_str(&cost(answer, style));
    text
}

fn line(label: &str, body: &str, style: Style) -> String {
    paragraph(body, &format!("{label:<14}"), "              ", style)
}

fn in_flight(answer: &Answer, style: Style) -> Option<String> {
    let oldest = answer.in_flight.first()?;
    let body = format!(
        "{} at the end, the oldest {} {} old",
        counted(answer.in_flight.len() as u64, "NFS call"),
        oldest.op,
        duration(oldest.age_ns)
    );
    Some(line("In flight", &body, style))
}

/// Findings about the measurement, but for those that stand elsewhere: above or among the losses.
fn notes(answer: &Answer, style: Style) -> String {
    answer
        .findings
        .iter()
        .filter(|finding| finding.layer == Layer::Measurement && !is_shown(finding.id))
        .map(|finding| {
            let remedy = match finding.next.trim_end_matches('.') {
                "" => String::new(),
                next => format!(" Remedy: {next}."),
            };
            line("Note", &format!("{}{remedy}", cut(&finding.claim, LONGEST)), style)
        })
        .collect()
}

fn is_shown(id: &str) -> bool {
    matches!(id, "incomplete" | "not-measured" | "measured-late" | "stall-without-pressure")
}

fn losses(answer: &Answer, style: Style) -> String {
    if answer.losses.is_empty() {
        return line("Lost", "nothing", style);
    }
    answer
        .losses
        .iter()
        .map(|loss| {
            let meaning = cut(&loss.meaning, LONGEST);
            let body = format!("{} {}: {meaning}", count(loss.count), loss.what);
            style.warning(&line("Lost", &body, style))
        })
        .collect()
}

fn cost(answer: &Answer, style: Style) -> String {
    let cost = &answer.cost;
    let wall = answer.window.duration_ns;
    let runs: Vec<_> = cost.programs.iter().filter_map(|program| Some((program.runs?, program.ns?))).collect();
    let kernel = if runs.is_empty() {
        "kernel side not counted (bpf_stats_enabled is 0)".to_owned()
    } else {
        let (runs, ns) = runs.iter().fold((0_u64, 0_u64), |(runs, ns), (more, longer)| {
            (runs.saturating_add(*more), ns.saturating_add(*longer))
        });
        format!("kernel side {} ({} of one CPU, {})", duration(ns), percent(ns, wall), counted(runs, "run"))
    };
    let body = format!(
        "{} CPU ({}), {kernel}, {} RSS, {} maps",
        duration(cost.user_cpu_ns),
        percent(cost.user_cpu_ns, wall),
        bytes(cost.rss_bytes),
        bytes(cost.map_bytes)
    );
    line("Own cost", &body, style)
}
