//! Waits for kernel locks, by whom they stood behind.

use std::collections::HashMap;

use super::{super::Style, table::Table};
use crate::{
    analyse::{
        Answer, LockRow,
        units::{count, percent, short_duration},
    },
    model::HolderKind,
};

/// Rows shown.
const ROWS: usize = 5;

/// Waits are worth a row from this share of the window on.
const SHARE_WORTH_SHOWING: f64 = 0.01;

/// Waits of one process behind one holder, or behind readers as a whole: of these the lock names only
/// the last.
struct Behind<'a> {
    first: &'a LockRow,
    total_ns: u64,
    waits: u64,
    holder_on_cpu_ns: u64,
    holder_runnable_ns: u64,
    holder_blocked_ns: u64,
}

/// The table; empty if no lock was waited for long enough.
pub(super) fn table(answer: &Answer, style: Style) -> String {
    let rows = behind(&answer.locks);
    let worth_showing = (SHARE_WORTH_SHOWING * answer.window.duration_ns as f64) as u64;
    let shown: Vec<_> = rows.iter().filter(|row| row.total_ns > worth_showing).take(ROWS).collect();
    if shown.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["<LOCK WAITS (mostly in)", "<lock", "total", "waits", "<held by; it was meanwhile"]);
    for row in shown {
        let first = row.first;
        let of_other = match first.mm_pid {
            Some(pid) if pid != first.pid => format!(" of {pid}"),
            _ => String::new(),
        };
        table.row([
            format!("{} ({}) {}", first.comm, first.pid, first.call),
            format!("{}{of_other}", first.class.name()),
            short_duration(row.total_ns),
            count(row.waits),
            row.holder(),
        ]);
    }
    table.render(style)
}

/// Sums rows that differ only in the waiter's call; rows come with the most time first.
fn behind(rows: &[LockRow]) -> Vec<Behind<'_>> {
    let mut indices = HashMap::new();
    let mut sums: Vec<Behind<'_>> = Vec::new();
    for row in rows {
        let certain = row.holder_kind == HolderKind::Writer;
        let holder = certain.then_some((row.holder_tid, &row.holder_call, row.holder_class));
        let index = *indices.entry((row.pid, row.class, row.mm_pid, row.holder_kind, holder)).or_insert(sums.len());
        if index == sums.len() {
            sums.push(Behind {
                first: row,
                total_ns: 0,
                waits: 0,
                holder_on_cpu_ns: 0,
                holder_runnable_ns: 0,
                holder_blocked_ns: 0,
            });
        }
        let sum = &mut sums[index];
        sum.total_ns = sum.total_ns.saturating_add(row.total_ns);
        sum.waits = sum.waits.saturating_add(row.count);
        sum.holder_on_cpu_ns = sum.holder_on_cpu_ns.saturating_add(row.holder_on_cpu_ns);
        sum.holder_runnable_ns = sum.holder_runnable_ns.saturating_add(row.holder_runnable_ns);
        sum.holder_blocked_ns = sum.holder_blocked_ns.saturating_add(row.holder_blocked_ns);
    }
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.total_ns));
    sums
}

impl Behind<'_> {
    fn holder(&self) -> String {
        let row = self.first;
        match row.holder_kind {
            HolderKind::Writer => {
                let call = if row.holder_call.is_empty() { String::new() } else { format!(" in {}", row.holder_call) };
                format!("{} {}{call}{}", row.holder_tid, row.holder_comm, self.meanwhile())
            }
            HolderKind::Reader if row.holder_tid == 0 => "readers".to_owned(),
            HolderKind::Reader => format!("readers (perhaps {} {})", row.holder_tid, row.holder_comm),
            HolderKind::Nobody => "nobody: the next in line had not run yet".to_owned(),
            HolderKind::Unknown => "changing hands".to_owned(),
        }
    }

    fn meanwhile(&self) -> String {
        let class = self.first.holder_class.map_or("blocked", |class| class.name());
        let parts = [
            (self.holder_on_cpu_ns, "on cpu"),
            (self.holder_runnable_ns, "cpu queue"),
            (self.holder_blocked_ns, class),
        ];
        let seen: Vec<_> = parts
            .iter()
            .filter(|(ns, _)| *ns > self.total_ns / 50)
            .map(|(ns, what)| format!("{what} {}", percent(*ns, self.total_ns)))
            .collect();
        if seen.is_empty() { String::new() } else { format!("; {}", seen.join(", ")) }
    }
}
