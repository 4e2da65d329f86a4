//! Who held the locks that a process waited for: evidence for its stall, and its cause if the holders
//! themselves waited for storage.

use super::{Effect, Finding, Layer, named};
use crate::{
    analyse::{
        answer::{Answer, ProcessRow},
        classify::{Class, Group},
        locks::LockRow,
        units::{counted, duration, percent},
    },
    model::HolderKind,
};

/// Rows of evidence.
const LISTED: usize = 3;

/// Lock waits of one process in one group of waits, most time first.
pub(super) struct Holders<'a> {
    rows: Vec<&'a LockRow>,
    total_ns: u64,
}

impl<'a> Holders<'a> {
    pub(super) fn of(answer: &'a Answer, pid: u32, group: Group) -> Self {
        let rows: Vec<_> = answer.locks.iter().filter(|row| row.pid == pid && row.class.group() == group).collect();
        let total_ns = rows.iter().fold(0u64, |sum, row| sum.saturating_add(row.total_ns));
        Self { rows, total_ns }
    }

    /// True if for most of the time it is certain who held the lock.
    pub(super) fn are_known(&self) -> bool {
        let known = self.sum(|row| if row.holder_kind == HolderKind::Writer { row.total_ns } else { 0 });
        known > self.total_ns / 2
    }

    /// True if for at least half of the time the holder was itself waiting for storage.
    pub(super) fn are_behind_storage(&self) -> bool {
        self.total_ns > 0 && self.behind_storage_ns() >= self.total_ns / 2
    }

    fn behind_storage_ns(&self) -> u64 {
        self.sum(LockRow::behind_storage_ns)
    }

    fn sum(&self, part: impl Fn(&LockRow) -> u64) -> u64 {
        self.rows.iter().fold(0, |sum, row| sum.saturating_add(part(row)))
    }

    /// Who held the lock, a line for each of the worst.
    pub(super) fn evidence(&self) -> Vec<String> {
        self.rows.iter().take(LISTED).map(|row| self.describe(row)).collect()
    }

    fn describe(&self, row: &LockRow) -> String {
        let whose = match row.mm_pid {
            Some(pid) if pid != row.pid => format!(" of process {pid}"),
            _ => String::new(),
        };
        let through = if row.call.is_empty() { String::new() } else { format!(" through {}", row.call) };
        format!(
            "{} ({}) in {}{through}, for the lock{whose} {}",
            duration(row.total_ns),
            percent(row.total_ns, self.total_ns),
            counted(row.count, "wait"),
            held(row)
        )
    }

    /// The finding that takes the place of the lock's: the cause lies behind it.
    pub(super) fn finding(
        &self,
        answer: &Answer,
        process: &ProcessRow,
        group: Group,
        evidence: Vec<String>,
    ) -> Finding {
        let behind_ns = self.behind_storage_ns();
        let main = self.rows.iter().copied().max_by_key(|row| row.behind_storage_ns());
        let what = main.and_then(|row| row.holder_class).map_or("storage", Class::waits_for);
        let who = main.map_or_else(String::new, |row| format!(" ({})", holder(row)));
        Finding {
            id: "stall-lock-behind-storage",
            claim: format!(
                "Storage holds up {} by way of a {}: of {} that it waited for the lock, {} stood behind a holder{who} \
                 that itself waited for {what}.",
                named(&process.comm, process.pid),
                group.title(),
                duration(self.total_ns),
                duration(behind_ns)
            ),
            layer: Layer::Storage,
            subject: named(&process.comm, process.pid),
            effect: Some(Effect::time(behind_ns, answer)),
            evidence,
            refutes: vec![
                "the storage answers fast over the same time, and the waits for the lock are as long as before".into(),
            ],
            next: "look at the storage that the holder waits for; the lock only passes the wait on".into(),
        }
    }
}

fn holder(row: &LockRow) -> String {
    let call = if row.holder_call.is_empty() { String::new() } else { format!(" in {}", row.holder_call) };
    format!("thread {} {}{call}", row.holder_tid, row.holder_comm)
}

/// How the lock was held, and what the holder did.
fn held(row: &LockRow) -> String {
    match row.holder_kind {
        HolderKind::Unknown => "that was changing hands".to_owned(),
        HolderKind::Nobody => "held by nobody: the next in line had been woken, and had not run yet".to_owned(),
        HolderKind::Reader if row.holder_tid == 0 => "held by readers".to_owned(),
        HolderKind::Reader => format!("held by readers, the last perhaps {} (a hint)", holder(row)),
        HolderKind::Writer => format!("held by {}{}", holder(row), meanwhile(row)),
    }
}

/// What the holder did during the waits, as far as it was traced.
fn meanwhile(row: &LockRow) -> String {
    let parts = [
        (row.holder_on_cpu_ns, "on a CPU"),
        (row.holder_runnable_ns, "waiting for a CPU"),
        (row.holder_blocked_ns, "blocked"),
    ];
    let seen: Vec<_> = parts
        .iter()
        .filter(|(ns, _)| *ns > row.total_ns / 100)
        .map(|(ns, what)| format!("{what} {}", percent(*ns, row.total_ns)))
        .collect();
    if seen.is_empty() {
        return String::new();
    }
    let class = row.holder_class.map_or_else(String::new, |class| format!(" (last for {})", class.waits_for()));
    format!(", meanwhile {}{class}", seen.join(", "))
}
