//! Calls that were open when the window closed: what a server that hangs looks like.

use super::{Effect, Finding, Layer, named};
use crate::analyse::{
    answer::{Answer, InFlightRow},
    units::{counted, duration},
};
use crate::model::RpcStep;

/// A busy client always has calls in flight. One that is open for this long, or for half of a
/// shorter window, is worth naming.
const WORTH_NAMING_NS: u64 = 1_000_000_000;

/// Calls listed as evidence.
const LISTED: usize = 5;

pub(super) fn find(answer: &Answer) -> Option<Finding> {
    let limit = WORTH_NAMING_NS.min(answer.window.duration_ns / 2).max(1);
    let old: Vec<_> = answer.in_flight.iter().filter(|call| call.age_ns >= limit).collect();
    let oldest = old.first()?;
    let number = old.len() as u64;
    let mut evidence: Vec<_> = old.iter().take(LISTED).map(|call| describe(call)).collect();
    if old.len() > LISTED {
        evidence.push(format!("and {} more", counted((old.len() - LISTED) as u64, "call")));
    }
    evidence.extend(completed(answer, oldest));
    Some(Finding {
        id: "outstanding-calls",
        claim: format!(
            "{} to {} {} still open when the trace ended. The oldest, {}, had been open for {}{}.",
            counted(number, "NFS call"),
            servers(&old),
            if number == 1 { "was" } else { "were" },
            place(oldest),
            if oldest.open_at_start { "at least " } else { "" },
            duration(oldest.age_ns),
        ),
        layer: Layer::NetworkOrServer,
        subject: servers(&old),
        effect: Some(Effect::number(number, "calls")),
        evidence,
        refutes: vec![
            "the same calls end quickly in a trace that goes on for longer".into(),
            "they sleep on a queue of this client (slot table, send lock, recovery): then they were \
             not sent, and the cause is what holds that queue"
                .into(),
        ],
        next: "check that the server answers (ping, rpcinfo -t SERVER nfs) and what it waits for; \
               the calls end, or the mount's timeout fires, when it does"
            .into(),
    })
}

fn servers(calls: &[&InFlightRow]) -> String {
    let mut servers: Vec<_> = calls.iter().map(|call| call.server.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    match servers.as_slice() {
        [""] => "a server that was not identified".into(),
        [only] => (*only).into(),
        several => format!("{} servers ({})", several.len(), several.join(", ")),
    }
}

fn place(call: &InFlightRow) -> String {
    let mut text = call.op.clone();
    match (&call.mount, call.mounts.as_slice()) {
        (Some(mount), _) => text.push_str(&format!(" on {mount}")),
        (None, []) => {}
        (None, mounts) => text.push_str(&format!(" shared by {}", mounts.join(", "))),
    }
    if call.pid > 0 {
        text.push_str(&format!(" by {}", named(&call.comm, call.pid)));
    }
    text
}

fn describe(call: &InFlightRow) -> String {
    let began = if call.open_at_start { ", begun before the trace" } else { "" };
    let queue = if call.waiting_in.is_empty() {
        String::new()
    } else {
        format!(", sleeps on {:?}{}", call.waiting_in, meaning(call))
    };
    format!("{}: open for {}{began}{queue}", place(call), duration(call.age_ns))
}

/// What sleeping on an RPC wait queue means. Names: `rpc_init_wait_queue()` and
/// `rpc_init_priority_wait_queue()` calls in net/sunrpc and fs/nfs.
fn meaning(call: &InFlightRow) -> &'static str {
    match call.waiting_in.as_str() {
        "delayq" if call.step == Some(RpcStep::Connect) => " (not sent: the server could not be connected to)",
        "xprt_pending" => " (sent and not answered, or connecting)",
        "xprt_sending" => " (not sent: waits for its turn to send)",
        "xprt_backlog" => " (not sent: waits for a transport slot)",
        "xprt_binding" => " (not sent: waits for the server's port)",
        "ForeChannel Slot table" => " (not sent: waits for a session slot)",
        "delayq" if call.step == Some(RpcStep::Delay) => " (the server asked to wait)",
        "delayq" => " (the server asked to wait, or could not be connected to)",
        "NFS client" => " (not sent: waits for the recovery of client state)",
        "Seqid_waitqueue" => " (not sent: waits for another open or lock)",
        _ => "",
    }
}

/// Other calls to the same server that did end: then it is not wholly silent.
fn completed(answer: &Answer, oldest: &InFlightRow) -> Option<String> {
    let done: u64 =
        answer.rpc.iter().filter(|row| row.server == oldest.server).fold(0, |sum, row| sum.saturating_add(row.count));
    (!oldest.server.is_empty()).then(|| format!("{} to that server ended in the window", counted(done, "other call")))
}
