//! Every check, by area: one file each.

use crate::check::{Check, Stage};

mod callers;
mod classes;
pub mod doctor;
mod filters;
mod holders;
mod identity;
mod input;
mod lifetime;
mod nfs_calls;
mod nfs_clients;
mod nfs_faults;
mod nfs_file_ops;
mod nfs_grace;
mod nfs_layers;
mod nfs_namespaces;
mod nfs_rate;
mod nfs_tcp;
mod nfs_waits;
mod nfs_wire;
mod perf_sched;
mod reclaim;
mod recording;
mod some_thread;
mod threads;

/// Every check; all but those of the tool alone run on each kernel of the lab. Their order within a stage is the order in
/// which a guest runs them.
pub static ALL: &[Check] = &[
    doctor::READABLE,
    nfs_faults::ABSENT,
    nfs_faults::LOADED_LATE,
    input::MALFORMED,
    input::UNKNOWN_TARGET,
    input::UNWRITABLE,
    input::NO_ROOT,
    input::HELP,
    recording::UNREADABLE,
    recording::SAME_ANSWER,
    recording::COMPARED,
    recording::FULL_DISK,
    lifetime::DURATION,
    lifetime::COMMAND,
    lifetime::SIGNALS,
    identity::STORMS,
    lifetime::KILLED,
    threads::SCHEDSTAT,
    threads::CLOSED,
    threads::OPEN_WAITS,
    threads::ENDED,
    perf_sched::TIMEHIST,
    classes::KNOWN_WAITS,
    classes::MEMORY_LOCK,
    classes::INODE_LOCK,
    reclaim::THROTTLED,
    reclaim::SWAPPED,
    holders::KNOWN_HOLDER,
    holders::OTHER_MM,
    callers::FUNCTIONS,
    callers::MANY,
    callers::WAKER,
    some_thread::ONE,
    some_thread::SEVERAL,
    some_thread::HOLDER,
    some_thread::STORM,
    some_thread::IDLE,
    filters::PROCESS,
    filters::COMM,
    filters::CGROUP,
    filters::MIN_WAIT,
    doctor::WITH_NFS,
    doctor::VERIFIER,
    nfs_calls::AGREE_3,
    nfs_calls::AGREE_4_0,
    nfs_calls::AGREE_4_1,
    nfs_calls::AGREE_4_2,
    nfs_calls::BY_RECORD,
    nfs_calls::HISTOGRAMS,
    nfs_calls::ONE_MOUNT,
    nfs_tcp::AGREES,
    nfs_tcp::DELAY,
    nfs_tcp::LOSS,
    nfs_tcp::CONNECTIONS,
    nfs_tcp::RECONNECTS,
    nfs_wire::TSHARK,
    holders::BEHIND_NFS,
    some_thread::NFS,
    nfs_waits::VERSION_3,
    nfs_waits::VERSION_4_2,
    nfs_faults::ASKED_TO_WAIT,
    nfs_file_ops::TIMES,
    nfs_rate::RATE,
    nfs_namespaces::ELSEWHERE,
    nfs_namespaces::TCP,
    nfs_layers::HEALTHY,
    nfs_layers::PATH,
    nfs_layers::LOSS,
    nfs_layers::DISK,
    nfs_layers::CPU,
    nfs_layers::SESSION,
    nfs_layers::SLOTS,
    nfs_layers::FLOW,
    nfs_clients::DELAY,
    nfs_faults::DEAD_SERVER,
    nfs_grace::GRACE,
];

/// Checks that run on this machine itself.
pub fn native() -> impl Iterator<Item = &'static Check> {
    ALL.iter().filter(|check| check.stage.is_native())
}

/// Checks that run on a kernel of the lab; on one kernel, the `first`, also those of the tool alone.
pub fn in_lab(first: bool) -> impl Iterator<Item = &'static Check> {
    ALL.iter().filter(move |check| first || check.stage != Stage::Tool)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = ALL.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
