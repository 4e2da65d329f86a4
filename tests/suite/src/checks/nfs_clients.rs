//! Two clients of one server: a delay on the way of one of them, and what a comparison says of it.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    answer::{Answer, Rpc},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat::{self, Trace},
    process::Finished,
    workload,
};

/// A delay on the way of one client moves its round trips, and nothing else.
pub(super) const DELAY: Check = Check { name: "nfs::delay_moves_one_rtt", stage: Stage::TwoClients, run: delay };

/// The mounts of the two clients.
const MOUNTS: [&str; 2] = ["/mnt/a", "/mnt/b"];

/// How long each mount is worked on, so that there are moments enough to draw from.
const SECONDS: &str = "7";

/// The delay, and how far what it moves may be from it.
const DELAY_NS: i64 = 20_000_000;
const MOVED: f64 = 0.2;

/// What is not moved may still change by this on an emulated machine.
const UNMOVED_NS: u64 = 5_000_000;

/// Of fewer calls than this the shortest may still be one that the host held up.
const ENOUGH: u64 = 20;

fn delay(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let recordings = ["near", "far"].map(|name| folder.path().join(name));
    let near = measure(machine, &recordings[0])?;
    let network = ["netns", "exec", "b", "tc", "qdisc", "replace", "dev", "eth0", "root", "netem"];
    let status = Command::new("ip").args(network).args(["delay", "20ms", "limit", "100000"]).status()?;
    ensure!(status.success(), "delaying the way of client b: {status}");
    let far = measure(machine, &recordings[1])?;

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
    let compared = nfslat::run(machine, [Path::new("diff"), &recordings[0], &recordings[1], Path::new("--json")])?;
    blames_the_way(&mut complaints, &compared)?;
    complaints.settle()
}

/// What `nfslat diff` says.
#[derive(Deserialize)]
struct Diff {
    conclusion: Conclusion,
    places: Vec<Place>,
}

#[derive(Deserialize)]
struct Conclusion {
    slower: Option<char>,
    layer: String,
}

#[derive(Deserialize)]
struct Place {
    a_mount: String,
    verdict: String,
    rtt_fastest: Option<Shift>,
}

#[derive(Deserialize)]
struct Shift {
    shift_ns: i64,
}

/// The mount whose way was delayed is slower, by the delay, on its way; the other one is not.
fn blames_the_way(complaints: &mut Complaints, compared: &Finished) -> Result<()> {
    let diff: Diff = serde_json::from_str(&compared.stdout).with_context(|| format!("it said: {}", compared.stderr))?;
    let Conclusion { slower, layer } = &diff.conclusion;
    let on_the_way = ["network-path", "network-or-server"];
    complaints.unless(*slower == Some('b') && on_the_way.contains(&layer.as_str()), || {
        format!("the comparison blames {layer} of {slower:?}")
    });
    for mount in MOUNTS {
        let place = diff.places.iter().find(|place| place.a_mount == mount);
        let Some((place, fastest)) = place.and_then(|place| Some((place, place.rtt_fastest.as_ref()?))) else {
            complaints.unless(false, || format!("nothing is compared on {mount}"));
            continue;
        };
        complaints.unless(mount == MOUNTS[0] || place.verdict == "slower", || format!("{mount} is {}", place.verdict));
        let (expected, room) = expected(mount, "rtt");
        let moved = fastest.shift_ns;
        complaints.unless(moved.abs_diff(expected) <= room, || format!("{mount}: the fastest moved by {moved} ns"));
    }
    Ok(())
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
fn measure(machine: &Machine, recording: &Path) -> Result<Answer> {
    let trace = Trace::start(machine, [Path::new("--duration"), Path::new("280"), Path::new("-o"), recording])?;
    for mount in MOUNTS {
        workload::run(machine, &["nfs-meta", "--duration", SECONDS, "--dir", mount]).context(mount)?;
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
