//! The answer as text, on one screen: first what was found, then the numbers it rests on.

mod call_details;
pub(super) mod clock;
pub mod diff;
mod file_ops;
mod footer;
mod identity;
mod locks;
mod nfs;
mod paragraph;
mod pressure;
mod some_thread;
mod table;
mod threads;
mod transports;

use super::Style;
use crate::analyse::{
    Answer,
    findings::{Finding, Layer},
    units::{counted, duration},
};
use crate::model::Options;
use paragraph::paragraph;

/// The answer as text.
#[must_use]
pub fn render(answer: &Answer, style: Style) -> String {
    let sections = [
        header(answer, style),
        found(answer, style),
        threads::groups(answer, style),
        pressure::block(answer, style),
        threads::processes(answer, style),
        locks::table(answer, style),
        identity::lines(answer, style),
        file_ops::table(answer, style),
        file_ops::files(answer, style),
        nfs::tables(answer, style),
        transports::table(answer, style),
        footer::lines(answer, style),
    ];
    let mut text = String::new();
    for section in sections.iter().filter(|section| !section.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(section);
    }
    text
}

/// Which machine, when, and what was asked for.
fn header(answer: &Answer, style: Style) -> String {
    let host = &answer.host;
    let window = &answer.window;
    let mut words = vec![
        format!("{}, Linux {}, {}", host.hostname, host.kernel, counted(host.cpus.into(), "CPU")),
        format!("{} from {}", duration(window.duration_ns), clock::utc(window.start_unix_ns)),
    ];
    if window.stopped_early {
        words.push("stopped early".into());
    }
    words.extend(filters(&answer.options));
    paragraph(&words.join("; "), "nfslat: ", "        ", style)
}

/// What the recording was limited to.
pub(super) fn filters(options: &Options) -> Vec<String> {
    let mut filters = Vec::new();
    let mut add = |what: &str, value: Option<String>| {
        filters.extend(value.map(|value| format!("only {what} {value}")));
    };
    add("pid", options.pid.map(|pid| pid.to_string()));
    add("threads named", options.comm.clone());
    add("cgroup", options.cgroup.clone());
    add("NFS calls of", options.mount.clone());
    if !options.command.is_empty() {
        let code = match options.command_exit_code {
            Some(code) => format!(" (exit code {code})"),
            None => String::new(),
        };
        filters.push(format!("only `{}`{code}", options.command.join(" ")));
    }
    filters
}

/// The first finding with its evidence, the claims of the others. Findings about the measurement
/// are left to the footer, unless there are no others.
fn found(answer: &Answer, style: Style) -> String {
    let is_result = |finding: &&Finding| finding.layer != Layer::Measurement;
    let mut results: Vec<_> = answer.findings.iter().filter(is_result).collect();
    if results.is_empty() {
        results.extend(answer.findings.first());
    }
    let Some((first, others)) = results.split_first() else {
        return String::new();
    };
    let mut text = style.strong(&paragraph(&first.claim, "", "", style));
    if !answer.complete {
        let lost = format!(
            "{}, listed below. What is shown was seen, but more may have happened.",
            counted(answer.losses.len() as u64, "loss")
        );
        text.push_str(&style.warning(&paragraph(&lost, "INCOMPLETE DATA: ", "  ", style)));
    }
    for evidence in &first.evidence {
        text.push_str(&paragraph(evidence, "  seen    ", "          ", style));
    }
    for refutation in &first.refutes {
        text.push_str(&style.faint(&paragraph(refutation, "  unless  ", "          ", style)));
    }
    if !first.next.is_empty() {
        text.push_str(&paragraph(&first.next, "  next    ", "          ", style));
    }
    for finding in others {
        text.push_str(&paragraph(&finding.claim, "* ", "  ", style));
    }
    text
}

impl Style {
    /// Paints text that is complete and escaped.
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            let body = text.trim_end_matches('\n');
            format!("\x1b[{code}m{body}\x1b[0m{}", &text[body.len()..])
        } else {
            text.into()
        }
    }

    fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }
}
