//! For how much of the window at least one thread waited, from the recording to the line of text.

mod common;

use common::{MS, S, Scene, US, stacks};
use nfslat::{
    analyse::{answer, some_thread::SomeTime},
    model::Recording,
    render::{Style, text},
};
use nfslat_common::sched::wait_flags::{IOWAIT, LOCK_READ, MMAP_LOCK, UNINTERRUPTIBLE};

const LOCK: u32 = UNINTERRUPTIBLE | LOCK_READ | MMAP_LOCK;

fn line(recording: &Recording) -> Option<String> {
    let text = text::render(&answer(recording), Style::default());
    text.lines().find(|line| line.starts_with("some thread")).map(str::to_owned)
}

/// Two processes that wait for storage, with different stacks and partly at once, and one for a memory lock.
fn scene() -> Scene {
    let mut scene = Scene::new(10);
    let (a, b) = (scene.process(1, "a"), scene.process(2, "b"));
    scene.waits(a, stacks::NFS_RPC, UNINTERRUPTIBLE, &[(100 * MS, 20)]);
    scene.spans(a, stacks::NFS_RPC, UNINTERRUPTIBLE, &[(S, 2 * S), (4 * S, 5 * S)]);
    scene.waits(b, stacks::NFS_PAGE, IOWAIT | UNINTERRUPTIBLE, &[(100 * MS, 18)]);
    scene.spans(b, stacks::NFS_PAGE, IOWAIT | UNINTERRUPTIBLE, &[(1_500 * MS, 2_300 * MS), (4 * S, 5 * S)]);
    scene.waits(b, stacks::FAULT, LOCK, &[(50 * MS, 10)]);
    scene.spans(b, stacks::FAULT, LOCK, &[(7 * S, 7_500 * MS)]);
    // Uninterruptible too, but for something else.
    scene.waits(b, stacks::ODD, UNINTERRUPTIBLE, &[(100 * MS, 10)]);
    scene.spans(b, stacks::ODD, UNINTERRUPTIBLE, &[(8 * S, 9 * S)]);
    scene
}

#[test]
fn each_group_has_its_own_time_line() {
    let some = answer(&scene().recording).some_thread.unwrap();
    assert_eq!(some.min_wait_ns, 100 * US);
    let time = |some_ns, waits, summed_ns| SomeTime {
        some_ns,
        share_of_wall: some_ns as f64 / (10 * S) as f64,
        waits,
        summed_ns,
        left_out_ns: 0,
        at_most_ns: some_ns,
    };
    assert_eq!(some.storage, time(2_300 * MS, 38, 3_800 * MS));
    assert_eq!(some.memory_lock, time(500 * MS, 10, 500 * MS));
}

#[test]
fn the_line_stands_with_the_pressure_files_and_without() {
    let mut scene = scene();
    let wanted = "some thread     waited for storage 23% of the time, for a memory lock 5.0% (waits from 100us)";
    assert_eq!(line(&scene.recording).as_deref(), Some(wanted));
    scene.recording.pressure = None;
    assert_eq!(line(&scene.recording).as_deref(), Some(wanted));
}

#[test]
fn what_is_left_out_makes_it_a_range() {
    let mut scene = scene();
    scene.waits(0, stacks::NFS_PAGE, 0, &[(50 * US, 2_000)]);
    let storage = answer(&scene.recording).some_thread.unwrap().storage;
    assert_eq!((storage.left_out_ns, storage.at_most_ns), (100 * MS, 2_400 * MS));
    // A few percent of it change little.
    assert!(line(&scene.recording).unwrap().contains("storage 23% of the time"));
    scene.waits(0, stacks::NFS_PAGE, 0, &[(50 * US, 20_000)]);
    assert!(line(&scene.recording).unwrap().contains("storage 23-34% of the time"));
    scene.waits(0, stacks::FAULT, LOCK_READ | MMAP_LOCK, &[(50 * US, 100_000)]);
    assert!(line(&scene.recording).unwrap().contains("a memory lock 5.0-55% (waits from 100us)"));
    // It can be no more than all the time.
    let more = scene.process(3, "c");
    scene.waits(more, stacks::NFS_PAGE, 0, &[(50 * US, 100_000)]);
    let more = scene.process(4, "d");
    scene.waits(more, stacks::NFS_PAGE, 0, &[(50 * US, 100_000)]);
    assert_eq!(answer(&scene.recording).some_thread.unwrap().storage.at_most_ns, 10 * S);
}

#[test]
fn nothing_is_said_where_nobody_waits_or_nobody_knows() {
    let mut scene = Scene::new(10);
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::NFS_PAGE, UNINTERRUPTIBLE, &[(50 * MS, 1)]);
    scene.spans(thread, stacks::NFS_PAGE, UNINTERRUPTIBLE, &[(S, 1_050 * MS)]);
    assert_eq!(line(&scene.recording), None);
    let mut older = self::scene().recording;
    older.span_min_ns = None;
    assert_eq!((answer(&older).some_thread, line(&older)), (None, None));
}

#[test]
fn stretches_of_any_size_stay_inside_the_window() {
    let mut recording = scene().recording;
    for spans in recording.slices.iter_mut().flat_map(|slice| &mut slice.spans) {
        spans.gaps_ns[0] = 0;
        spans.lengths_ns.fill(u64::MAX);
        (spans.count, spans.total_ns) = (u64::MAX, u64::MAX);
    }
    let some = answer(&recording).some_thread.unwrap();
    assert_eq!((some.storage.some_ns, some.memory_lock.some_ns), (10 * S, 10 * S));
    assert_eq!(some.storage.share_of_wall, 1.0);
}
