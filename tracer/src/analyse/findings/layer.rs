//! Which layer held up the NFS calls of each mount.

use super::{Effect, Finding, Layer};
use crate::analyse::{
    answer::Answer,
    layers::{LayersRow, Verdict},
    units::{count, counted, duration, percent},
};
use crate::model::RpcStep;

/// Calls that add up to this share of the window are worth naming.
const SHARE_WORTH_NAMING: f64 = 0.01;

pub(super) fn find(answer: &Answer) -> Vec<Finding> {
    answer.layers.iter().filter_map(|row| finding(answer, row)).collect()
}

/// True if a finding of this kind says where the calls of a place were held up.
pub(super) fn is_said_of(answer: &Answer, mounts: &[String]) -> bool {
    answer
        .layers
        .iter()
        .any(|row| row.mounts == mounts && finding(answer, row).is_some() && row.verdict != Verdict::Healthy)
}

fn finding(answer: &Answer, row: &LayersRow) -> Option<Finding> {
    let is_worth_naming = row.spent_ns as f64 >= SHARE_WORTH_NAMING * answer.window.duration_ns as f64;
    // Calls without an answer have a finding of their own, and a call that was put off may not have ended.
    if matches!(row.verdict, Verdict::NoAnswer | Verdict::NotEnoughCalls)
        || !(is_worth_naming || row.verdict == Verdict::PutOff)
    {
        return None;
    }
    let words = words(answer, row);
    Some(Finding {
        id: "nfs-layer",
        claim: words.claim,
        layer: words.layer,
        subject: place(row),
        effect: Some(Effect::time(row.spent_ns, answer)),
        evidence: [Some(parts(row)), Some(round_trips(row)), words.evidence].into_iter().flatten().collect(),
        refutes: vec![words.refutes.into()],
        next: words.next.into(),
    })
}

struct Words {
    claim: String,
    layer: Layer,
    evidence: Option<String>,
    refutes: &'static str,
    next: &'static str,
}

fn words(answer: &Answer, row: &LayersRow) -> Words {
    let place = place(row);
    match row.verdict {
        Verdict::PutOff => Words {
            claim: format!(
                "The server put off calls on {place}: {} ended with an error that means not now.",
                counted(row.put_off, "attempt")
            ),
            layer: Layer::Server,
            evidence: Some(put_off(answer, row)),
            refutes: "the threads that waited use another mount: waits of this kind are not told apart by mount",
            next: "see whether the server was restarted or failed over, or recalls a delegation or layout from \
                another client",
        },
        Verdict::Loss => Words {
            claim: format!(
                "Packets get lost between this machine and the server of {place}: {}.",
                lost(row).join(", ")
            ),
            layer: Layer::NetworkPath,
            evidence: None,
            refutes: "the connection was cut on purpose in the window (server restart, failover): what was on \
                its way is sent again then",
            next: "count drops along the path (ip -s link, ethtool -S, the switch ports, the hypervisor's), and \
                compare with another client of the server",
        },
        Verdict::OneTransport => one_transport(answer, row),
        Verdict::NetworkPath => Words {
            claim: format!(
                "The network path to the server of {place} is long: TCP's shortest round trip is {}, and from \
                    sending a call to its reply it takes {} at the median.",
                duration(row.tcp_min_rtt_ns.unwrap_or(0)),
                duration(row.rtt_p50_ns.unwrap_or(0)),
            ),
            layer: Layer::NetworkPath,
            evidence: None,
            refutes: "the same round trip from other clients at the same distance: then the server's own TCP is \
                slow to answer, or all paths are as long",
            next: "compare TCP's shortest round trip (ss -ti) of another client of the same server: if it is \
                short there, this machine's path is the cause (for a virtual machine also its hypervisor)",
        },
        Verdict::Server | Verdict::NetworkOrServer => server(row, &place),
        Verdict::ClientQueue => Words {
            claim: format!(
                "Calls on {place} wait on this machine before they are sent: {} of their time{}.",
                percent(row.queues_ns.saturating_add(row.preparing_ns), row.spent_ns),
                row.queue.map(|queue| format!(", most of it for {}", what_for(queue))).unwrap_or_default()
            ),
            layer: Layer::NfsClient,
            evidence: None,
            refutes: "replies are slow as well: then slots are held for long, and the queue is an effect",
            next: row.queue.map_or("see whether the client's kernel threads wait for CPUs", remedy),
        },
        Verdict::Receive => Words {
            claim: format!(
                "Replies on {place} take long to be received after they begin to arrive: {} of the calls' time.",
                percent(row.receive_ns, row.spent_ns)
            ),
            layer: Layer::NfsClient,
            evidence: None,
            refutes: "the kernel threads that receive (xprtiod) wait for CPUs: then it is not the bandwidth",
            next: "compare the bytes received per second with what the link can carry",
        },
        Verdict::Wake => Words {
            claim: format!(
                "Replies on {place} wait for threads of this machine that take them: {} of the calls' time.",
                percent(row.wake_ns, row.spent_ns)
            ),
            layer: Layer::Cpu,
            evidence: None,
            refutes: "the threads that wait for CPUs are not those that wait for NFS",
            next: "see who uses the CPUs (top), and the cgroup's cpu.max",
        },
        Verdict::PartlyKnown => Words {
            claim: format!("Whether a layer of the NFS calls on {place} is slow is known in part only."),
            layer: Layer::Measurement,
            evidence: Some(
                "not known: errors, queues before sending, calls sent again or not answered, what a reply waits for"
                    .into(),
            ),
            refutes: "the client's own statistics (/proc/self/mountstats) show no errors, timeouts and retransmissions",
            next: "compare those statistics before and after; nfslat doctor says what is missing here, and the remedy",
        },
        Verdict::Healthy | Verdict::NoAnswer | Verdict::NotEnoughCalls => Words {
            claim: if answer.complete {
                format!("No layer of the NFS calls on {place} is slow.")
            } else {
                format!("No layer of the NFS calls on {place} was seen to be slow, but the data is incomplete.")
            },
            layer: Layer::None,
            evidence: None,
            refutes: "another client of the same server is much faster: what is slow here is told by fixed \
                limits (20 ms from sending to the reply beyond the path, 2 ms for the path)",
            next: "",
        },
    }
}

fn server(row: &LayersRow, place: &str) -> Words {
    let knows_path = row.verdict == Verdict::Server;
    let subject = if knows_path { "The server" } else { "The network path or the server" };
    Words {
        claim: format!(
            "{subject} of {place} is slow to answer {}: from sending to the reply it takes {} at the median \
                over all calls, {} at p99.",
            listed(&row.operations),
            duration(row.rtt_p50_ns.unwrap_or(0)),
            duration(row.rtt_p99_ns.unwrap_or(0)),
        ),
        layer: if knows_path { Layer::Server } else { Layer::NetworkOrServer },
        evidence: None,
        refutes: if knows_path {
            "large reads or writes only, at the rate of the link: then it is the transfer; or the path became \
                longer within the last 5 minutes: TCP remembers its shortest round trip for so long; or another \
                client of the same server is fast in the same operation"
        } else {
            "TCP's shortest round trip (ss -ti), of a connection made while calls were slow, is as long as \
                theirs: then it is the path; or it is short: then it is the server"
        },
        next: if knows_path {
            "look at the server: its disks, its CPUs, its NFS threads; and at another client of it, which then \
                has the same times"
        } else {
            "trace another client of the same server: higher on one client only means that client's path"
        },
    }
}

fn one_transport(answer: &Answer, row: &LayersRow) -> Words {
    let medians: Vec<_> = answer
        .transports
        .iter()
        .filter(|transport| transport.mounts.iter().any(|mount| row.mounts.contains(mount)))
        .filter_map(|transport| {
            let median = transport.calls.as_ref()?.rtt_p50_ns?;
            let port = transport.tcp.as_ref().and_then(|tcp| tcp.client_ports.last().copied());
            let port = port.map(|port| format!(" (port {port})")).unwrap_or_default();
            let name = format!("transport {}{port}", transport.id?);
            Some((name, transport.id == row.slow_transport, median))
        })
        .collect();
    let slow = medians.iter().find(|(_, slow, _)| *slow).map(|(name, ..)| name.as_str()).unwrap_or_default();
    let listed: Vec<_> = medians.iter().map(|(name, _, median)| format!("{name} {}", duration(*median))).collect();
    Words {
        claim: format!(
            "One of the {} to the server of {}, {slow}, is far slower than the others.",
            counted(medians.len() as u64, "connection"),
            place(row),
        ),
        layer: Layer::NetworkPath,
        evidence: Some(format!("median from sending to the reply: {}", listed.join(", "))),
        refutes: "its calls are other operations than those of the others",
        next: "see what its port is hashed to: a link of a bond, a queue of the card, a node of the server",
    }
}

fn put_off(answer: &Answer, row: &LayersRow) -> String {
    let of_place = answer.rpc.iter().filter(|rpc| rpc.mounts == row.mounts && rpc.is_nfs());
    let named = of_place.flat_map(|rpc| {
        rpc.errors_by_name.iter().map(move |error| format!("{} {} {}", rpc.op, error.name, count(error.count)))
    });
    format!("errors: {}", named.take(6).collect::<Vec<_>>().join(", "))
}

/// The parts of all time in calls.
fn parts(row: &LayersRow) -> String {
    let of = |part: u64| percent(part, row.spent_ns);
    let path = row.path_ns.map_or_else(
        || format!("network and server {}", of(row.server_ns)),
        |path| format!("network path {}, server and transfer {}", of(path), of(row.server_ns)),
    );
    let resent = if row.resent_ns > 0 { format!(", calls sent again {}", of(row.resent_ns)) } else { String::new() };
    format!(
        "of {} in {}: queues {}, preparing {}, {path}, receiving {}, waking {}{resent}",
        duration(row.spent_ns),
        counted(row.calls, "call"),
        of(row.queues_ns),
        of(row.preparing_ns),
        of(row.receive_ns),
        of(row.wake_ns),
    )
}

/// What TCP and the calls say of the way to the server and back.
fn round_trips(row: &LayersRow) -> String {
    let known = |ns: Option<u64>| ns.map_or_else(|| "not known".to_owned(), duration);
    let mut text = format!(
        "from sending to the reply {} at the median, {} at p99, {} at least; TCP's round trip {} at least (it \
            may be 5 minutes old), {} now; {}",
        known(row.rtt_p50_ns),
        known(row.rtt_p99_ns),
        known(row.rtt_min_ns),
        known(row.tcp_min_rtt_ns),
        known(row.tcp_srtt_ns),
        lost(row).join(", ")
    );
    if row.reconnects > 0 {
        text.push_str(&format!("; {}", counted(row.reconnects, "reconnection")));
    }
    text
}

fn lost(row: &LayersRow) -> Vec<String> {
    let segments = row.tcp_segments.map(|all| {
        let again = row.tcp_retransmitted;
        let late =
            if row.tcp_late > 0 { format!(", {} of them only late", count(row.tcp_late)) } else { String::new() };
        format!("{} of {} sent again ({}{late})", count(again), counted(all, "segment"), percent(again, all))
    });
    let calls = format!("{} of {} sent again", count(row.resent), counted(row.calls, "call"));
    segments.into_iter().chain([calls]).collect()
}

fn place(row: &LayersRow) -> String {
    row.mounts.join(", ")
}

fn listed(operations: &[String]) -> String {
    const MOST: usize = 4;
    let more = operations.len().saturating_sub(MOST);
    let shown = operations.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

const fn what_for(queue: RpcStep) -> &'static str {
    match queue {
        RpcStep::SessionSlot => "a slot of the NFS session",
        RpcStep::XprtSlot => "a slot of the transport",
        RpcStep::SendLock => "their turn to send on the connection",
        RpcStep::Connect => "a connection",
        RpcStep::Security => "a security context",
        RpcStep::Delay => "the time the server asked for",
        RpcStep::Recovery => "the recovery of client state",
        RpcStep::Sequence => "another open or lock of the same owner",
        RpcStep::Other | RpcStep::Receive | RpcStep::Wake => "another queue",
    }
}

const fn remedy(queue: RpcStep) -> &'static str {
    match queue {
        RpcStep::SessionSlot => {
            "more slots: nfs.max_session_slots here and the server's own limit (the smaller counts); or fewer \
                calls at once"
        }
        RpcStep::XprtSlot => {
            "more slots: sunrpc.tcp_max_slot_table_entries (set before the mount); nconnect adds connections"
        }
        RpcStep::SendLock => "nconnect adds connections, over which calls are sent side by side",
        RpcStep::Connect => "see why there is no connection: ss -tn, the server's port, the firewall",
        RpcStep::Security => "see rpc.gssd and the key distribution center",
        RpcStep::Delay | RpcStep::Recovery => "see whether the server was restarted or failed over",
        RpcStep::Sequence => "mount with version 4.1 or later, which does not line up opens of one owner",
        RpcStep::Other | RpcStep::Receive | RpcStep::Wake => "find the queue by its name (--json)",
    }
}
