//! The result of an examination, as text and as JSON.

use serde::Serialize;

use super::escape::escape;
use crate::model::{Host, ProbeState, ProbeStatus};

/// Schema of the JSON form.
const SCHEMA: &str = "nfslat-doctor/1";

/// What is shown: the machine, the verdict and the checks.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// The machine.
    pub host: &'a Host,
    /// True if `nfslat trace` can run.
    pub can_trace: bool,
    /// What was tried.
    #[serde(rename = "probes")]
    pub checks: &'a [ProbeStatus],
}

/// As text, the verdict first.
#[must_use]
pub fn text(report: &Report<'_>) -> String {
    let Report { host, can_trace, checks } = report;
    let limited = checks.iter().any(|check| matches!(check.state, ProbeState::Missing | ProbeState::Fallback));
    let verdict = match (can_trace, limited) {
        (true, false) => "nfslat works here.",
        (true, true) => "nfslat works here, with the limits named below.",
        (false, _) => "nfslat cannot trace here.",
    };
    let mut text = format!("{verdict} {}, Linux {}\n\n", escape(&host.hostname), escape(&host.kernel));
    for check in *checks {
        text += &format!("{:<8}{:<38} {}\n", word(check.state), escape(&check.hook), escape(&check.measures));
        for (label, line) in [("", &check.detail), ("remedy: ", &check.remedy)] {
            if !line.is_empty() {
                text += &format!("        {label}{}\n", escape(line));
            }
        }
    }
    text
}

/// As JSON.
///
/// # Panics
/// Never: everything in a report has a JSON form.
#[must_use]
pub fn json(report: &Report<'_>) -> String {
    let mut value = serde_json::to_value(report).expect("a report has a JSON form");
    value["schema"] = SCHEMA.into();
    let mut text = serde_json::to_string_pretty(&value).expect("a report has a JSON form");
    text.push('\n');
    text
}

fn word(state: ProbeState) -> &'static str {
    match state {
        ProbeState::Attached | ProbeState::AttachedLate => "ok",
        ProbeState::Fallback => "limited",
        ProbeState::NotApplicable => "-",
        ProbeState::Missing => "MISSING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_of(state: ProbeState, can_trace: bool) -> String {
        let host = Host { hostname: "vm\u{1b}[31m".into(), kernel: "6.1".into(), ..Host::default() };
        let check = ProbeStatus {
            hook: "sched:sched_switch".into(),
            measures: "time".into(),
            state,
            detail: "because".into(),
            remedy: "do this".into(),
        };
        text(&Report { host: &host, can_trace, checks: &[check] })
    }

    #[test]
    fn the_verdict_comes_first_and_follows_the_checks() {
        assert!(report_of(ProbeState::Attached, true).starts_with("nfslat works here. "));
        assert!(report_of(ProbeState::Fallback, true).starts_with("nfslat works here, with the limits"));
        assert!(report_of(ProbeState::Missing, false).starts_with("nfslat cannot trace here."));
    }

    #[test]
    fn reason_and_remedy_stand_under_the_check_and_names_are_escaped() {
        let text = report_of(ProbeState::Missing, true);
        assert!(text.contains("MISSING sched:sched_switch"));
        assert!(text.contains("remedy: do this"));
        assert!(!text.contains('\u{1b}'));
    }
}
