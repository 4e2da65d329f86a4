//! Printing an answer, or a comparison, to standard output.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    analyse::{Answer, diff::Diff},
    render::{Style, json, text},
};

/// Exit code of a run that ended, but whose data is incomplete.
pub(super) const INCOMPLETE: u8 = 3;

/// Columns when the width is neither given nor that of a terminal.
const DEFAULT_WIDTH: usize = 100;

/// Prints the answer as JSON, or as text of this width (that of the terminal if not given), and
/// returns the exit code that tells whether the data is complete.
///
/// # Errors
/// If writing fails; a reader that has seen enough (a closed pipe) is no error.
pub(super) fn answer(answer: &Answer, as_json: bool, width: Option<usize>) -> anyhow::Result<ExitCode> {
    let output = if as_json { json::render(answer) } else { text::render(answer, terminal_style(width)) };
    print(&output, answer.complete)
}

/// The same for a comparison.
///
/// # Errors
/// As above.
pub(super) fn diff(diff: &Diff, as_json: bool, width: Option<usize>) -> anyhow::Result<ExitCode> {
    let output = if as_json { json::render(diff) } else { text::diff::render(diff, terminal_style(width)) };
    print(&output, diff.complete())
}

fn print(output: &str, complete: bool) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        result => result.context("cannot write to standard output")?,
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// Colour only on a terminal and without `NO_COLOR` (<https://no-color.org>).
fn terminal_style(width: Option<usize>) -> Style {
    let terminal = io::stdout().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style {
        colour: terminal && !no_colour,
        width: width.or_else(|| terminal.then(terminal_width).flatten()).unwrap_or(DEFAULT_WIDTH),
    }
}

fn terminal_width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is valid for that.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}
