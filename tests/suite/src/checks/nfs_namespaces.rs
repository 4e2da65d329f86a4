//! Mounts that are not in the tool's own mount namespace, as those of containers.

use std::{io::Write as _, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    answer::{Answer, Tcp},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{NfsMount, SlowNetwork},
    machine::Machine,
    nfslat::Trace,
    process::{PATIENCE, Process},
    sockets, workload,
};

/// A container's mount is found, and named as the container's.
pub(super) const ELSEWHERE: Check = Check { name: "nfs::mount_of_a_container", stage: Stage::WithNfs, run: elsewhere };

/// Connections of a container's network are seen, and not taken for others to the same address.
pub(super) const TCP: Check = Check { name: "nfs::tcp_of_a_container", stage: Stage::WithNfs, run: tcp };

/// Mounts, says so, waits for a line, works.
const SCRIPT: &str = "mount -t nfs -o vers=4.2,proto=tcp 127.0.0.1:/ \"$1\" && echo ready >&2 && cat && \
                      exec \"$2\" nfs-meta --count 2 --dir \"$1\"";

/// The same over a network of its own, and stays. A server tells clients apart by their host names.
const SLOW_SCRIPT: &str = "hostname container && mount -t nfs -o vers=4.2,proto=tcp \"$1\":/ \"$2\" && \
                           echo ready >&2 && read -r line && \"$3\" nfs-meta --count 1 --dir \"$2\" && \
                           echo done >&2 && cat";

/// A delay of the container's network alone. What rounding does is allowed for.
const SLOW: &str = "40ms";
const SLOW_AT_LEAST_NS: u64 = 39_900_000;

/// The smallest round trip within a machine, however slow: far less than this.
const FAST_AT_MOST_NS: u64 = 10_000_000;

fn elsewhere(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("the folder's name is no text")?;
    // A namespace of its own, from which nothing comes back here.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", path]).arg(&machine.workload);
    let mut container = Process::start(&mut command)?;
    container.wait_for("ready")?;
    let pid = container.pid();
    let trace = Trace::start(machine, ["--duration", "120"])?;
    drop(container.stdin()?);
    let finished = container.finish(2 * PATIENCE)?;
    ensure!(finished.code() == Some(0), "the container ended with {}: {}", finished.status, finished.stderr);
    let answer = trace.stop()?;

    let mut complaints = Complaints::default();
    let name = format!("{path} (mount namespace of pid {pid})");
    let made = answer.rpc.iter().filter(|rpc| rpc.mount.as_deref() == Some(&name) && rpc.op == "OPEN");
    let calls: u64 = made.map(|rpc| rpc.count).sum();
    complaints.unless(calls > 0, || {
        let mounts: Vec<_> = answer.rpc.iter().map(|rpc| (&rpc.mount, &rpc.op)).collect();
        format!("no file was made on {name}: {mounts:?}")
    });
    let layers: Vec<_> = answer.layers.iter().map(|row| &row.mounts).collect();
    complaints.unless(layers.contains(&&vec![name.clone()]), || format!("no verdict on {name}: {layers:?}"));
    complaints.settle_for(&answer)
}

fn tcp(machine: &Machine) -> Result<Outcome> {
    sockets::wait_for_none()?;
    let network = SlowNetwork::by(SLOW)?;
    // The same address in both networks.
    let mount = NfsMount::at(SlowNetwork::MACHINE)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("the folder's name is no text")?;
    let mut command = network.command();
    command.args(["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", SLOW_SCRIPT, "sh"]);
    let mut container = Process::start(command.args([SlowNetwork::MACHINE, path]).arg(&machine.workload))?;
    container.wait_for("ready")?;
    let name = format!("{path} (mount namespace of pid {})", container.pid());
    let trace = Trace::start(machine, ["--duration", "280"])?;
    let mut stdin = container.stdin()?;
    stdin.write_all(b"go\n")?;
    workload::run(machine, &["nfs-meta", "--count", "1", "--dir", mount.path()])?;
    container.wait_for("done")?;
    let [own, theirs] = [sockets::only_one()?, sockets::only_one_in(network.command())?];
    let answer = trace.stop()?;
    drop(stdin);
    let finished = container.finish(PATIENCE)?;
    ensure!(finished.code() == Some(0), "the container ended with {}: {}", finished.status, finished.stderr);

    let mut complaints = Complaints::default();
    for (mount, socket, wanted) in
        [(name.as_str(), theirs, SLOW_AT_LEAST_NS..=u64::MAX), (mount.path(), own, 1..=FAST_AT_MOST_NS)]
    {
        let tcp = only_connection(&answer, mount)?;
        complaints.unless(tcp.min_rtt_ns.is_some_and(|ns| wanted.contains(&ns)), || {
            format!("{mount}: min rtt {:?}, should be {wanted:?}", tcp.min_rtt_ns)
        });
        complaints.unless(tcp.client_ports == [socket.port], || {
            format!("{mount}: ports {:?}, should be {}", tcp.client_ports, socket.port)
        });
        complaints.unless(tcp.state == "established", || format!("{mount}: it is {}", tcp.state));
        // Each call is at least a segment each way.
        for segments in [tcp.sent_segments, tcp.received_segments] {
            complaints.unless(segments.is_some_and(|count| count > 20), || format!("{mount}: segments {segments:?}"));
        }
    }
    let [fast, slow] = [mount.path(), &name].map(|mount| only_layers(&answer, mount));
    let (fast, slow) = (fast?, slow?);
    complaints.unless(slow >= SLOW_AT_LEAST_NS && fast <= FAST_AT_MOST_NS, || {
        format!("shortest round trips behind the verdicts: {fast} and {slow}")
    });
    complaints.settle()
}

/// The connection of the only transport of a mount, which is of no other mount.
fn only_connection<'a>(answer: &'a Answer, mount: &str) -> Result<&'a Tcp> {
    let mut found = answer.transports.iter().filter(|transport| transport.mounts.iter().any(|name| name == mount));
    let (Some(only), None) = (found.next(), found.next()) else {
        bail!("not one transport of {mount}: {:?}", answer.transports);
    };
    ensure!(only.mounts.len() == 1 && only.address == SlowNetwork::MACHINE, "a transport of other mounts: {only:?}");
    let calls = only.calls.as_ref().with_context(|| format!("no calls: {only:?}"))?;
    ensure!(calls.count > 20, "only {} calls: {only:?}", calls.count);
    only.tcp.as_ref().with_context(|| format!("no connection: {only:?}"))
}

/// The shortest round trip behind the verdict on a mount.
fn only_layers(answer: &Answer, mount: &str) -> Result<u64> {
    let mut found = answer.layers.iter().filter(|row| row.mounts == [mount]);
    let (Some(only), None) = (found.next(), found.next()) else {
        bail!("not one verdict on {mount}: {:?}", answer.layers);
    };
    only.tcp_min_rtt_ns.with_context(|| format!("no round trip: {only:?}"))
}
