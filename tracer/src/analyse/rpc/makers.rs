//! Who made NFS calls.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use crate::model::{Maker, Recording, RpcMakerSlice};

/// Calls by one maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MakerRow {
    /// `{"process": PID}`, `kernel` or `unknown`.
    pub maker: Maker,
    /// Name of the process; empty if it is not one, or its name is not known.
    pub comm: String,
    /// Calls done.
    pub count: u64,
    /// Time from their begin to their end.
    pub execute_ns: u64,
}

/// Sums by maker.
#[derive(Clone, Default)]
pub(super) struct Makers(BTreeMap<Maker, (u64, u64)>);

impl Makers {
    pub(super) fn add(&mut self, made: &RpcMakerSlice) {
        let sum = self.0.entry(made.maker).or_default();
        *sum = (sum.0.saturating_add(made.count), sum.1.saturating_add(made.execute_ns));
    }

    /// Rows, most time first.
    pub(super) fn rows(self, recording: &Recording) -> Vec<MakerRow> {
        let name = |maker| {
            let Maker::Process(pid) = maker else { return String::new() };
            recording.comm_of(pid)
        };
        let row = |(maker, (count, execute_ns))| MakerRow { maker, comm: name(maker), count, execute_ns };
        sorted(self.0.into_iter().map(row).collect())
    }
}

/// Adds rows of the same operation.
pub fn merge(rows: &mut Vec<MakerRow>, others: &[MakerRow]) {
    for other in others {
        match rows.iter_mut().find(|row| row.maker == other.maker) {
            Some(row) => {
                row.count = row.count.saturating_add(other.count);
                row.execute_ns = row.execute_ns.saturating_add(other.execute_ns);
            }
            None => rows.push(other.clone()),
        }
    }
    *rows = sorted(std::mem::take(rows));
}

fn sorted(mut rows: Vec<MakerRow>) -> Vec<MakerRow> {
    rows.sort_by_key(|row| (Reverse(row.execute_ns), row.maker));
    rows
}
