//! What feeds the pressure files, what they miss, and what the machine did.

mod common;

use common::{MS, S, Scene, stacks};
use nfslat::{
    analyse::{answer, classify::Class, findings::Finding},
    model::{Counter, CpuTimes, Machine, Pause, Pauses, Pressure, PressureLine, Recording},
    render::{Style, text},
};
use nfslat_common::sched::wait_flags::{IOWAIT, KERNEL_THREAD, MEMSTALL, UNINTERRUPTIBLE};
use proptest::prelude::*;

const RECLAIM: &str = "reclaim_throttle < shrink_node < do_try_to_free_pages < try_to_free_pages < __alloc_pages";
const MEMCG: &str =
    "reclaim_throttle < shrink_node < do_try_to_free_pages < try_to_free_mem_cgroup_pages < try_charge_memcg";
const IO_URING: &str = "io_cqring_wait < __do_sys_io_uring_enter < do_syscall_64";

fn find(recording: &Recording, id: &str) -> Option<Finding> {
    answer(recording).findings.into_iter().find(|finding| finding.id == id)
}

fn block(recording: &Recording) -> Vec<String> {
    let text = text::render(&answer(recording), Style::default());
    let lines = text.lines().skip_while(|line| !line.starts_with("PRESSURE"));
    lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Waits with and without flags: pages of NFS in iowait, calls of NFS and a memory lock without a
/// flag, reclaim as a memory stall, and a false iowait of io_uring.
fn mixed() -> Scene {
    let mut scene = Scene::new(10);
    let a = scene.process(1, "a");
    scene.waits(a, stacks::NFS_PAGE, IOWAIT | UNINTERRUPTIBLE, &[(100 * MS, 10)]);
    scene.waits(a, stacks::NFS_RPC, UNINTERRUPTIBLE, &[(100 * MS, 30)]);
    scene.waits(a, RECLAIM, MEMSTALL | UNINTERRUPTIBLE, &[(50 * MS, 10)]);
    scene.runnable(a, 700 * MS);
    let b = scene.process(2, "b");
    scene.waits(b, stacks::MUNMAP, UNINTERRUPTIBLE, &[(100 * MS, 20)]);
    scene.waits(b, IO_URING, IOWAIT, &[(S, 4)]);
    scene.waits(b, stacks::EPOLL, 0, &[(S, 2)]);
    scene
}

#[test]
fn each_file_is_fed_by_its_flag() {
    let explained = answer(&mixed().recording).pressure_explained;
    assert_eq!(explained.io.total_ns, 5 * S);
    assert_eq!(explained.io.classes[0].class, Class::IoUring);
    assert_eq!((explained.memory.total_ns, explained.memory.classes[0].class), (500 * MS, Class::Reclaim));
    assert_eq!(explained.runnable_ns, 700 * MS);
    // The wait for a ring is no stall, whatever flag it has.
    assert_eq!(explained.stalled_ns, 6_500 * MS);
    assert_eq!(explained.shown_ns, 1_500 * MS);
    let unshown: Vec<_> = explained.not_shown.classes.iter().map(|time| (time.class, time.total_ns)).collect();
    assert_eq!(unshown, [(Class::NfsRpc, 3 * S), (Class::MmapLock, 2 * S)]);
}

#[test]
fn the_block_has_five_lines_that_fit() {
    let lines = block(&mixed().recording);
    assert_eq!(
        lines,
        [
            "PRESSURE          some   full  of the machine; fed by (time of traced threads)",
            "cpu               1.2%     0%  700ms ready to run",
            "memory              0%     0%  500ms: reclaim 500ms",
            "io                3.0%   2.5%  5.00s: io-uring 4.00s, nfs-page 1.00s",
            "in no file      5.00s of 6.50s blocked in stalls (77%): nfs-rpc 3.00s, mmap-lock 2.00s",
        ]
    );
    let mut none = mixed().recording;
    none.pressure = None;
    assert!(block(&none).is_empty());
}

#[test]
fn what_the_files_miss_is_said_when_it_is_much() {
    let finding = find(&mixed().recording, "stall-without-pressure").unwrap();
    assert!(finding.claim.starts_with("5.00 s of the 6.50 s"), "{}", finding.claim);
    let mut none = mixed().recording;
    none.pressure = None;
    assert!(find(&none, "stall-without-pressure").is_none());
    let mut scene = Scene::new(10);
    let thread = scene.process(1, "a");
    scene.waits(thread, stacks::NFS_PAGE, IOWAIT, &[(100 * MS, 50)]);
    scene.waits(thread, stacks::NFS_RPC, 0, &[(100 * MS, 10)]);
    assert!(find(&scene.recording, "stall-without-pressure").is_none());
}

fn machine(steal_ns: u64, counters: &[(&str, u64)], seen: &[Pause]) -> Machine {
    let cpu = |cpu| CpuTimes { cpu, idle_ns: 10 * S - steal_ns, steal_ns, ..CpuTimes::default() };
    Machine {
        cpus: vec![cpu(0), cpu(1)],
        vm: counters.iter().map(|&(name, added)| Counter { name: name.into(), added }).collect(),
        pauses: Some(Pauses { cpus: 2, interval_ns: 100 * MS, seen: seen.to_vec(), ..Pauses::default() }),
        ..Machine::default()
    }
}

fn with(mut scene: Scene, machine: Machine) -> Recording {
    scene.recording.machine = Some(machine);
    scene.recording
}

#[test]
fn steal_is_named_when_it_matters() {
    let quiet = || Scene::new(10);
    assert!(find(&with(quiet(), machine(90 * MS, &[], &[])), "steal").is_none());
    let finding = find(&with(quiet(), machine(500 * MS, &[], &[])), "steal").unwrap();
    assert!(finding.claim.contains("1.00 s") && finding.claim.contains("5.0%"), "{}", finding.claim);
    // A tenth of what waits for a CPU, though little of all CPU time.
    assert!(find(&with(mixed(), machine(40 * MS, &[], &[])), "steal").is_some());
    assert!(find(&with(mixed(), machine(0, &[], &[])), "steal").is_none());
}

#[test]
fn reclaim_is_told_apart_by_who_was_short_of_memory() {
    // Newer kernels count the reclaim of cgroups in pgscan_direct as well.
    let counters = |stalls| [("allocstall_dma", 0), ("allocstall_normal", stalls), ("pgscan_direct", 77)];
    let ids = |stalls| {
        let recording = with(mixed(), machine(0, &counters(stalls), &[]));
        ["direct-reclaim", "reclaim-in-cgroup"].map(|id| find(&recording, id).is_some())
    };
    assert_eq!(ids(1000), [true, false]);
    assert_eq!(ids(0), [false, true]);
    // Nobody waited for reclaim: counters alone are no finding.
    let mut idle = Scene::new(10);
    idle.process(1, "a");
    let recording = with(idle, machine(0, &counters(1000), &[]));
    assert!(find(&recording, "direct-reclaim").is_none());
    // A kernel without these counters tells neither.
    let recording = with(mixed(), machine(0, &[], &[]));
    assert!(find(&recording, "reclaim-in-cgroup").is_none());
}

#[test]
fn a_pause_of_all_cpus_is_not_one_of_a_single_one() {
    let pause = |cpus, shortest_ns, longest_ns| Pause { at_ns: S, cpus, shortest_ns, longest_ns };
    let ids = |seen: &[Pause]| {
        let recording = with(Scene::new(10), machine(0, &[], seen));
        ["machine-paused", "cpu-paused"].map(|id| find(&recording, id).map(|finding| finding.effect.unwrap().value))
    };
    assert_eq!(ids(&[pause(2, 200 * MS, 210 * MS)]), [Some(200 * MS), None]);
    assert_eq!(ids(&[pause(1, 200 * MS, 200 * MS)]), [None, Some(200 * MS)]);
    assert_eq!(ids(&[pause(2, 20 * MS, 30 * MS)]), [None, None]);
    assert_eq!(ids(&[pause(2, 60 * MS, 60 * MS), pause(2, 50 * MS, 60 * MS)]), [Some(110 * MS), None]);
    assert_eq!(ids(&[]), [None, None]);
}

#[test]
fn findings_have_evidence_and_refutations_and_hostile_numbers_do_no_harm() {
    let huge = u64::MAX;
    let mut hostile = machine(0, &[("pgscan_direct", huge), ("pgsteal_direct", huge), ("allocstall_x", huge)], &[]);
    for cpu in &mut hostile.cpus {
        *cpu = CpuTimes { cpu: u32::MAX, steal_ns: huge, idle_ns: huge, ..CpuTimes::default() };
    }
    let pause = Pause { at_ns: huge, cpus: 2, shortest_ns: huge, longest_ns: huge };
    hostile.pauses = Some(Pauses { cpus: 2, seen: vec![pause; 3], ..Pauses::default() });
    let mut recording = with(mixed(), hostile);
    let line = PressureLine { some_ns: huge, full_ns: Some(huge) };
    recording.pressure = Some(Pressure { cpu: line, memory: line, io: line });
    let findings = answer(&recording).findings;
    for id in ["steal", "machine-paused", "direct-reclaim", "stall-without-pressure"] {
        let finding = findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}"));
        assert!(!finding.evidence.is_empty() && !finding.refutes.is_empty() && finding.claim.ends_with('.'));
    }
    assert!(block(&recording).iter().all(|line| line.chars().count() <= 100));
}

#[test]
fn survives_the_file_and_is_absent_from_older_ones() {
    let recording = with(mixed(), machine(7, &[("pswpin", 1)], &[Pause::default()]));
    let mut file = Vec::new();
    recording.write_to(&mut file).unwrap();
    assert_eq!(Recording::read_from(file.as_slice()).unwrap(), recording);
    let mut value = serde_json::to_value(&recording).unwrap();
    value.as_object_mut().unwrap().remove("machine");
    assert_eq!(serde_json::from_value::<Recording>(value).unwrap().machine, None);
}

proptest! {
    /// What the files show and what they do not is what was blocked in stalls, whatever the flags.
    #[test]
    fn shown_and_not_shown_add_up(
        waits in prop::collection::vec((0..8_usize, 0..4_u32, 1..9_u64, 1..4_u64, any::<bool>()), 0..40),
    ) {
        let stacks = [
            stacks::NFS_RPC, stacks::NFS_PAGE, stacks::MUNMAP, stacks::EPOLL, stacks::FUTEX, RECLAIM, MEMCG, stacks::ODD,
        ];
        let mut scene = Scene::new(60);
        let thread = scene.process(1, "a");
        let kernel = scene.kernel_thread(2, "k");
        for (stack, flags, ms, count, in_kernel) in waits {
            let flags = [0, IOWAIT, MEMSTALL, IOWAIT | MEMSTALL][flags as usize];
            let (thread, flags) = if in_kernel { (kernel, flags | KERNEL_THREAD) } else { (thread, flags) };
            scene.waits(thread, stacks[stack], flags, &[(ms * MS, count)]);
        }
        let answer = answer(&scene.recording);
        let explained = &answer.pressure_explained;
        let groups = &answer.groups;
        prop_assert_eq!(explained.shown_ns + explained.not_shown.total_ns, explained.stalled_ns);
        prop_assert_eq!(explained.stalled_ns + explained.runnable_ns, groups.stalled());
        let parts: u64 = explained.not_shown.classes.iter().map(|time| time.total_ns).sum();
        prop_assert_eq!(parts, explained.not_shown.total_ns);
    }
}
