//! No time is lost or counted twice on the way from a recording to its answer.

mod common;

use common::{MS, S, Scene, US, stacks};
use nfslat::{
    analyse::{
        Answer, answer, by_operation,
        classify::{Class, Group},
    },
    model::{InFlight, Recording, RpcStep},
};
use proptest::prelude::*;

const STACKS: [&str; 8] = [
    stacks::NFS_RPC,
    stacks::NFS_PAGE,
    stacks::MUNMAP,
    stacks::FAULT,
    stacks::EPOLL,
    stacks::FUTEX,
    stacks::WORKER,
    stacks::ODD,
];

/// What one thread does in a window of 100 s: waits by stack, short waits, run-queue time, and time
/// whose waits found no room.
#[derive(Clone, Debug)]
struct Life {
    waits: Vec<(usize, u64, u64)>,
    short_ns: u64,
    runnable_ns: u64,
    lost_ns: u64,
}

fn life() -> impl Strategy<Value = Life> {
    (prop::collection::vec((0..STACKS.len(), 1..200 * MS, 1_u64..9), 0..9), 0..S, 0..S, prop_oneof![Just(0), 1..S])
        .prop_map(|(waits, short_ns, runnable_ns, lost_ns)| Life { waits, short_ns, runnable_ns, lost_ns })
}

fn recording(lives: &[Vec<Life>]) -> Recording {
    let mut scene = Scene::new(100);
    for (pid, threads) in (1_u32..).zip(lives) {
        let pid = pid * 100;
        let first = scene.process(pid, "p");
        for (tid, life) in (pid..).zip(threads) {
            let thread = if tid == pid { first } else { scene.thread(pid, tid, "t") };
            for &(stack, ns, count) in &life.waits {
                scene.waits(thread, STACKS[stack], 0, &[(ns, count), (ns / 2 + 1, 1)]);
            }
            scene.short(thread, 1, life.short_ns);
            scene.runnable(thread, life.runnable_ns);
            let times = &mut scene.recording.threads[thread as usize].times;
            times.on_cpu_ns -= life.lost_ns;
            times.blocked_ns += life.lost_ns;
        }
    }
    scene.recording
}

fn class_total(answer: &Answer, class: Class) -> u64 {
    answer.classes.iter().filter(|row| row.class == class).map(|row| row.total_ns).sum()
}

proptest! {
    #[test]
    fn the_parts_of_every_total_add_up(
        lives in prop::collection::vec(prop::collection::vec(life(), 1..4), 1..4),
    ) {
        let recording = recording(&lives);
        let answer = answer(&recording);
        for thread in &answer.threads {
            prop_assert_eq!(thread.on_cpu_ns + thread.runnable_ns + thread.blocked_ns, thread.window_ns);
            prop_assert_eq!(thread.classes.values().sum::<u64>(), thread.blocked_ns);
        }
        for process in &answer.processes {
            let groups: u64 = Group::ALL.into_iter().map(|group| process.groups.get(group)).sum();
            prop_assert_eq!(groups, process.runnable_ns + process.blocked_ns);
            let waits = answer.waits.iter().filter(|row| row.pid == process.pid);
            prop_assert_eq!(waits.map(|row| row.total_ns).sum::<u64>(), process.blocked_ns);
        }
        for group in Group::ALL {
            let processes: u64 = answer.processes.iter().map(|process| process.groups.get(group)).sum();
            prop_assert_eq!(answer.groups.get(group), processes);
        }
        for rows in [&answer.comms, &answer.cgroups] {
            for group in Group::ALL {
                let sum: u64 = rows.iter().map(|row| row.groups.get(group)).sum();
                prop_assert_eq!(answer.groups.get(group), sum);
            }
            prop_assert_eq!(rows.iter().map(|row| row.threads).sum::<u64>(), answer.threads.len() as u64);
        }
        for row in &answer.classes {
            let threads: u64 = answer.threads.iter().filter_map(|thread| thread.classes.get(&row.class)).sum();
            prop_assert_eq!(row.total_ns, threads);
        }
        let lives: Vec<_> = lives.iter().flatten().collect();
        prop_assert_eq!(class_total(&answer, Class::Short), lives.iter().map(|life| life.short_ns).sum::<u64>());
        prop_assert_eq!(class_total(&answer, Class::Unattributed), lives.iter().map(|life| life.lost_ns).sum::<u64>());
    }

    #[test]
    fn percentiles_of_a_class_lie_within_its_waits(life in life()) {
        for row in answer(&recording(&[vec![life]])).waits {
            if let (Some(p50), Some(p99)) = (row.p50, row.p99) {
                prop_assert!(p50 <= p99 && p99 <= row.max, "{row:?}");
            }
        }
    }
}

#[test]
fn a_thread_whose_times_do_not_add_up_makes_the_answer_incomplete() {
    let mut recording = common::nothing_happens();
    recording.threads[0].times.on_cpu_ns += 50 * MS;
    let answer = answer(&recording);
    assert!(!answer.complete);
    assert_eq!(answer.losses[0].what, "accounting-gap");
}

#[test]
fn calls_are_counted_once_however_they_are_split() {
    let recording = common::nfs_is_slow();
    let answer = answer(&recording);
    let counted: u64 = recording.slices.iter().flat_map(|slice| &slice.rpc).map(|part| part.count).sum();
    assert_eq!(answer.rpc.iter().map(|row| row.count).sum::<u64>(), counted);
    let merged = by_operation(&answer.rpc);
    assert_eq!(merged.iter().map(|row| row.count).sum::<u64>(), counted);
    for row in &merged {
        let resent = row.resent.as_ref().map_or(0, |resent| resent.execute_ns.histogram.count());
        assert_eq!(row.execute_ns.histogram.count() + resent, row.count);
        let parts = row.backlog_ns.sum + row.rtt_ns.sum + row.tail_ns.sum;
        assert_eq!(parts, row.execute_ns.sum, "{}", row.op);
    }
    let read = merged.iter().find(|row| row.op == "READ").unwrap();
    assert_eq!((read.count, read.retransmitted, read.xprt), (102, 2, None));
    // Those sent twice are not in the times of the others.
    assert_eq!(read.backlog_ns.max, 14 * US);
    assert_eq!(read.resent.as_ref().map(|resent| (resent.count, resent.backlog_ns.max)), Some((2, 62 * MS)));
    let write = merged.iter().find(|row| row.op == "WRITE").unwrap();
    let steps: Vec<_> = write.steps.iter().map(|step| (step.step, step.count, step.total_ns)).collect();
    assert_eq!(steps[0], (RpcStep::SessionSlot, 5, 9_500 * US));
    let getattr = merged.iter().find(|row| row.op == "GETATTR").unwrap();
    assert_eq!(getattr.errors_by_name.iter().map(|error| error.name.as_str()).collect::<Vec<_>>(), ["ENOENT"]);
    assert_eq!((read.rtt_ns.min, read.rtt_ns.max), (40 * MS, 43_340_000));
}

#[test]
fn slices_add_up() {
    let mut recording = common::nfs_is_slow();
    let once = answer(&recording);
    let first = recording.slices[0].rpc.clone();
    recording.slices[7].rpc = first;
    let twice = answer(&recording);
    for (one, two) in once.rpc.iter().zip(&twice.rpc) {
        assert_eq!((2 * one.count, 2 * one.rtt_ns.sum), (two.count, two.rtt_ns.sum));
        assert_eq!((one.rtt_ns.p50, one.rtt_ns.max), (two.rtt_ns.p50, two.rtt_ns.max));
    }
}

#[test]
fn a_mount_filter_leaves_the_calls_of_that_mount() {
    let mut recording = common::nfs_is_slow();
    recording.options.mount = Some("/mnt/b".into());
    let rows = answer(&recording).rpc;
    assert_eq!(rows.iter().map(|row| row.op.as_str()).collect::<Vec<_>>(), ["WRITE"]);
    assert_eq!(rows[0].mount.as_deref(), Some("/mnt/b"));
}

#[test]
fn calls_in_flight_count_where_they_belong() {
    let mut recording = common::nfs_is_slow();
    let call = |client_id, op: &str| InFlight {
        client_id,
        program: 100_003,
        version: 4,
        op: op.into(),
        age_ns: MS,
        ..InFlight::default()
    };
    // READ on /mnt/a has two transports, WRITE on /mnt/b one; nobody knows client 99.
    recording.in_flight = vec![call(10, "READ"), call(11, "WRITE"), call(99, "NULL")];
    let rows = answer(&recording).rpc;
    let open: Vec<_> = rows
        .iter()
        .filter(|row| row.in_flight > 0)
        .map(|row| (row.op.as_str(), row.mount.as_deref(), row.xprt, row.count))
        .collect();
    assert_eq!(open.len(), 3);
    assert!(open.contains(&("READ", Some("/mnt/a"), None, 0)));
    assert!(open.contains(&("WRITE", Some("/mnt/b"), Some(5), 5)));
    assert!(open.contains(&("NULL", None, None, 0)));
}

#[test]
fn calls_of_a_shared_client_name_all_its_mounts() {
    let mut recording = common::nfs_is_slow();
    recording.clients[0].mounts = vec![1, 0];
    recording.clients[0].shared = true;
    let rows = answer(&recording).rpc;
    assert_eq!(rows[0].mount, None);
    assert_eq!(rows[0].mounts, ["/mnt/a", "/mnt/b"]);
    assert_eq!(rows[0].server, "192.0.2.1");
}
