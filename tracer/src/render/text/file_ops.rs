//! Operations on NFS files as programs see them, and the files they waited for.

use super::{super::Style, paragraph::paragraph, table::Table};
use crate::analyse::{
    Answer, FileOpRow,
    units::{count, counted, duration, per_second, short_duration},
};

/// Rows shown.
const ROWS: usize = 8;

/// Operations named that had not ended.
const OPEN: usize = 3;

/// Kinds of operations that take less than this share of the time of all are not worth a row.
const SHARE: f64 = 0.01;

/// A row for each kind of operation on each mount that took time.
pub(super) fn table(answer: &Answer, style: Style) -> String {
    let rows = &answer.file_ops;
    let all = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.sums.total_ns)) as f64;
    let worth: Vec<_> = rows.iter().filter(|row| row.sums.total_ns as f64 >= SHARE * all).take(ROWS).collect();
    if worth.is_empty() {
        return open(answer, style);
    }
    let headings =
        ["<NFS FILE OPERATIONS", "<mount", "done", "rate", "waited", "p50", "p90", "p99", "max", "total", "<most by"];
    let mut table = Table::new(&headings);
    for row in &worth {
        let times = row.waited_ns.as_ref().map(|times| [times.p50, times.p90, times.p99, times.max]);
        let mut cells = vec![
            row.op.name().to_owned(),
            place(&row.mounts),
            count(row.sums.count),
            format!("{}/s", per_second(row.sums.count, answer.window.duration_ns)),
            count(row.sums.waited),
        ];
        cells.extend((0..4).map(|index| times.map_or_else(|| "-".to_owned(), |times| short_duration(times[index]))));
        cells.push(short_duration(row.sums.total_ns));
        cells.push(most_by(row));
        table.row(cells);
    }
    let mut text = table.render(style);
    if rows.len() > worth.len() {
        let more = counted((rows.len() - worth.len()) as u64, "kind");
        text.push_str(&format!("{more} more; see --json. Latencies are of those that waited.\n"));
    } else {
        text.push_str("Latencies are of those that waited.\n");
    }
    text.push_str(&open(answer, style));
    text
}

/// Operations that had not ended, oldest first: with a server that hangs there may be nothing else.
fn open(answer: &Answer, style: Style) -> String {
    let all = &answer.open_file_ops;
    let words: Vec<_> = all
        .iter()
        .take(OPEN)
        .map(|row| {
            let what = format!("{} on {} by {} {}", row.op.name(), place(&row.mounts), row.comm, row.pid);
            format!("{what} for {}", duration(row.age_ns))
        })
        .collect();
    if words.is_empty() {
        return String::new();
    }
    let text = format!("{} still open at the end: {}", counted(all.len() as u64, "file operation"), words.join("; "));
    paragraph(&text, "", "  ", style)
}

/// Files, if they were asked for.
pub(super) fn files(answer: &Answer, style: Style) -> String {
    if answer.files.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["<NFS FILES WAITED FOR", "<mount", "inode", "waits", "blocked"]);
    for file in answer.files.iter().take(ROWS) {
        let name = if file.name.is_empty() { "(name not known)".to_owned() } else { file.name.clone() };
        table.row([name, place(&file.mounts), file.inode.to_string(), count(file.waited), duration(file.blocked_ns)]);
    }
    let mut text = table.render(style);
    if answer.files.len() > ROWS {
        text.push_str(&format!("{} more; see --json\n", counted((answer.files.len() - ROWS) as u64, "file")));
    }
    text
}

fn place(mounts: &[String]) -> String {
    if mounts.is_empty() { "(not found)".to_owned() } else { mounts.join(", ") }
}

fn most_by(row: &FileOpRow) -> String {
    row.processes.first().map_or_else(String::new, |process| format!("{} {}", process.comm, process.pid))
}
