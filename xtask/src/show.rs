//! Lines for a person to read: what is done, and what is going on right now.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Prints that a step is done. Goes to standard error: standard output is for what a command is asked for.
pub(crate) fn step(what: &str, outcome: &str) {
    eprintln!("  {what:<16} {outcome}");
}

/// Prints the title of a group of steps.
pub(crate) fn title(text: &str) {
    eprintln!("{text}");
}

/// A time as `1.2 s`, or as `3 min 05 s` when it is long.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

/// A line that shows the present stage and the elapsed seconds; a line for each stage where there is no terminal.
pub(crate) struct Progress {
    line: Option<ProgressBar>,
    start: Instant,
}

impl Progress {
    /// Starts with the first stage.
    pub(crate) fn start(stage: &str) -> Self {
        let line = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("  {spinner} {elapsed:>4}  {msg}").expect("the template is valid");
            let line = ProgressBar::new_spinner().with_style(style);
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        let progress = Self { line, start: Instant::now() };
        progress.stage(stage);
        progress
    }

    /// Goes on to the next stage.
    pub(crate) fn stage(&self, stage: &str) {
        match &self.line {
            Some(line) => line.set_message(stage.to_owned()),
            None => eprintln!("  {:>6.1} s  {stage}", self.start.elapsed().as_secs_f64()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_given_in_minutes() {
        assert_eq!(duration(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }
}
