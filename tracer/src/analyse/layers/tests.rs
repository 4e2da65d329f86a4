//! The rules, one by one.

use super::*;
use crate::analyse::{
    answer::{ErrorRow, Latency, StepRow},
    transports::{TcpRow, TransportCalls},
};

const MS: u64 = 1_000_000;
const WINDOW_NS: u64 = 10_000 * MS;

fn latency(values: &[u64]) -> Latency {
    let mut latency = Latency::default();
    values.iter().for_each(|ns| latency.histogram.record(*ns, 1));
    latency.sum = values.iter().sum::<u64>() as i64;
    latency.widen(values.iter().copied().min().unwrap_or(0), values.iter().copied().max().unwrap_or(0));
    latency.finish(values.len() as u64);
    latency
}

/// `count` calls of an operation on `/mnt/a`, each as long as the others: before sending, until the reply, after it.
fn calls(op: &str, count: usize, backlog_ns: u64, rtt_ns: u64, tail_ns: u64) -> RpcRow {
    let all = |ns: u64| latency(&vec![ns; count]);
    RpcRow {
        mounts: vec!["/mnt/a".to_owned()],
        op: op.to_owned(),
        count: count as u64,
        backlog_ns: all(backlog_ns),
        rtt_ns: all(rtt_ns),
        tail_ns: all(tail_ns),
        execute_ns: all(backlog_ns + rtt_ns + tail_ns),
        ..RpcRow::default()
    }
}

fn step(step: RpcStep, total_ns: u64) -> StepRow {
    StepRow { step, count: 1, total_ns, p50: None, p99: None, histogram: Histogram::default() }
}

/// A transport with this shortest round trip, over which calls took this long.
fn transport(id: u32, least_ns: u64, rtt_p50_ns: u64) -> TransportRow {
    TransportRow {
        id: Some(id),
        mounts: vec!["/mnt/a".to_owned()],
        calls: Some(TransportCalls { count: 50, rtt_p50_ns: Some(rtt_p50_ns), ..TransportCalls::default() }),
        tcp: Some(TcpRow { min_rtt_ns: Some(least_ns), sent_segments: Some(1_000), ..TcpRow::default() }),
        ..TransportRow::default()
    }
}

fn judged(operations: &[RpcRow], transports: &[TransportRow]) -> LayersRow {
    let mut rows = rows(operations, &[], transports, &Account::default(), WINDOW_NS);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn verdict(operations: &[RpcRow], transports: &[TransportRow]) -> Verdict {
    judged(operations, transports).verdict
}

#[test]
fn fast_calls_are_healthy_and_few_say_nothing() {
    let near = [transport(1, MS / 5, MS)];
    assert_eq!(verdict(&[calls("READ", 50, MS / 10, MS, MS / 10)], &near), Verdict::Healthy);
    assert_eq!(verdict(&[calls("READ", 19, MS, 900 * MS, MS)], &near), Verdict::NotEnoughCalls);
}

#[test]
fn a_long_round_trip_of_tcp_is_the_path_and_a_short_one_leaves_the_server() {
    let slow = [calls("READ", 50, MS / 10, 41 * MS, MS / 10)];
    assert_eq!(verdict(&slow, &[transport(1, 40 * MS, 41 * MS)]), Verdict::NetworkPath);
    assert_eq!(verdict(&slow, &[transport(1, MS, 41 * MS)]), Verdict::Server);
    assert_eq!(verdict(&slow, &[]), Verdict::NetworkOrServer);
}

#[test]
fn a_path_that_may_have_grown_is_not_told_from_the_server() {
    let mut grown = transport(1, MS / 5, 41 * MS);
    let slow = [calls("READ", 50, 0, 41 * MS, 0)];
    grown.tcp.as_mut().unwrap().srtt_ns = Some(40 * MS);
    assert_eq!(verdict(&slow, &[grown.clone()]), Verdict::NetworkOrServer);
    let some_fast = [slow[0].clone(), calls("GETATTR", 30, 0, MS, 0)];
    assert_eq!(verdict(&some_fast, &[grown]), Verdict::Server);
}

#[test]
fn the_server_is_named_with_the_operations_it_is_slow_for() {
    let operations = [calls("COMMIT", 30, 0, 60 * MS, 0), calls("GETATTR", 100, 0, MS, 0)];
    let row = judged(&operations, &[transport(1, MS / 2, MS)]);
    assert_eq!((row.verdict, row.operations), (Verdict::Server, vec!["COMMIT".to_owned()]));
}

#[test]
fn many_operations_of_few_calls_are_the_server_and_one_alone_is_not() {
    let transports = [transport(1, MS / 10, MS)];
    let fast = calls("LOOKUP", 20, 0, MS, 0);
    let seldom = |op: &str, count| calls(op, count, 0, 400 * MS, 0);
    let several = [seldom("OPEN", 3), seldom("CLOSE", 3), fast.clone()];
    let row = judged(&several, &transports);
    assert_eq!((row.verdict, row.operations.len()), (Verdict::Server, 2));
    assert_eq!(verdict(&[seldom("OPEN", 1), fast], &transports), Verdict::Healthy);
}

#[test]
fn few_long_stalls_are_the_server_too() {
    let mut operation = calls("READ", 60, 0, MS, 0);
    let values: Vec<u64> = (0..60).map(|n| if n < 3 { 900 * MS } else { MS }).collect();
    (operation.rtt_ns, operation.execute_ns) = (latency(&values), latency(&values));
    assert_eq!(verdict(&[operation], &[transport(1, MS / 2, MS)]), Verdict::Server);
}

#[test]
fn queues_are_the_client_unless_replies_are_slow_as_well() {
    let mut queued = calls("WRITE", 50, 30 * MS, 2 * MS, 0);
    queued.steps = vec![step(RpcStep::SessionSlot, 1_400 * MS), step(RpcStep::SendLock, 20 * MS)];
    let row = judged(&[queued.clone()], &[transport(1, MS / 2, 2 * MS)]);
    assert_eq!((row.verdict, row.queue), (Verdict::ClientQueue, Some(RpcStep::SessionSlot)));
    assert_eq!((row.queues_ns, row.preparing_ns), (1_420 * MS, 80 * MS));
    queued.rtt_ns = latency(&[30 * MS; 50]);
    assert_eq!(verdict(&[queued], &[transport(1, 29 * MS, 30 * MS)]), Verdict::NetworkPath);
}

#[test]
fn segments_sent_again_are_loss_whatever_else_is_slow() {
    let mut lossy = transport(1, 30 * MS, 41 * MS);
    let slow = [calls("READ", 50, 0, 41 * MS, 0)];
    lossy.tcp.as_mut().unwrap().retransmitted_segments = 4;
    assert_eq!(verdict(&slow, &[lossy.clone()]), Verdict::NetworkPath);
    lossy.tcp.as_mut().unwrap().retransmitted_segments = 20;
    assert_eq!(verdict(&slow, &[lossy.clone()]), Verdict::Loss);
    // Acknowledged too late, and not lost.
    lossy.tcp.as_mut().unwrap().duplicate_segments = Some(18);
    assert_eq!(verdict(&slow, &[lossy]), Verdict::NetworkPath);
}

#[test]
fn one_transport_far_slower_than_the_others_is_named() {
    let operations = [calls("READ", 50, 0, 12 * MS, 0)];
    let three = [transport(1, MS, MS), transport(2, MS, 2 * MS), transport(3, MS, 42 * MS)];
    let row = judged(&operations, &three);
    assert_eq!((row.verdict, row.slow_transport), (Verdict::OneTransport, Some(3)));
    assert_eq!(verdict(&operations, &three[..2]), Verdict::Healthy);
}

#[test]
fn after_the_reply_it_is_this_machine() {
    let mut received = calls("READ", 50, 0, MS, 9 * MS);
    assert_eq!(verdict(&[received.clone()], &[]), Verdict::Wake);
    received.steps = vec![step(RpcStep::Receive, 400 * MS), step(RpcStep::Wake, 50 * MS)];
    assert_eq!(verdict(&[received], &[]), Verdict::Receive);
}

#[test]
fn errors_that_mean_not_now_are_the_server_if_somebody_waited() {
    let mut put_off = calls("OPEN", 14, 0, 40 * MS, 0);
    put_off.errors_by_name = vec![ErrorRow { name: "NFS4ERR_GRACE".to_owned(), number: 10_013, count: 13 }];
    assert_eq!(verdict(&[put_off.clone()], &[]), Verdict::NotEnoughCalls);
    put_off.steps = vec![step(RpcStep::Delay, 5_000 * MS)];
    assert_eq!(verdict(&[put_off], &[]), Verdict::PutOff);
}

#[test]
fn an_old_call_that_was_sent_has_no_answer() {
    let call = |waiting_in: &str, step: Option<RpcStep>| InFlightRow {
        step,
        mount: None,
        mounts: vec!["/mnt/a".to_owned()],
        server: String::new(),
        program: 100_003,
        version: 4,
        op: "WRITE".to_owned(),
        age_ns: 3_000 * MS,
        open_at_start: false,
        pid: 0,
        comm: String::new(),
        waiting_in: waiting_in.to_owned(),
    };
    let of = |open: &[InFlightRow]| {
        rows(&[calls("WRITE", 50, 0, MS, 0)], open, &[], &Account::default(), WINDOW_NS).remove(0).verdict
    };
    assert_eq!(of(&[call("xprt_pending", None)]), Verdict::NoAnswer);
    assert_eq!(of(&[call("delayq", Some(RpcStep::Connect))]), Verdict::NoAnswer);
    assert_eq!(of(&[call("delayq", Some(RpcStep::Delay))]), Verdict::Healthy);
    assert_eq!(of(&[call("xprt_sending", Some(RpcStep::SendLock))]), Verdict::Healthy);
}

#[test]
fn times_alone_do_not_make_a_mount_healthy() {
    let of = |operations: &[RpcRow]| {
        let rows = rows(operations, &[], &[], &Account::default(), WINDOW_NS);
        of_times_alone(rows).remove(0).verdict
    };
    assert_eq!(of(&[calls("READ", 50, MS / 10, MS, MS / 10)]), Verdict::PartlyKnown);
    assert_eq!(of(&[calls("READ", 50, 90 * MS, MS, MS / 10)]), Verdict::PartlyKnown);
    assert_eq!(of(&[calls("READ", 50, MS / 10, MS, 90 * MS)]), Verdict::PartlyKnown);
    assert_eq!(of(&[calls("READ", 50, MS, 90 * MS, MS)]), Verdict::NetworkOrServer);
}
