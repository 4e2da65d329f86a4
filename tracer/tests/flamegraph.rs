//! Pictures of blocked time: every nanosecond is in them once, in its place, and names stay names.

mod common;

use std::{collections::BTreeMap, io::Read as _};

use common::{MS, S, Scene, US, stacks as on};
use nfslat::{
    analyse::{
        answer,
        classify::{Class, Group},
        stacks::{Empty, P99, Selection, Stacks, stacks},
    },
    model::{Recording, UserFrame, UserStack, WakeSeries},
    render::{
        empty::explain,
        flamegraph, folded,
        heading::{Heading, heading},
        pprof::{self, profile::Profile},
        speedscope,
    },
};
use nfslat_common::sched::wait_flags::{LOCK_WRITE, MMAP_LOCK, UNINTERRUPTIBLE};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::Value;

fn idle_too() -> Selection {
    Selection { idle: true, ..Selection::default() }
}

fn head(recording: &Recording, selection: &Selection, stacks: &Stacks<'_>) -> Heading {
    heading(recording, &answer(recording), selection, stacks)
}

fn fold(recording: &Recording, selection: &Selection) -> String {
    folded::render(&stacks(recording, selection).unwrap())
}

fn svg(recording: &Recording, selection: &Selection) -> String {
    let stacks = stacks(recording, selection).unwrap();
    String::from_utf8(flamegraph::render(&stacks, &head(recording, selection, &stacks)).unwrap()).unwrap()
}

fn speedscope(recording: &Recording, selection: &Selection) -> Value {
    let stacks = stacks(recording, selection).unwrap();
    let text = speedscope::render(&stacks, &head(recording, selection, &stacks)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn pprof(recording: &Recording, selection: &Selection) -> Profile {
    let stacks = stacks(recording, selection).unwrap();
    let gzip = pprof::render(&stacks, &head(recording, selection, &stacks), &recording.window).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzip.as_slice()).read_to_end(&mut bytes).unwrap();
    Profile::decode(bytes.as_slice()).unwrap()
}

/// A user stack, innermost frame first as in recordings.
fn user_stack(recording: &mut Recording, functions: &str, cut: &str) -> u32 {
    let frames = functions.split('<').map(|name| UserFrame {
        function: name.trim().into(),
        module: "/usr/bin/app (deleted)".into(),
        offset: 0x1234,
    });
    recording.user_stacks.push(UserStack { frames: frames.collect(), cut: cut.into() });
    recording.user_stacks.len() as u32 - 1
}

/// A frame of a picture: name, explanation, place and width in ns, colour.
struct Drawn {
    text: String,
    title: String,
    at_ns: u64,
    ns: u64,
    fill: String,
}

fn parse(svg: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    roxmltree::Document::parse_with_options(svg, options).unwrap()
}

/// The frames of a picture; fails if it is not XML.
fn drawn(svg: &str) -> Vec<Drawn> {
    let document = parse(svg);
    let frames = document.descendants().find(|node| node.attribute("id") == Some("frames")).unwrap();
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        node.children().find(|child| child.has_tag_name(("http://www.w3.org/2000/svg", name))).unwrap().range()
    };
    frames
        .children()
        .map(|group| {
            let of = |name: &str| document.descendants().find(|node| node.range() == child(group, name)).unwrap();
            let rect = of("rect");
            Drawn {
                text: of("text").text().unwrap_or_default().into(),
                title: of("title").text().unwrap().into(),
                at_ns: rect.attribute(("http://github.com/jonhoo/inferno", "x")).unwrap().parse().unwrap(),
                ns: rect.attribute(("http://github.com/jonhoo/inferno", "w")).unwrap().parse().unwrap(),
                fill: rect.attribute("fill").unwrap().into(),
            }
        })
        .collect()
}

fn titled<'d>(drawn: &'d [Drawn], start: &str) -> &'d Drawn {
    drawn.iter().find(|frame| frame.title.starts_with(start)).unwrap_or_else(|| panic!("no frame {start}"))
}

const STACKS: [&str; 6] = [on::NFS_RPC, on::MUNMAP, on::EPOLL, on::FUTEX, on::WORKER, on::ODD];

/// Waits of a thread as (kernel stack, user stack, length), time in short waits, time not attributed.
type Life = (Vec<(usize, Option<u32>, u64)>, u64, u64);

fn life() -> impl Strategy<Value = Life> {
    let wait = (0..STACKS.len(), prop::option::of(0_u32..2), 1..200 * MS);
    (prop::collection::vec(wait, 0..6), 0..S, prop_oneof![Just(0), 1..S])
}

fn recording(lives: &[Vec<Life>]) -> Recording {
    let mut scene = Scene::new(100);
    user_stack(&mut scene.recording, "read < load < main", "");
    user_stack(&mut scene.recording, "write < main", "no frame pointer");
    for (pid, threads) in (1_u32..).zip(lives) {
        let pid = pid * 100;
        let first = scene.process(pid, "p");
        for (tid, (waits, short_ns, lost_ns)) in (pid..).zip(threads) {
            let thread = if tid == pid { first } else { scene.thread(pid, tid, "t") };
            scene.recording.threads[thread as usize].comm = "t".into();
            for &(stack, user_stack, ns) in waits {
                scene.waits(thread, STACKS[stack], 0, &[(ns, 2)]);
                scene.recording.waits.last_mut().unwrap().user_stack = user_stack;
            }
            scene.short(thread, 1, *short_ns);
            let times = &mut scene.recording.threads[thread as usize].times;
            times.on_cpu_ns -= lost_ns;
            times.blocked_ns += lost_ns;
        }
    }
    scene.recording
}

fn blocked(recording: &Recording) -> u64 {
    recording.threads.iter().map(|thread| thread.times.blocked_ns).sum()
}

fn class_ns(recording: &Recording, wanted: impl Fn(Class) -> bool) -> u64 {
    answer(recording).classes.iter().filter(|row| wanted(row.class)).map(|row| row.total_ns).sum()
}

fn folded_total(text: &str) -> u64 {
    text.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_format_adds_up_to_the_blocked_time(
        lives in prop::collection::vec(prop::collection::vec(life(), 1..4), 1..4),
        threads in any::<bool>(),
    ) {
        let recording = recording(&lives);
        prop_assume!(blocked(&recording) > 0);
        let selection = Selection { threads, ..idle_too() };
        let total = blocked(&recording);
        prop_assert_eq!(stacks(&recording, &selection).unwrap().total_ns, total);
        prop_assert_eq!(folded_total(&fold(&recording, &selection)), total);
        let drawn = drawn(&svg(&recording, &selection));
        prop_assert_eq!(titled(&drawn, "all (").ns, total);
        let processes = drawn.iter().filter(|frame| frame.title.starts_with("p ("));
        prop_assert!(processes.map(|frame| frame.ns).sum::<u64>().abs_diff(total) <= total / 1000, "narrow frames only");
        let profile = &speedscope(&recording, &selection)["profiles"][0];
        let weights = profile["weights"].as_array().unwrap().iter().map(|weight| weight.as_u64().unwrap());
        prop_assert_eq!(weights.sum::<u64>(), total);
        prop_assert_eq!(profile["endValue"].as_u64().unwrap(), total);
        let delays = pprof(&recording, &selection).sample.into_iter().map(|sample| sample.value[1]);
        prop_assert_eq!(delays.sum::<i64>(), i64::try_from(total).unwrap());
    }

    #[test]
    fn what_is_selected_and_what_is_not_add_up(
        lives in prop::collection::vec(prop::collection::vec(life(), 1..4), 1..4),
    ) {
        let recording = recording(&lives);
        let total = |selection: &Selection| stacks(&recording, selection).map_or(0, |stacks| stacks.total_ns);
        let pids = recording.processes.iter().map(|process| Selection { pids: vec![process.pid], ..idle_too() });
        prop_assert_eq!(pids.map(|selection| total(&selection)).sum::<u64>(), blocked(&recording));
        for group in Group::ALL {
            let selection = Selection { groups: vec![group], ..Selection::default() };
            prop_assert_eq!(total(&selection), class_ns(&recording, |class| class.group() == group));
        }
        for &class in Class::ALL {
            let selection = Selection { classes: vec![class], ..Selection::default() };
            prop_assert_eq!(total(&selection), class_ns(&recording, |other| other == class));
        }
        if let Ok(busy) = stacks(&recording, &Selection::default()) {
            prop_assert_eq!(busy.total_ns + busy.idle_left_out_ns, blocked(&recording));
            prop_assert_eq!(busy.idle_left_out_ns, class_ns(&recording, |class| class.group() == Group::Idle));
        }
    }
}

#[test]
fn kernel_stacks() {
    insta::assert_snapshot!(fold(&common::nfs_is_slow(), &idle_too()), @r"
    fio (812);[short waits] 4000000
    fio (812);do_syscall_64_[k];__do_sys_newfstatat_[k];vfs_statx_[k];nfs_getattr_[k];__nfs_revalidate_inode_[k];nfs4_proc_getattr_[k];nfs4_do_call_sync_[k];rpc_run_task_[k];rpc_execute_[k];__rpc_execute_[k];rpc_wait_bit_killable_[k];waits: nfs-rpc 650000000
    fio (812);do_syscall_64_[k];ksys_read_[k];vfs_read_[k];nfs_file_read_[k];filemap_read_[k];filemap_get_pages_[k];filemap_update_page_[k];folio_wait_bit_common_[k];waits: nfs-page 4189000000
    fio (812);do_syscall_64_[k];vfs_ioctl_[k];some_driver_ioctl_[k];some_driver_wait_[k];waits: unknown 6000000
    kworker/0:1 (33);ret_from_fork_[k];kthread_[k];worker_thread_[k];waits: kernel-idle 9990000000
    nginx (99);do_syscall_64_[k];__x64_sys_epoll_wait_[k];do_epoll_wait_[k];waits: poll 9900000000
    ");
}

#[test]
fn user_stacks_stand_outside_the_kernels() {
    let mut scene = Scene::new(10);
    let whole = user_stack(&mut scene.recording, "__munmap < free < [u8; 8]::drop < main", "");
    let cut = user_stack(&mut scene.recording, "pread <  < ", "no frame pointer");
    let app = scene.process(7, "app");
    for (user_stack, ms) in [(Some(whole), 30), (Some(cut), 20), (None, 10)] {
        scene.waits(app, on::MUNMAP, UNINTERRUPTIBLE | MMAP_LOCK | LOCK_WRITE, &[(ms * MS, 1)]);
        scene.recording.waits.last_mut().unwrap().user_stack = user_stack;
    }
    let worker = scene.kernel_thread(33, "kworker/0:1");
    scene.waits(worker, on::ODD, 0, &[(MS, 1)]);
    scene.short(app, 5, 20 * US);
    let selection = Selection { threads: true, ..Selection::default() };
    insta::assert_snapshot!(fold(&scene.recording, &selection), @r"
    app (7);app (7);[cut: no frame pointer];app (deleted)+0x1234;app (deleted)+0x1234;pread;do_syscall_64_[k];__x64_sys_munmap_[k];__vm_munmap_[k];waits: mmap-lock (write) 20000000
    app (7);app (7);[short waits] 20000
    app (7);app (7);[user stack not taken];do_syscall_64_[k];__x64_sys_munmap_[k];__vm_munmap_[k];waits: mmap-lock (write) 10000000
    app (7);app (7);main;[u8: 8]::drop;free;__munmap;do_syscall_64_[k];__x64_sys_munmap_[k];__vm_munmap_[k];waits: mmap-lock (write) 30000000
    kworker/0:1 (33);kworker/0:1 (33);do_syscall_64_[k];vfs_ioctl_[k];some_driver_ioctl_[k];some_driver_wait_[k];waits: unknown 1000000
    ");
}

#[test]
fn wakers_meet_the_waits_they_end() {
    let mut scene = Scene::new(10);
    let app = scene.process(7, "app");
    let sleeper = scene.process(8, "sleeper");
    scene.waits(app, on::FUTEX, 0, &[(100 * MS, 4)]);
    scene.waits(sleeper, on::EPOLL, 0, &[(S, 4)]);
    // Their stacks are the wakers'.
    scene.waits(app, "wake_up_q < futex_wake < do_futex < __x64_sys_futex", 0, &[(1, 1)]);
    let timer = "hrtimer_wakeup < sysvec_apic_timer_interrupt < asm_sysvec_apic_timer_interrupt < vfs_read";
    scene.waits(app, timer, 0, &[(1, 1)]);
    let wake = |process, stack, waker_pid, waker_comm: &str, interrupt, ms| WakeSeries {
        process,
        stack,
        flags: 0,
        waker_pid,
        waker_comm: waker_comm.into(),
        interrupt,
        waker_stack: Some(2 + u32::from(interrupt)),
        count: 1,
        total_ns: ms * MS,
    };
    scene.recording.wakes = vec![
        wake(0, Some(0), 9, "producer", false, 90),
        wake(0, Some(0), 10, "bystander", true, 60),
        wake(0, None, 0, "swapper/0", false, 50),
        wake(1, Some(1), 9, "producer", false, 900),
    ];
    scene.recording.wakes[2].waker_stack = None;
    let selection = Selection { wakers: true, ..Selection::default() };
    insta::assert_snapshot!(fold(&scene.recording, &selection), @r"
    app (7);__x64_sys_futex_[k];do_futex_[k];futex_wait_[k];__futex_wait_[k];futex_wait_queue_[k];waits: futex;--;hrtimer_wakeup_[k];sysvec_apic_timer_interrupt_[k];asm_sysvec_apic_timer_interrupt_[k];woken by an interrupt 60000000
    app (7);__x64_sys_futex_[k];do_futex_[k];futex_wait_[k];__futex_wait_[k];futex_wait_queue_[k];waits: futex;--;wake_up_q_[k];futex_wake_[k];do_futex_[k];__x64_sys_futex_[k];woken by producer (9) 90000000
    app (7);waits: no-stack;--;[waker's stack not taken];woken by an idle CPU 50000000
    ");
    let stacks = stacks(&scene.recording, &selection).unwrap();
    assert_eq!(stacks.total_ns, 200 * MS);
    assert_eq!(stacks.idle_left_out_ns, 900 * MS);
    let svg = svg(&scene.recording, &selection);
    assert!(svg.contains("200 ms of long waits, and who ended them"), "{svg}");
    // The recording has four waits of this kind; of two of them it is known who ended them.
    let futex = titled(&drawn(&svg), "futex (").title.clone();
    assert_eq!(
        futex,
        "futex (150 ms, 75%, 2 waits, p99 100 ms of all 4 with these kernel stacks, waits for a user-space lock or condition)"
    );
}

#[test]
fn without_wakers_it_says_so() {
    let recording = common::nfs_is_slow();
    let selection = Selection { wakers: true, ..Selection::default() };
    let error = stacks(&recording, &selection).unwrap_err();
    assert_eq!(error, Empty::NoWakers);
    let why = explain(&error, &selection);
    assert!(why.contains("does not say who ended a wait"), "{why}");
}

#[test]
fn p99_is_of_what_was_asked_or_says_of_what() {
    let mut scene = Scene::new(10);
    let user = user_stack(&mut scene.recording, "a", "");
    let app = scene.process(7, "app");
    let other = scene.thread(7, 8, "app-2");
    scene.waits(app, on::MUNMAP, 0, &[(4 * MS, 98), (90 * MS, 2)]);
    scene.waits(other, on::MUNMAP, 0, &[(MS, 300)]);
    scene.recording.waits[1].user_stack = Some(user);
    let p99 = |recording: &Recording, selection: &Selection| {
        let stacks = stacks(recording, selection).unwrap();
        let all: Vec<_> = stacks.rows.iter().map(|row| stacks.p99(&row.waits).unwrap()).collect();
        all
    };
    let close = |p99: P99, ns: u64, of| p99.of == of && p99.ns.abs_diff(ns) < ns / 25;
    // Both rows are of 400 waits whose histogram is one.
    let split = p99(&scene.recording, &Selection::default());
    assert!(split.iter().all(|&p99| close(p99, 4 * MS, 400)), "{split:?}");
    scene.recording.waits[1].user_stack = None;
    assert!(close(p99(&scene.recording, &Selection::default())[0], 4 * MS, 400));
    // One of many is short: then so is the percentile.
    scene.short(app, 100_000, 100 * MS);
    let title = titled(&drawn(&svg(&scene.recording, &Selection::default())), "app (7) ").title.clone();
    assert_eq!(title, "app (7) (972 ms, 100%, 100,400 waits, p99 10.0 us)");
}

#[test]
fn the_picture_names_explains_and_colours_every_frame() {
    let recording = common::mmap_storm();
    let svg = svg(&recording, &idle_too());
    let frames = drawn(&svg);
    let leaf = titled(&frames, "mmap-lock (write) (");
    assert_eq!(leaf.text, "mmap-lock (write)");
    assert_eq!(
        leaf.title,
        "mmap-lock (write) (6.90 s, 45%, 1,510 waits, p99 4.00 ms, waits for the lock of an address space [mmap_lock])"
    );
    assert_eq!(leaf.ns, 6900 * MS);
    let read = titled(&frames, "mmap-lock (read) (");
    assert_eq!(leaf.fill, read.fill);
    let futex = titled(&frames, "futex (");
    assert_ne!(leaf.fill, futex.fill);
    // What several groups share is grey, what one has is of its hue.
    let grey = |fill: &str| {
        let values: Vec<_> = fill.trim_matches(|c: char| !c.is_ascii_digit()).split(',').collect();
        values[0] == values[1] && values[1] == values[2]
    };
    assert!(grey(&titled(&frames, "storagenode (77)").fill));
    assert!(!grey(&titled(&frames, "__vm_munmap (").fill));
    assert_ne!(titled(&frames, "__vm_munmap (").fill, leaf.fill);
    // The legend has the same colours.
    for (class, fill) in [("mmap-lock", &leaf.fill), ("futex", &futex.fill)] {
        let entry = svg.split("<g cursor").find(|part| part.contains(&format!(">{class}: waits for"))).unwrap();
        assert!(entry.contains(fill.as_str()), "{entry}");
    }
    assert!(svg.contains("vm-a, Linux 6.12.107-cloud-amd64; 5.00 s from 2026-11-22"));
}

#[test]
fn the_legend_stands_clear_of_title_and_frames() {
    // All classes, so that the legend has several lines for some groups.
    let mut scene = Scene::new(100);
    let app = scene.process(7, "app");
    for (_, stack) in include_str!("stacks/linux-6.12.txt").lines().filter_map(|line| line.split_once(": ")) {
        scene.waits(app, &stack.replace(" < ", "<"), 0, &[(10 * MS, 1)]);
    }
    let svg = svg(&scene.recording, &idle_too());
    let document = parse(&svg);
    let number = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let by_id = |id: &str| document.descendants().find(|node| node.attribute("id") == Some(id)).unwrap();
    let frames = by_id("frames");
    let rects = frames.descendants().filter(|node| node.tag_name().name() == "rect");
    let (top, bottom) = rects
        .map(|rect| (number(rect, "y"), number(rect, "y") + number(rect, "height")))
        .fold((f64::MAX, f64::MIN), |(top, bottom), (y1, y2)| (top.min(y1), bottom.max(y2)));
    let (top, bottom) = (top + number(frames, "y"), bottom + number(frames, "y"));
    let legend: Vec<_> = document
        .descendants()
        .filter(|node| node.has_attribute("onclick"))
        .flat_map(|entry| entry.children().filter(|child| child.tag_name().name() == "text"))
        .map(|text| (number(text, "x") + text.text().unwrap().chars().count() as f64 * 7.32, number(text, "y")))
        .collect();
    assert!(legend.len() > 30, "{}", legend.len());
    assert!(legend.iter().all(|&(right, _)| right <= 1200.0), "{legend:?}");
    let (first, last) = legend.iter().fold((f64::MAX, f64::MIN), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    assert!(first > number(by_id("title"), "y") + 18.0 && last < top - 4.0, "{first} {last} {top}");
    let root = document.root_element();
    assert!(bottom < number(by_id("details"), "y") && number(by_id("details"), "y") < number(root, "height"));
    assert!(root.attribute("viewBox").unwrap().ends_with(root.attribute("height").unwrap()));
}

#[test]
fn most_time_stands_on_the_left() {
    let frames = drawn(&svg(&common::nfs_is_slow(), &idle_too()));
    let places = ["kworker/0:1 (33)", "nginx (99)", "fio (812)"].map(|name| titled(&frames, name).at_ns);
    assert_eq!(places, [0, 9990 * MS, 19_890 * MS]);
    // Within fio: pages, calls, what is not recognised, short waits.
    let leaves = ["nfs-page (", "nfs-rpc (", "unknown (", "[short waits] ("].map(|name| titled(&frames, name).at_ns);
    assert_eq!(leaves, [19_890 * MS, 24_079 * MS, 24_729 * MS, 24_735 * MS]);
}

#[test]
fn what_is_left_out_and_lost_is_said() {
    let svg = svg(&common::nfs_is_slow(), &Selection::default());
    assert!(svg.contains("Left out: 19.9 s of idle waits"), "{svg}");
    let mut recording = common::nfs_is_slow();
    recording.losses = common::much_is_lost().losses;
    let selection = Selection { pids: vec![812], groups: vec![Group::Storage], ..Selection::default() };
    let stacks = stacks(&recording, &selection).unwrap();
    insta::assert_snapshot!(head(&recording, &selection, &stacks).to_text(), @r"
    Off-CPU time: 4.84 s of blocked thread time
    vm-a, Linux 6.12.107-cloud-amd64; 10.0 s from 2026-11-22 06:04:01 UTC
    Shown: only pid 812; only group storage
    INCOMPLETE DATA: 1 loss (thread-table-full); nfslat report says more
    ");
}

#[test]
fn names_stay_names() {
    let evil = "</text><script>alert(1)</script>;\n\x1b[2J\u{202e}\u{ffff}]]>\"' 99";
    let mut scene = Scene::new(10);
    let process = scene.process(666, evil);
    let hash = scene.process(667, "# 1 2");
    scene.recording.host.hostname = evil.into();
    scene.recording.options.command = vec![evil.into()];
    scene.recording.threads[process as usize].comm = evil.into();
    let user = user_stack(&mut scene.recording, "x", evil);
    scene.recording.user_stacks[0].frames[0] = UserFrame { function: evil.into(), module: evil.into(), offset: 0 };
    scene.waits(process, "x < vfs_read", 0, &[(MS, 3)]);
    scene.recording.stacks[0].frames[0] = evil.into();
    scene.waits(hash, on::MUNMAP, 0, &[(MS, 3)]);
    scene.recording.waits[0].user_stack = Some(user);
    let selection = Selection { threads: true, ..Selection::default() };

    let folded = fold(&scene.recording, &selection);
    let lines: Vec<_> = folded.lines().collect();
    assert_eq!(lines.len(), 2, "{folded}");
    assert!(!folded.contains(|c: char| c.is_control() && c != '\n'), "{folded:?}");
    let frames: BTreeMap<usize, u64> = lines
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(frames, ns)| (frames.split(';').count(), ns.parse().unwrap()))
        .collect();
    // Process, thread, cut, user, two of the kernel, class; process, thread, not taken, three, class.
    assert_eq!(frames, BTreeMap::from([(7, 3 * MS)]));
    assert!(lines.iter().all(|line| !line.starts_with('#')), "{folded}");

    let svg = svg(&scene.recording, &selection);
    let scripts = svg.matches("<script").count();
    assert_eq!(scripts, 1, "inferno's own");
    let frames = drawn(&svg);
    assert!(frames.iter().any(|frame| frame.title.starts_with("</text><script>alert(1)</script>;\\n\\u{1b}[2J")));

    let json = speedscope(&scene.recording, &selection);
    let names = json["shared"]["frames"].as_array().unwrap().iter().map(|frame| frame["name"].as_str().unwrap());
    assert!(names.clone().any(|name| name.starts_with("</text><script>")));
    assert!(!names.clone().any(|name| name.contains(char::is_control)));
    let profile = pprof(&scene.recording, &selection);
    assert!(!profile.string_table.iter().any(|text| text.contains(char::is_control)));
}

#[test]
fn speedscope_has_the_shape_of_its_schema() {
    let json = speedscope(&common::nfs_is_slow(), &idle_too());
    assert_eq!(json["$schema"], "https://www.speedscope.app/file-format-schema.json");
    assert!(json["exporter"].as_str().unwrap().starts_with("nfslat@"));
    assert_eq!(json["activeProfileIndex"], 0);
    let frames = json["shared"]["frames"].as_array().unwrap();
    assert!(frames.iter().all(|frame| frame["name"].is_string()));
    let profile = &json["profiles"][0];
    assert_eq!((&profile["type"], &profile["unit"]), (&"sampled".into(), &"nanoseconds".into()));
    assert!(profile["name"].is_string());
    assert_eq!(profile["startValue"], 0);
    let samples = profile["samples"].as_array().unwrap();
    assert_eq!(samples.len(), profile["weights"].as_array().unwrap().len());
    let name = |index: &Value| frames[usize::try_from(index.as_u64().unwrap()).unwrap()]["name"].as_str().unwrap();
    let stacks: Vec<Vec<_>> =
        samples.iter().map(|sample| sample.as_array().unwrap().iter().map(name).collect()).collect();
    assert!(stacks.contains(&vec!["fio (812)", "[short waits]"]), "{stacks:?}");
    assert!(stacks.iter().any(|stack| stack[0] == "nginx (99)" && stack.last() == Some(&"waits: poll")), "{stacks:?}");
}

#[test]
fn pprof_can_be_read_back() {
    let recording = common::mmap_storm();
    let profile = pprof(&recording, &Selection::default());
    let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
    assert_eq!(text(0), "");
    let types: Vec<_> = profile.sample_type.iter().map(|value| (text(value.r#type), text(value.unit))).collect();
    assert_eq!(types, [("contentions", "count"), ("delay", "nanoseconds")]);
    assert_eq!(text(profile.default_sample_type), "delay");
    assert_eq!(profile.duration_nanos, 5_000_000_000);
    let functions: BTreeMap<_, _> =
        profile.function.iter().map(|function| (function.id, text(function.name))).collect();
    let locations: BTreeMap<_, _> =
        profile.location.iter().map(|location| (location.id, functions[&location.line[0].function_id])).collect();
    let mappings: Vec<_> = profile.mapping.iter().map(|mapping| mapping.id).collect();
    assert!(profile.location.iter().all(|at| at.mapping_id == 0 || mappings.contains(&at.mapping_id)));
    let sample =
        profile.sample.iter().find(|sample| locations[&sample.location_id[0]] == "waits: mmap-lock (write)").unwrap();
    assert_eq!(locations[sample.location_id.last().unwrap()], "storagenode (77)");
    assert_eq!(sample.value, [1510, 6_900_000_000]);
    let labels: Vec<_> = sample.label.iter().map(|label| (text(label.key), text(label.str), label.num)).collect();
    assert_eq!(labels, [("comm", "storagenode", 0), ("class", "mmap-lock", 0), ("pid", "", 77)]);
}

#[test]
fn the_same_recording_gives_the_same_picture() {
    let recording = common::nfs_is_slow();
    assert_eq!(svg(&recording, &idle_too()), svg(&recording, &idle_too()));
    let bytes = || {
        let stacks = stacks(&recording, &idle_too()).unwrap();
        pprof::render(&stacks, &head(&recording, &idle_too(), &stacks), &recording.window).unwrap()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn an_empty_selection_says_what_there_is() {
    let recording = common::nfs_is_slow();
    let why = |selection: Selection| explain(&stacks(&recording, &selection).unwrap_err(), &selection);
    insta::assert_snapshot!([
        why(Selection { pids: vec![4711], ..Selection::default() }),
        why(Selection { tids: vec![4711], ..Selection::default() }),
        why(Selection { comms: vec!["postgres".into()], ..Selection::default() }),
        why(Selection { pids: vec![812], classes: vec![Class::MmapLock], ..Selection::default() }),
        why(Selection { groups: vec![Group::Network], ..Selection::default() }),
        why(Selection { comms: vec!["nginx".into()], ..Selection::default() }),
        explain(&stacks(&Recording::default(), &idle_too()).unwrap_err(), &idle_too()),
    ].join("\n"), @r"
    this recording has no blocked time of pid 4711; it has kworker/0:1 (33) 9.99 s, nginx (99) 9.90 s, fio (812) 4.85 s
    this recording has no blocked time of tid 4711; it has kworker/0:1 (33) 9.99 s, nginx (99) 9.90 s, fio (812) 4.85 s
    this recording has no blocked time of threads or processes named postgres; it has kworker/0:1 (33) 9.99 s, nginx (99) 9.90 s, fio (812) 4.85 s
    this recording has no blocked time of pid 812 in class mmap-lock; it has nfs-page 4.19 s, nfs-rpc 650 ms, unknown 6.00 ms, short 4.00 ms
    this recording has no blocked time in group network; it has kernel-idle 9.99 s, poll 9.90 s, nfs-page 4.19 s, nfs-rpc 650 ms, unknown 6.00 ms, short 4.00 ms
    all of it (9.90 s of blocked time) is idle waits: --idle shows them
    no thread was blocked in this recording: there is nothing to draw
    ");
}

#[test]
fn the_command_writes_what_the_name_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    common::nfs_is_slow().write_to(std::fs::File::create(path("whole.nfslat")).unwrap()).unwrap();
    let mut lossy = common::nfs_is_slow();
    lossy.losses = common::much_is_lost().losses;
    lossy.write_to(std::fs::File::create(path("lossy.nfslat")).unwrap()).unwrap();
    let nfslat = |recording: &str, args: &[&str]| {
        let recording = path(recording);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_nfslat"))
            .args(["flamegraph", recording.as_str()])
            .args(args)
            .output()
            .unwrap();
        (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    for (name, start) in [
        ("a.svg", b"<?xml".as_slice()),
        ("a.folded", b"fio (812);"),
        ("a.speedscope.json", b"{\"$schema\""),
        ("a.pb.gz", b"\x1f\x8b"),
    ] {
        let (code, stdout, stderr) = nfslat("whole.nfslat", &["-o", &path(name)]);
        assert_eq!((code, stdout.as_slice()), (0, b"".as_slice()), "{stderr}");
        assert!(stderr.starts_with("Off-CPU time: 4.85 s of blocked thread time\n"), "{stderr}");
        assert!(std::fs::read(path(name)).unwrap().starts_with(start), "{name}");
    }
    let (code, stdout, _) = nfslat("whole.nfslat", &["-o", "-", "--format", "folded", "--class", "nfs-rpc,nfs-page"]);
    assert_eq!((code, stdout.split(|&byte| byte == b'\n').count()), (0, 3));
    let (code, stdout, _) = nfslat("lossy.nfslat", &[]);
    assert!(code == 3 && stdout.starts_with(b"<?xml"));
    for (args, words) in [
        (vec!["-o", "a.png"], "let it end with .svg"),
        (vec!["--class", "nfs"], "[possible values: nfs-rpc, "),
        (vec!["--group", "cpu"], "[possible values: storage, "),
        (vec!["--pid", "1"], "no blocked time of pid 1; it has "),
        (vec!["--wakers", "--threads"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = nfslat("whole.nfslat", &args);
        assert!(code == 2 && stdout.is_empty() && stderr.contains(words), "{args:?}: {code} {stderr}");
    }
}

#[test]
fn a_class_asked_for_is_shown_though_idle() {
    let recording = common::nfs_is_slow();
    let selection = Selection { classes: vec![Class::Poll], ..Selection::default() };
    let stacks = stacks(&recording, &selection).unwrap();
    assert_eq!((stacks.total_ns, stacks.idle_left_out_ns), (9900 * MS, 0));
}

#[test]
fn a_recording_that_lies_harms_nobody() {
    let mut scene = Scene::new(10);
    let app = scene.process(1, "");
    let deep: Vec<_> = (0..100_000).map(|n| format!("f{n}")).collect();
    scene.waits(app, &deep.join("<"), 0, &[(MS, 1)]);
    let text = fold(&scene.recording, &idle_too());
    assert!(text.starts_with("[no name] (1);[cut: too deep];"), "{}", &text[..60]);
    assert!(text.split(';').count() < 300);
    drawn(&svg(&scene.recording, &idle_too()));

    for thread in &mut scene.recording.threads {
        thread.times.short_ns = u64::MAX;
        thread.times.short_count = u64::MAX;
        thread.times.blocked_ns = u64::MAX;
    }
    assert_eq!(stacks(&scene.recording, &idle_too()).unwrap_err(), Empty::Impossible);
}
