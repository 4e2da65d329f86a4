//! Calls of a recording by what can be found again in another one: the exported path and the operation.

use std::collections::{BTreeMap, BTreeSet};

use nfslat_common::rpc::NFS_PROGRAM;

use crate::model::{Histogram, Mount, Recording, RpcClient};

/// Parts of a call's time, in the order in which they pass; the last is the whole.
pub(super) const PARTS: usize = 4;

/// What was exported, as the mount names it (where that is not enough, and where it is mounted), and the operation.
pub(super) type Key = (String, String);

/// A recording is cut into at most so many moments, each of one slice or more: what a comparison costs does not grow with the
/// length of the recordings then.
const MOMENTS: usize = 120;

/// Calls of one operation on one export.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Calls done, of those transmitted once.
    pub(super) count: u64,
    /// Moments of the recording.
    pub(super) moments: usize,
    /// Those of them in which any was done.
    pub(super) used: usize,
    /// The same transmitted more than once.
    pub(super) resent: u64,
    /// Bytes sent and received.
    pub(super) bytes: u64,
    /// Times of each part, by moment; moments without any are left out.
    pub(super) parts: [BTreeMap<usize, Histogram>; PARTS],
}

/// Exports that one of the recordings has mounted several times as file systems of their own: there the mount point tells them
/// apart.
pub(super) fn crowded(recordings: [&Recording; 2]) -> BTreeSet<String> {
    let mut crowded = BTreeSet::new();
    for recording in recordings {
        let mut seen: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for mount in places(recording).into_values() {
            let device = (mount.dev_major, mount.dev_minor);
            if *seen.entry(&mount.source).or_insert(device) != device {
                crowded.insert(mount.source.clone());
            }
        }
    }
    crowded
}

/// What a mount is called that is to be found again in another recording.
pub(super) fn place(mount: &Mount, crowded: &BTreeSet<String>) -> String {
    if crowded.contains(&mount.source) { format!("{} on {}", mount.source, mount.name()) } else { mount.source.clone() }
}

/// Calls by place and operation, moment by moment; what several file systems share is left out.
pub(super) fn calls(recording: &Recording, crowded: &BTreeSet<String>) -> BTreeMap<Key, Calls> {
    let places = places(recording);
    let slices_of_one = recording.slices.len().div_ceil(MOMENTS).max(1);
    let moments = recording.slices.len().div_ceil(slices_of_one);
    let mut calls: BTreeMap<Key, Calls> = BTreeMap::new();
    for (index, slice) in recording.slices.iter().enumerate() {
        for part in &slice.rpc {
            let series = &recording.rpc_series[part.series as usize];
            let Some(mount) = places.get(&series.client_id).filter(|_| series.program == NFS_PROGRAM) else { continue };
            let entry = calls
                .entry((place(mount, crowded), series.op.clone()))
                .or_insert_with(|| Calls { moments, ..Calls::default() });
            entry.bytes = entry.bytes.saturating_add(part.bytes_sent).saturating_add(part.bytes_received);
            if series.resent {
                entry.resent = entry.resent.saturating_add(part.count);
                continue;
            }
            entry.count = entry.count.saturating_add(part.count);
            let times = [&part.backlog, &part.rtt, &part.tail, &part.execute];
            for (all, part) in entry.parts.iter_mut().zip(times) {
                if !part.histogram.is_empty() {
                    all.entry(index / slices_of_one).or_default().merge(&part.histogram);
                }
            }
        }
    }
    for entry in calls.values_mut() {
        entry.used = entry.parts[PARTS - 1].len();
    }
    calls
}

/// The mount of each client that serves one file system, however often that is mounted. With a mount filter, that only.
fn places(recording: &Recording) -> BTreeMap<u32, &Mount> {
    let wanted = recording.options.mount.as_ref();
    let place = |client: &RpcClient| {
        let mounts: Vec<&Mount> = client.mounts.iter().map(|&index| &recording.mounts[index as usize]).collect();
        let first = mounts.first().copied()?;
        let is_one =
            mounts.iter().all(|mount| (mount.dev_major, mount.dev_minor) == (first.dev_major, first.dev_minor));
        let is_wanted = wanted.is_none_or(|wanted| mounts.iter().any(|mount| mount.mount_point == *wanted));
        (is_one && is_wanted && !client.shared).then_some((client.id, first))
    };
    recording.clients.iter().filter_map(place).collect()
}
