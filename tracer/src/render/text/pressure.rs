//! The pressure files beside the waits that feed them, and what they cannot show.

use super::{super::Style, some_thread, table::cut};
use crate::{
    analyse::{
        Answer,
        pressure::Fed,
        units::{percent, short_duration},
    },
    model::PressureLine,
};

/// Classes named in a line.
const CLASSES: usize = 3;

/// Six lines at most. Where the kernel has no pressure files, it says only for how much of the time some thread
/// waited, if that is worth a line.
pub(super) fn block(answer: &Answer, style: Style) -> String {
    let explained = &answer.pressure_explained;
    let some_thread = some_thread::line(answer);
    let Some(files) = &answer.pressure else {
        return some_thread.map_or_else(String::new, |line| cut(&line, style.width) + "\n");
    };
    let wall = answer.window.duration_ns;
    let row = |name: &str, line: &PressureLine, fed: String| {
        let full = line.full_ns.map_or_else(|| "-".to_owned(), |full| percent(full, wall));
        format!("{name:<16}{:>6} {full:>6}  {fed}", percent(line.some_ns, wall))
    };
    let mut lines = vec![
        row("cpu", &files.cpu, format!("{} ready to run", short_duration(explained.runnable_ns))),
        row("memory", &files.memory, fed(&explained.memory)),
        row("io", &files.io, fed(&explained.io)),
    ];
    if explained.stalled_ns > 0 {
        lines.push(format!(
            "{:<16}{} of {} blocked in stalls ({}){}",
            "in no file",
            short_duration(explained.not_shown.total_ns),
            short_duration(explained.stalled_ns),
            percent(explained.not_shown.total_ns, explained.stalled_ns),
            classes(&explained.not_shown)
        ));
    }
    lines.extend(some_thread);
    let heading =
        format!("{:<16}{:>6} {:>6}  {}", "PRESSURE", "some", "full", "of the machine; fed by (time of traced threads)");
    let mut text = style.faint(&cut(&heading, style.width));
    text.push('\n');
    for line in lines {
        text.push_str(&cut(&line, style.width));
        text.push('\n');
    }
    text
}

fn fed(fed: &Fed) -> String {
    if fed.total_ns == 0 { "nothing traced".into() } else { short_duration(fed.total_ns) + &classes(fed) }
}

/// `: block 1.20s, journal 300ms`
fn classes(fed: &Fed) -> String {
    let listed = fed.classes.iter().take(CLASSES);
    let mut names: Vec<_> =
        listed.map(|time| format!("{} {}", time.class.name(), short_duration(time.total_ns))).collect();
    if fed.classes.len() > CLASSES {
        names.push("..".to_owned());
    }
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}
