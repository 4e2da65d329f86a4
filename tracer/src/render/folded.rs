//! Folded stacks: `frame;frame;frame ns`, one line per stack. What flamegraph.pl, inferno, speedscope
//! and others read.

use std::{collections::BTreeMap, fmt::Write as _};

use super::escape::escape;
use crate::analyse::stacks::{Frame, FrameKind, Stacks};

/// One line per distinct stack, sorted, with its blocked time in ns. Kernel functions end with
/// `_[k]`, as other tools mark them.
#[must_use]
pub fn render(stacks: &Stacks<'_>) -> String {
    let mut lines = BTreeMap::<String, u64>::new();
    for row in &stacks.rows {
        let frames: Vec<_> = row.frames.iter().map(name).collect();
        let sum = lines.entry(frames.join(";")).or_default();
        *sum += row.waits.total_ns;
    }
    let mut text = String::new();
    for (line, ns) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line} {ns}");
    }
    text
}

/// A name without what separates frames or begins a comment.
fn name(frame: &Frame<'_>) -> String {
    let mut name = escape(&frame.name).replace(';', ":");
    if name.starts_with('#') {
        name.insert(0, '\\');
    }
    match frame.kind {
        FrameKind::Kernel | FrameKind::WakerKernel => name + "_[k]",
        _ => name,
    }
}
