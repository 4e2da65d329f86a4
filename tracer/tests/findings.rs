//! What is claimed, and what is not.

mod common;

use common::{MS, S, Scene, stacks};
use nfslat::{
    analyse::{
        answer,
        findings::{Finding, Layer},
    },
    model::{ProbeState, Recording},
};

fn ids(recording: &Recording) -> Vec<&'static str> {
    answer(recording).findings.iter().map(|finding| finding.id).collect()
}

fn finding(recording: &Recording, id: &str) -> Finding {
    let findings = answer(recording).findings;
    findings.into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn calls_of_a_hung_server_come_first() {
    let recording = common::server_hangs();
    assert_eq!(ids(&recording)[..2], ["outstanding-calls", "stall-storage"]);
    let finding = finding(&recording, "outstanding-calls");
    // The third call is 3 ms old: a busy client always has some.
    assert_eq!(finding.effect.unwrap().value, 2);
}

#[test]
fn the_larger_stall_comes_first() {
    let mut scene = Scene::new(10);
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::NFS_PAGE, 0, &[(50 * MS, 20)]);
    scene.waits(thread, stacks::MUNMAP, 0, &[(50 * MS, 60)]);
    assert_eq!(ids(&scene.recording)[..2], ["stall-memory-lock", "stall-storage"]);
}

#[test]
fn one_long_wait_is_named_whatever_its_share() {
    let mut scene = Scene::new(60);
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::NFS_PAGE, 0, &[(99 * MS, 1)]);
    assert!(!ids(&scene.recording).contains(&"stall-storage"));
    scene.waits(thread, stacks::NFS_RPC, 0, &[(100 * MS, 1)]);
    assert!(ids(&scene.recording).contains(&"stall-storage"));
}

#[test]
fn a_kernel_thread_is_blamed_only_if_no_process_is() {
    let mut scene = Scene::new(10);
    let kernel = scene.kernel_thread(2, "kworker/u8:1");
    scene.waits(kernel, stacks::NFS_PAGE, 0, &[(S, 5)]);
    assert!(finding(&scene.recording, "stall-storage").subject.starts_with("kworker"));
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::NFS_PAGE, 0, &[(S, 1)]);
    assert_eq!(finding(&scene.recording, "stall-storage").subject, "a (pid 1)");
}

#[test]
fn the_tracer_itself_is_not_blamed() {
    let mut scene = Scene::new(10);
    let tracer = scene.process(scene.recording.cost.pid, "nfslat");
    scene.waits(tracer, stacks::NFS_PAGE, 0, &[(S, 5)]);
    assert!(!ids(&scene.recording).contains(&"stall-storage"));
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::NFS_PAGE, 0, &[(S, 1)]);
    assert_eq!(finding(&scene.recording, "stall-storage").subject, "a (pid 1)");
}

#[test]
fn sleepers_are_no_stall() {
    let mut scene = Scene::new(10);
    for pid in 1..50 {
        let thread = scene.process(pid, "worker");
        scene.waits(thread, stacks::FUTEX, 0, &[(5 * S, 1)]);
        scene.waits(thread, stacks::EPOLL, 0, &[(4 * S, 1)]);
    }
    assert_eq!(ids(&scene.recording)[0], "nothing-stalled");
}

#[test]
fn incomplete_data_is_no_all_clear() {
    assert_eq!(ids(&common::nothing_happens()), ["nothing-stalled", "no-nfs-calls"]);
    let ids = ids(&common::much_is_lost());
    assert_eq!(ids, ["no-stall-seen", "measured-late", "no-nfs-calls", "incomplete"]);
}

#[test]
fn waits_not_recognised_are_no_all_clear() {
    let mut scene = Scene::new(10);
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::ODD, 0, &[(200 * MS, 3)]);
    assert_eq!(ids(&scene.recording)[..2], ["no-stall-seen", "unrecognised-waits"]);
}

#[test]
fn without_the_scheduler_probe_nothing_is_said_about_stalls() {
    let mut recording = common::nothing_happens();
    recording.threads.clear();
    recording.waits.clear();
    for slice in &mut recording.slices {
        slice.waits.clear();
        slice.wait_histograms.clear();
    }
    recording.probes[0].state = ProbeState::Missing;
    assert_eq!(ids(&recording), ["not-measured", "no-nfs-calls", "incomplete"]);
}

#[test]
fn each_part_of_a_call_has_its_own_layer() {
    let slow = |backlog, rtt, tail| {
        let mut scene = Scene::new(10);
        let client = scene.mount("/mnt/a", &[1]);
        scene.calls(client, 1, "READ", &[(backlog, rtt, tail); 20]);
        scene.recording
    };
    let layer = |recording: &Recording| finding(recording, "nfs-layer").layer;
    assert_eq!(layer(&slow(30 * MS, MS, MS)), Layer::NfsClient);
    assert_eq!(layer(&slow(MS, 30 * MS, MS)), Layer::NetworkOrServer);
    assert_eq!(layer(&slow(MS, MS, 30 * MS)), Layer::Cpu);
    assert_eq!(layer(&slow(2 * MS, 2 * MS, 2 * MS)), Layer::None);
    let mut again = slow(2 * MS, 2 * MS, 2 * MS);
    again.slices[0].rpc[0].retransmitted = 5;
    assert_eq!(layer(&again), Layer::NetworkPath);
    assert!(ids(&again).contains(&"nfs-retransmitted"));
}

#[test]
fn fast_calls_are_no_finding() {
    let mut scene = Scene::new(60);
    let client = scene.mount("/mnt/a", &[1]);
    scene.calls(client, 1, "READ", &[(1000, 300_000, 1000); 100]);
    assert!(!ids(&scene.recording).contains(&"nfs-most-time"));
}

#[test]
fn every_finding_that_claims_trouble_has_evidence_and_a_refutation() {
    for recording in [
        common::nfs_is_slow(),
        common::server_hangs(),
        common::mmap_storm(),
        common::much_is_lost(),
        common::nothing_happens(),
    ] {
        for finding in answer(&recording).findings {
            assert!(!finding.evidence.is_empty(), "{}", finding.id);
            assert!(finding.layer == Layer::Measurement || !finding.refutes.is_empty(), "{}", finding.id);
            assert!(finding.claim.ends_with('.'), "{}", finding.claim);
        }
    }
}

#[test]
fn a_filter_that_matches_nobody_is_said_first_and_is_no_all_clear() {
    let mut recording = Scene::new(10).recording;
    recording.options.comm = Some("nosuch".into());
    assert_eq!(ids(&recording)[0], "nobody-traced");
    assert!(finding(&recording, "nobody-traced").claim.contains("'nosuch'"));
    assert!(!ids(&recording).contains(&"nothing-stalled"));
}
