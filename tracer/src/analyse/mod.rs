//! From a recording to an answer. Pure: no clock, no files, no privileges.

mod account;
pub mod answer;
mod callers;
pub mod classify;
mod completeness;
pub mod diff;
mod file_ops;
pub mod findings;
pub mod identity;
pub mod layers;
mod locks;
mod memory_maps;
pub mod pressure;
mod rpc;
pub mod some_thread;
pub mod stacks;
mod totals;
mod transports;
pub mod units;

pub use answer::Answer;
pub use file_ops::{FileOpLatency, FileOpProcess, FileOpRow, FileOpTotals, FileRow, OpenFileOpRow};
pub use locks::LockRow;
pub use memory_maps::{MemoryMapRow, Writer};
pub use rpc::{by_operation, makers};
pub use totals::TotalRow;
pub use transports::{TcpRow, TransportCalls, TransportRow};

use crate::model::{Recording, hook};
use answer::{AnswerWindow, SCHEMA};

/// Analyses a recording, which must be valid: [`Recording::read_from`] returns no other.
#[must_use]
pub fn answer(recording: &Recording) -> Answer {
    let account = account::account(recording);
    let (rpc, in_flight) = rpc::rows(recording);
    let pressure_explained = pressure::explain(&account.waits, &account.groups);
    let locks = locks::rows(recording);
    let some_thread = some_thread::some_thread(recording, &account.groups);
    let losses = completeness::losses(recording, &account.gaps);
    let transports = transports::rows(recording);
    let mut layers = layers::rows(&by_operation(&rpc), &in_flight, &transports, &account, recording.window.duration_ns);
    if hook::is_fallback(&recording.probes, hook::RPC_LATENCY) {
        layers = layers::of_times_alone(layers);
    }
    let mut answer = Answer {
        schema: SCHEMA,
        tool_version: recording.tool_version.clone(),
        complete: completeness::is_complete(&losses),
        window: AnswerWindow {
            start_unix_ns: recording.window.start_unix_ns,
            duration_ns: recording.window.duration_ns,
            stopped_early: recording.window.stopped_early,
        },
        host: recording.host.clone(),
        options: recording.options.clone(),
        findings: Vec::new(),
        groups: account.groups,
        classes: account.classes,
        comms: totals::by_comm(&account.threads),
        cgroups: totals::by_cgroup(&account.threads, &account.processes),
        processes: account.processes,
        waits: account.waits,
        memory_maps: memory_maps::rows(recording, &locks),
        locks,
        threads: account.threads,
        user_stacks: callers::user_stacks(recording),
        wakers: callers::wakers(recording),
        mounts: recording.mounts.clone(),
        layers,
        rpc,
        in_flight,
        transports,
        file_ops: file_ops::rows(recording),
        open_file_ops: file_ops::open(recording),
        files: file_ops::files(recording),
        pressure: recording.pressure,
        pressure_explained,
        some_thread,
        machine: recording.machine.clone(),
        probes: recording.probes.clone(),
        losses,
        cost: recording.cost.clone(),
    };
    answer.findings = findings::findings(&answer);
    answer
}
