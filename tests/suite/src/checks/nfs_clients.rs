//! Two clients of one server: a delay on the way of one of them.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    answer::{Answer, Rpc},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat::Trace,
    workload,
};

/// A delay on the way of one client moves its round trips, and nothing else.
pub(super) const DELAY: Check = Check { name: "nfs::delay_moves_one_rtt", stage: Stage::TwoClients, run: delay };

/// The mounts of the two clients.
const MOUNTS: [&str; 2] = ["/mnt/a", "/mnt/b"];

/// The delay, and how far what it moves may be from it.
const DELAY_NS: i64 = 20_000_000;
const MOVED: f64 = 0.2;

/// What is not moved may still change by this on an emulated machine.
const UNMOVED_NS: u64 = 5_000_000;

/// Of fewer calls than this the shortest may still be one that the host held up.
const ENOUGH: u64 = 20;

fn delay(machine: &Machine) -> Result<Outcome> {
    let near = measure(machine)?;
    let network = ["netns", "exec", "b", "tc", "qdisc", "replace", "dev", "eth0", "root", "netem"];
    let status = Command::new("ip").args(network).args(["delay", "20ms", "limit", "100000"]).status()?;
    ensure!(status.success(), "delaying the way of client b: {status}");
    let far = measure(machine)?;

    let mut complaints = Complaints::default();
    for (key, before) in shortest(&near) {
        let Some(after) = shortest(&far).remove(&key) else { continue };
        let (mount, op) = key;
        for ((part, before), (_, after)) in before.into_iter().zip(after) {
            let (expected, room) = expected(&mount, part);
            let moved = after - before;
            complaints.unless(moved.abs_diff(expected) <= room, || {
                format!(
                    "{op} on {mount}: {part} moved by {moved} ns ({before} to {after}), should be {expected} +- {room}"
                )
            });
        }
    }
    for mount in MOUNTS {
        let ops = shortest(&far).keys().filter(|(on, _)| on == mount).count();
        complaints.unless(ops >= 3, || format!("{mount}: only {ops} operations were used often enough"));
    }
    complaints.settle()
}

/// How far the delay should move a part of the calls on a mount, and the room for that.
fn expected(mount: &str, part: &str) -> (i64, u64) {
    let room = (DELAY_NS as f64 * MOVED) as u64;
    match part {
        "rtt" if mount == MOUNTS[1] => (DELAY_NS, room),
        // The sum of all parts, and of what each may change by itself.
        "execute" if mount == MOUNTS[1] => (DELAY_NS, room + UNMOVED_NS),
        _ => (0, UNMOVED_NS),
    }
}

/// Small calls only: a large one takes several round trips by itself.
fn measure(machine: &Machine) -> Result<Answer> {
    let trace = Trace::start(machine, ["--duration", "280"])?;
    for mount in MOUNTS {
        workload::run(machine, &["nfs-meta", "--count", "3", "--dir", mount]).context(mount)?;
    }
    trace.stop()
}

/// The shortest of each part: a delay on the way is in every call, what a busy host adds is not (medians of one operation
/// differed by 8 ms between two traces beside other guests).
type Shortest = BTreeMap<(String, String), [(&'static str, i64); 4]>;

fn shortest(answer: &Answer) -> Shortest {
    let often = answer.rpc.iter().filter(|rpc| rpc.count >= ENOUGH);
    often.filter_map(|rpc| Some(((rpc.mount.clone()?, rpc.op.clone()), parts(rpc)))).collect()
}

fn parts(rpc: &Rpc) -> [(&'static str, i64); 4] {
    let parts =
        [("backlog", &rpc.backlog_ns), ("rtt", &rpc.rtt_ns), ("tail", &rpc.tail_ns), ("execute", &rpc.execute_ns)];
    parts.map(|(name, part)| (name, part.min.and_then(|ns| i64::try_from(ns).ok()).unwrap_or_default()))
}
