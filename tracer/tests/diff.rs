//! Two recordings beside each other.

mod common;

use common::{MS, S, Scene, US};
use nfslat::{
    analyse::diff::{CallRow, Diff, Difference, Mode, Where, Which, diff},
    model::{Histogram, InFlight, Loss, Recording, RpcPart, RpcSlice},
    render::{Style, text},
};

use nfslat_common::sched::wait_flags::{LOCK_WRITE, MMAP_LOCK, UNINTERRUPTIBLE};

const SECONDS: u64 = 30;

/// A machine that makes some calls a second, of (operation, backlog, rtt, tail); they vary by a tenth and by the moment.
fn machine(name: &str, a_second: u64, calls: &[(&str, u64, u64, u64)]) -> Recording {
    let mut scene = Scene::new(SECONDS);
    scene.recording.host.hostname = name.into();
    scene.recording.host.boot_id = name.into();
    let client = scene.mount("/mnt/data", &[1]);
    for (op, backlog, rtt, tail) in calls {
        scene.calls(client, 1, op, &[(*backlog, *rtt, *tail)]);
    }
    let mut recording = scene.recording;
    recording.slices[0].rpc.clear();
    for (second, slice) in (0_u64..).zip(&mut recording.slices) {
        slice.rpc = (0_u32..)
            .zip(calls)
            .map(|(series, (_, backlog, rtt, tail))| {
                let part = |ns: u64| {
                    let mut part = RpcPart::default();
                    for call in 0..a_second {
                        let ns = ns + ns * ((second * 7 + call * 3) % 11) / 100;
                        part.histogram.record(ns, 1);
                        part.sum_ns += ns.cast_signed();
                    }
                    part
                };
                RpcSlice {
                    series,
                    count: a_second,
                    transmissions: a_second,
                    bytes_sent: 160 * a_second,
                    bytes_received: 160 * a_second,
                    backlog: part(*backlog),
                    rtt: part(*rtt),
                    tail: part(*tail),
                    execute: part(backlog + rtt + tail),
                    ..RpcSlice::default()
                }
            })
            .collect();
    }
    recording
}

const HEALTHY: [(&str, u64, u64, u64); 2] =
    [("GETATTR", 20 * US, 400 * US, 30 * US), ("READ", 20 * US, 900 * US, 60 * US)];

fn with_more(backlog: u64, rtt: u64, tail: u64) -> Vec<(&'static str, u64, u64, u64)> {
    HEALTHY.iter().map(|(op, b, r, t)| (*op, b + backlog, r + rtt, t + tail)).collect()
}

fn compared(a: &Recording, b: &Recording) -> Diff {
    diff(a, b, None).unwrap()
}

#[test]
fn two_healthy_machines_do_not_differ() {
    let (a, b) = (machine("vm-a", 40, &HEALTHY), machine("vm-b", 35, &HEALTHY));
    let diff = compared(&a, &b);
    assert_eq!((diff.mode, diff.conclusion.slower, diff.conclusion.layer.as_str()), (Mode::TwoHosts, None, "none"));
    assert!(diff.calls.iter().all(|row| row.verdict == Difference::None), "{:?}", diff.calls);
    assert!(diff.conclusion.claim.contains("No difference between vm-a and vm-b"), "{}", diff.conclusion.claim);
}

#[test]
fn a_machine_does_not_differ_from_itself() {
    let a = machine("vm-a", 40, &HEALTHY);
    let diff = compared(&a, &a);
    assert_eq!((diff.mode, diff.conclusion.slower), (Mode::SameHost, None));
    assert!(diff.places.iter().all(|row| row.execute.unwrap().shift_ns == 0));
    assert!(diff.configuration.is_empty(), "{:?}", diff.configuration);
}

#[test]
fn the_part_that_takes_longer_is_named_with_its_true_shift() {
    let a = machine("vm-a", 40, &HEALTHY);
    for (more, part) in
        [((0, 3 * MS, 0), Where::NetworkPath), ((3 * MS, 0, 0), Where::ClientQueue), ((0, 0, 3 * MS), Where::Receive)]
    {
        let b = machine("vm-b", 40, &with_more(more.0, more.1, more.2));
        let diff = compared(&a, &b);
        assert_eq!(
            (diff.conclusion.slower, diff.places[0].part),
            (Some(Which::B), Some(part)),
            "{:?}",
            diff.conclusion
        );
        let shift = diff.places[0].execute.unwrap();
        // The varied tenth is of the longer time.
        let truth = (3 * MS).cast_signed();
        assert!((truth..=truth * 11 / 10).contains(&shift.shift_ns), "{shift:?}");
        assert!(shift.low_ns <= shift.shift_ns && shift.shift_ns <= shift.high_ns, "{shift:?}");
    }
}

#[test]
fn the_opposite_comparison_is_the_mirror() {
    let (a, b) = (machine("vm-a", 40, &HEALTHY), machine("vm-b", 30, &with_more(0, 3 * MS, 0)));
    let (there, back) = (compared(&a, &b), compared(&b, &a));
    assert_eq!((there.conclusion.slower, back.conclusion.slower), (Some(Which::B), Some(Which::A)));
    assert_eq!(there.conclusion.claim, back.conclusion.claim);
    assert_eq!(there.conclusion.layer, back.conclusion.layer);
    for (there, back) in there.calls.iter().zip(&back.calls) {
        let (there, back) = (there.execute_p50.unwrap(), back.execute_p50.unwrap());
        assert_eq!((there.low_ns, there.high_ns), (-back.high_ns, -back.low_ns));
    }
}

#[test]
fn before_and_after_the_server_may_have_changed_too() {
    let (a, b) = (machine("vm-a", 40, &HEALTHY), machine("vm-a", 40, &with_more(0, 3 * MS, 0)));
    assert_eq!(compared(&a, &b).places[0].part, Some(Where::NetworkOrServer));
    let mut later = machine("vm-b", 40, &with_more(0, 3 * MS, 0));
    later.window.start_unix_ns += 3_600 * S;
    let diff = compared(&a, &later);
    assert_eq!(diff.places[0].part, Some(Where::NetworkOrServer));
    assert!(diff.warnings.iter().any(|warning| warning.contains("same time")), "{:?}", diff.warnings);
}

#[test]
fn an_operation_that_is_slower_now_and_then_is_the_servers() {
    let a = machine("vm-a", 40, &HEALTHY);
    let mut b = machine("vm-b", 10, &HEALTHY);
    // Three of four calls take much longer; the rest, and so the path, do not.
    for part in b.slices.iter_mut().flat_map(|slice| &mut slice.rpc) {
        for part in [&mut part.rtt, &mut part.execute] {
            let count = part.histogram.count();
            part.histogram.record(9 * MS, 3 * count);
        }
        part.count *= 4;
    }
    let diff = compared(&a, &b);
    assert_eq!(
        (diff.conclusion.slower, diff.places[0].part),
        (Some(Which::B), Some(Where::NetworkOrServer)),
        "{diff:?}"
    );
}

#[test]
fn two_mounts_of_one_export_are_told_apart() {
    let twice = |more: u64| {
        let mut recording = machine("vm", 40, &[HEALTHY[0], ("READ", 20 * US, 900 * US + more, 60 * US)]);
        let (mut mount, mut client) = (recording.mounts[0].clone(), recording.clients[0].clone());
        (mount.mount_point, mount.dev_minor) = ("/mnt/other".into(), 99);
        (client.id, client.mounts) = (77, vec![1]);
        recording.rpc_series[1].client_id = client.id;
        recording.mounts.push(mount);
        recording.clients.push(client);
        recording
    };
    let diff = compared(&twice(0), &twice(3 * MS));
    let verdicts: Vec<_> = diff.places.iter().map(|row| (row.b_mount.as_str(), row.verdict)).collect();
    assert_eq!(verdicts, [("/mnt/data", Difference::None), ("/mnt/other", Difference::Slower)]);
}

#[test]
fn stalls_of_more_work_are_no_difference() {
    let with_stalls = |name: &str, a_second: u64, waits: u64| {
        let mut recording = machine(name, a_second, &HEALTHY);
        let mut scene = Scene { recording: recording.clone() };
        let thread = scene.process(7, "fio");
        scene.waits(thread, common::stacks::MUNMAP, UNINTERRUPTIBLE | MMAP_LOCK | LOCK_WRITE, &[(10 * MS, waits)]);
        recording = scene.recording;
        recording
    };
    let a = with_stalls("vm-a", 40, 100);
    assert_eq!(compared(&a, &with_stalls("vm-b", 160, 400)).conclusion.slower, None);
    let stormy = compared(&a, &with_stalls("vm-b", 40, 800)).conclusion;
    assert_eq!((stormy.slower, stormy.layer.as_str()), (Some(Which::B), "memory-lock"));
}

#[test]
fn few_calls_say_nothing() {
    let (a, b) = (machine("vm-a", 1, &HEALTHY), machine("vm-b", 1, &with_more(0, 3 * MS, 0)));
    let diff = compared(&a, &b);
    assert_eq!((diff.conclusion.slower, diff.conclusion.layer.as_str()), (None, "unknown"));
    assert!(diff.conclusion.claim.contains("not enough data"), "{}", diff.conclusion.claim);
    // No number is better than a wrong one.
    let text = text::diff::render(&diff, Style { colour: false, width: 120 });
    let row: Vec<_> = text.lines().find(|line| line.starts_with("READ")).unwrap().split_whitespace().collect();
    assert_eq!(row[..8], ["READ", "30", "30", "-", "-", "-", "-", "-"], "{text}");
}

#[test]
fn one_slow_operation_is_not_the_paths() {
    let a = machine("vm-a", 40, &HEALTHY);
    let diff = compared(&a, &machine("vm-b", 40, &[HEALTHY[0], ("READ", 20 * US, 20 * MS, 60 * US)]));
    assert_eq!((diff.conclusion.slower, diff.places[0].part), (Some(Which::B), Some(Where::NetworkOrServer)));
}

#[test]
fn a_slow_operation_that_is_rare_is_not_lost_among_the_others() {
    let slow = |more: u64| {
        let mut recording = machine("vm", 200, &[HEALTHY[0], ("COMMIT", 20 * US, 900 * US + more, 60 * US)]);
        for slice in &mut recording.slices {
            let mut part = RpcPart::default();
            part.histogram.record(980 * US + more, 3);
            slice.rpc[1] = RpcSlice { execute: part.clone(), rtt: part, count: 3, ..slice.rpc[1].clone() };
        }
        recording
    };
    let diff = compared(&slow(0), &slow(5 * MS));
    assert_eq!((diff.conclusion.slower, diff.places[0].b_slower), (Some(Which::B), 1), "{:?}", diff.conclusion);
}

#[test]
fn calls_of_one_moment_say_nothing() {
    let burst = |name: &str, more: u64| {
        let mut recording = machine(name, 1_000, &with_more(0, more, 0));
        recording.slices.iter_mut().skip(1).for_each(|slice| slice.rpc.clear());
        recording
    };
    let diff = compared(&burst("vm-a", 0), &burst("vm-b", 3 * MS));
    assert_eq!((diff.conclusion.slower, diff.conclusion.layer.as_str()), (None, "unknown"), "{:?}", diff.conclusion);
}

#[test]
fn calls_of_other_sizes_are_not_compared() {
    let a = machine("vm-a", 40, &HEALTHY);
    let mut b = machine("vm-b", 40, &[HEALTHY[0], ("READ", 20 * US, 9 * MS, 60 * US)]);
    for slice in &mut b.slices {
        slice.rpc[1].bytes_received = slice.rpc[1].count << 20;
    }
    let diff = compared(&a, &b);
    assert_eq!((diff.conclusion.slower, diff.places[0].operations), (None, 1), "{:?}", diff.conclusion);
    assert!(diff.warnings.iter().any(|warning| warning.contains("READ")), "{:?}", diff.warnings);
}

#[test]
fn slow_calls_that_the_median_does_not_show_are_told() {
    let a = machine("vm-a", 40, &HEALTHY);
    let mut b = machine("vm-b", 40, &HEALTHY);
    for part in b.slices.iter_mut().flat_map(|slice| &mut slice.rpc) {
        part.execute.histogram.record(900 * MS, 12);
    }
    let conclusion = compared(&a, &b).conclusion;
    assert_eq!((conclusion.slower, conclusion.layer.as_str()), (None, "unknown"));
    assert!(conclusion.claim.contains("slowest tenth"), "{}", conclusion.claim);
}

#[test]
fn a_busier_machine_is_not_a_slower_one() {
    let (a, b) = (machine("vm-a", 10, &HEALTHY), machine("vm-b", 200, &HEALTHY));
    let diff = compared(&a, &b);
    assert_eq!(diff.conclusion.slower, None);
    assert!(diff.warnings.iter().any(|warning| warning.contains("load")), "{:?}", diff.warnings);
}

#[test]
fn a_machine_whose_load_makes_it_slower_is_not_blamed() {
    let a = machine("vm-a", 10, &HEALTHY);
    let mut scene = Scene { recording: machine("vm-b", 40, &HEALTHY) };
    let thread = scene.process(7, "fio");
    scene.waits(thread, common::stacks::NFS_RPC, UNINTERRUPTIBLE, &[(20 * MS, 500)]);
    let mut b = scene.recording;
    // Most calls queue; the fastest do not.
    for part in b.slices.iter_mut().flat_map(|slice| &mut slice.rpc) {
        for part in [&mut part.rtt, &mut part.execute] {
            part.histogram.record(3 * MS, 5 * part.histogram.count());
        }
        part.count *= 6;
    }
    let diff = compared(&a, &b);
    assert_eq!((diff.places[0].part, diff.conclusion.slower), (Some(Where::Load), None), "{:?}", diff.conclusion);
    assert!(diff.conclusion.claim.contains("busier"), "{}", diff.conclusion.claim);
}

#[test]
fn a_server_that_answers_only_one_of_the_two_is_named() {
    let (a, mut b) = (machine("vm-a", 40, &HEALTHY), machine("vm-b", 0, &HEALTHY));
    for slice in &mut b.slices {
        slice.rpc.clear();
    }
    b.in_flight.push(InFlight {
        client_id: b.clients[0].id,
        program: 100_003,
        version: 4,
        op: "READ".into(),
        age_ns: 25 * S,
        ..InFlight::default()
    });
    let diff = compared(&a, &b);
    assert_eq!((diff.conclusion.slower, diff.places[0].part), (Some(Which::B), Some(Where::Unanswered)), "{diff:?}");
    assert!(diff.conclusion.claim.contains("does not answer"), "{}", diff.conclusion.claim);
}

#[test]
fn hours_are_compared_by_as_many_moments_as_minutes() {
    const SLICES: usize = 7_200;
    let long = |name: &str| {
        let mut recording = machine(name, 5, &HEALTHY);
        let minute = recording.slices.clone();
        recording.slices = minute.iter().cycle().take(SLICES).cloned().collect();
        recording
    };
    let diff = compared(&long("vm-a"), &long("vm-b"));
    assert_eq!(diff.calls.len(), 2);
    let alike = |row: &CallRow| row.verdict == Difference::None && row.a_count == 5 * SLICES as u64;
    assert!(diff.calls.iter().all(alike), "{:?}", diff.calls);
}

#[test]
fn incomplete_data_gives_no_clean_verdict() {
    let (mut a, b) = (machine("vm-a", 40, &HEALTHY), machine("vm-b", 40, &HEALTHY));
    a.losses.push(Loss { what: "wait-table-full".into(), count: 1, meaning: "waits".into() });
    let diff = compared(&a, &b);
    assert!(!diff.complete() && diff.conclusion.claim.contains("incomplete"), "{}", diff.conclusion.claim);
}

#[test]
fn recordings_with_other_limits_are_refused() {
    let (a, mut b) = (machine("vm-a", 40, &HEALTHY), machine("vm-b", 40, &HEALTHY));
    b.options.pid = Some(7);
    assert!(diff(&a, &b, None).unwrap_err().contains("second recording is limited to one process"));
}

#[test]
fn recordings_without_calls_or_time_are_no_trouble() {
    let nothing = Recording::default();
    let a = machine("vm-a", 40, &HEALTHY);
    for (a, b) in [(&a, &nothing), (&nothing, &a), (&nothing, &nothing)] {
        let diff = compared(a, b);
        assert_eq!(diff.conclusion.slower, None);
        assert!(!text::diff::render(&diff, Style::default()).is_empty());
    }
    let mut empty = a.clone();
    for part in empty.slices.iter_mut().flat_map(|slice| &mut slice.rpc) {
        part.execute.histogram = Histogram::default();
    }
    assert_eq!(compared(&a, &empty).conclusion.layer, "unknown");
}

#[test]
fn the_text_says_first_what_it_comes_to() {
    let mut a = machine("vm-a", 40, &HEALTHY);
    let mut b = machine("vm-\u{1b}[31mb", 40, &with_more(0, 20 * MS, 0));
    a.window.start_unix_ns = 1_795_000_000 * S;
    b.window.start_unix_ns = a.window.start_unix_ns;
    b.host.kernel = "6.12.108-cloud-amd64".into();
    let text = text::diff::render(&compared(&a, &b), Style { colour: false, width: 100 });
    assert!(!text.contains('\u{1b}'), "{text}");
    insta::assert_snapshot!(text);
}
