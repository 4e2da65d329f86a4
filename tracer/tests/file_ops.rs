//! Operations on NFS files, the files waited for, and who made NFS calls.

mod common;

use common::{MS, S, Scene};
use nfslat::{
    analyse::answer,
    model::{
        FileOp, FileOpSeries, FileOpSlice, FileOpTimes, Histogram, Maker, OpenFileOp, Recording, RpcMakerSlice,
        WaitedFile,
    },
    render::{Style, text},
};

/// Two processes read from a mount, in two seconds; a third file system is not known.
fn scene() -> Recording {
    let mut scene = Scene::new(2);
    scene.mount("/mnt/a", &[1]);
    let mut recording = scene.recording;
    let device = (recording.mounts[0].dev_major, recording.mounts[0].dev_minor);
    let series = |pid, minor, op| FileOpSeries { pid, dev_major: device.0, dev_minor: minor, op };
    recording.file_op_series =
        vec![series(7, device.1, FileOp::Read), series(8, device.1, FileOp::Read), series(8, 99, FileOp::Fsync)];
    let ops = |series, count, waited, total_ns| FileOpSlice {
        series,
        count,
        waited,
        failed: 0,
        total_ns,
        blocked_ns: total_ns / 2,
    };
    let times = |waited, value_ns, count| {
        let mut histogram = Histogram::default();
        histogram.record(value_ns, count);
        FileOpTimes { dev_major: device.0, dev_minor: device.1, op: FileOp::Read, waited, histogram }
    };
    recording.slices[0].file_ops = vec![ops(0, 10, 4, 80 * MS), ops(2, 1, 1, 5 * MS)];
    recording.slices[0].file_op_times = vec![times(false, 1_000, 6), times(true, 20 * MS, 4)];
    recording.slices[1].file_ops = vec![ops(0, 1, 1, 20 * MS), ops(1, 3, 3, 300 * MS)];
    recording.slices[1].file_op_times = vec![times(true, 20 * MS, 1), times(true, 100 * MS, 3)];
    recording.open_file_ops = vec![OpenFileOp {
        pid: 8,
        tid: 9,
        dev_major: device.0,
        dev_minor: device.1,
        inode: 5,
        op: FileOp::Open,
        age_ns: S,
    }];
    recording.waited_files = vec![WaitedFile {
        dev_major: device.0,
        dev_minor: device.1,
        inode: 5,
        name: "\u{1b}[31mred".into(),
        waited: 8,
        blocked_ns: 200 * MS,
    }];
    recording
}

#[test]
fn operations_are_summed_by_mount_and_kind_and_shared_out_to_processes() {
    let answer = answer(&scene());
    let read = &answer.file_ops[0];
    assert_eq!((read.mounts.as_slice(), read.op), (&["/mnt/a".to_owned()][..], FileOp::Read));
    assert_eq!((read.sums.count, read.sums.waited, read.sums.total_ns), (14, 8, 400 * MS));
    let processes: Vec<_> = read.processes.iter().map(|process| (process.pid, process.sums.total_ns)).collect();
    assert_eq!(processes, [(8, 300 * MS), (7, 100 * MS)]);
    let (waited, cached) = (read.waited_ns.as_ref().unwrap(), read.cached_ns.as_ref().unwrap());
    assert_eq!((waited.count, cached.count), (8, 6));
    assert!(waited.p50.abs_diff(20 * MS) <= 20 * MS / 100, "{waited:?}");
    assert!(waited.max.abs_diff(100 * MS) <= MS, "{waited:?}");
    assert!(answer.file_ops[1].mounts.is_empty());
    assert_eq!(answer.open_file_ops[0].age_ns, S);
}

#[test]
fn a_mount_that_is_asked_for_leaves_out_the_others() {
    let mut recording = scene();
    recording.options.mount = Some("/mnt/a".into());
    assert_eq!(answer(&recording).file_ops.len(), 1);
    recording.options.mount = Some("/mnt/b".into());
    let answer = answer(&recording);
    assert_eq!((answer.file_ops.len(), answer.open_file_ops.len(), answer.files.len()), (0, 0, 0));
}

#[test]
fn names_of_files_do_not_reach_the_terminal_as_they_are() {
    let text = text::render(&answer(&scene()), Style { colour: false, width: 100 });
    assert!(text.contains("NFS FILES WAITED FOR"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn operations_that_have_not_ended_are_named_also_if_none_has() {
    let open = "1 file operation still open at the end: open on /mnt/a by 8 for 1.00 s";
    let shown = |recording: &Recording| text::render(&answer(recording), Style { colour: false, width: 100 });
    let mut recording = scene();
    assert!(shown(&recording).contains(open), "{}", shown(&recording));
    for slice in &mut recording.slices {
        slice.file_ops.clear();
        slice.file_op_times.clear();
    }
    assert!(shown(&recording).contains(open), "{}", shown(&recording));
}

#[test]
fn calls_are_shared_out_to_those_who_made_them() {
    let mut scene = Scene::new(1);
    let client = scene.mount("/mnt/a", &[1]);
    scene.calls(client, 1, "READ", &[(0, 2 * MS, 0); 3]);
    let mut recording = scene.recording;
    let made = |maker, count, execute_ns| RpcMakerSlice { series: 0, maker, count, execute_ns };
    recording.slices[0].rpc_makers = vec![made(Maker::Process(7), 1, 2 * MS), made(Maker::Kernel, 2, 4 * MS)];
    let makers: Vec<_> =
        answer(&recording).rpc[0].makers.iter().map(|row| (row.maker, row.count, row.execute_ns)).collect();
    assert_eq!(makers, [(Maker::Kernel, 2, 4 * MS), (Maker::Process(7), 1, 2 * MS)]);
}
