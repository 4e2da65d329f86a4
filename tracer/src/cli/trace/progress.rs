//! A line that lives while tracing, on a terminal; one line elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::note;
use crate::capture::Progress as Seen;

/// The progress line.
pub(super) struct Progress {
    line: Option<ProgressBar>,
    began: Instant,
    planned: Option<Duration>,
}

impl Progress {
    /// Says that tracing began.
    pub(super) fn begin(planned: Option<Duration>, command: bool) -> Self {
        let line = io::stderr().is_terminal().then(ProgressBar::new_spinner);
        if let Some(line) = &line {
            line.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a constant template"));
            line.set_message("tracing (Ctrl-C ends it and prints the answer)");
        } else {
            let until = match planned {
                _ if command => "until the command ends".to_owned(),
                Some(planned) => format!("for {planned:?}"),
                None => format!("for {:?}", super::DEFAULT_WINDOW),
            };
            note(&format!("tracing {until}"));
        }
        Self { line, began: Instant::now(), planned }
    }

    /// Shows what was seen so far.
    pub(super) fn show(&self, seen: Seen) {
        let Some(line) = &self.line else { return };
        let elapsed = self.began.elapsed().as_secs();
        let of = self.planned.map(|planned| format!(" of {}", planned.as_secs())).unwrap_or_default();
        line.set_message(format!(
            "tracing: {elapsed}{of} s, {} threads, {} RPCs (Ctrl-C ends it and prints the answer)",
            seen.threads, seen.calls
        ));
        line.tick();
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
