//! Wait classes of stacks recorded on real kernels.

use nfslat::analyse::classify::{Class, classify};
use nfslat_common::sched::wait_flags::KERNEL_THREAD;

const RECORDED: [(&str, &str); 4] = [
    ("5.10", include_str!("stacks/linux-5.10.txt")),
    ("6.1", include_str!("stacks/linux-6.1.txt")),
    ("6.12", include_str!("stacks/linux-6.12.txt")),
    ("7.3", include_str!("stacks/linux-7.3.txt")),
];

fn recorded() -> impl Iterator<Item = (&'static str, &'static str, Vec<String>)> {
    RECORDED.into_iter().flat_map(|(kernel, text)| {
        text.lines().filter(|line| !line.starts_with('#')).map(move |line| {
            let (class, stack) = line.split_once(": ").unwrap();
            (kernel, class, stack.split(" < ").map(Into::into).collect())
        })
    })
}

fn class_of(stack: &[String]) -> &'static str {
    let kernel_thread = stack.iter().any(|frame| frame == "kthread");
    classify(Some(stack), if kernel_thread { KERNEL_THREAD } else { 0 }).class.name()
}

/// Functions of `.sched.text`: a walk from outside leaves them out.
const LEFT_OUT: [&str; 11] = [
    "__schedule",
    "schedule",
    "io_schedule",
    "rwsem_down_",
    "down_",
    "__mutex_lock",
    "wait_for_completion",
    "__wait_on_bit",
    "bit_wait",
    "out_of_line_wait_on_bit",
    "do_nanosleep",
];

fn is_left_out(frame: &str) -> bool {
    frame == "__sched_text_start" || LEFT_OUT.iter().any(|prefix| frame.starts_with(prefix))
}

#[test]
fn stacks_taken_by_the_sleeper() {
    for (kernel, class, stack) in recorded() {
        assert_eq!(class_of(&stack), class, "{kernel}: {stack:?}");
    }
}

#[test]
fn the_same_stacks_walked_from_outside() {
    for (kernel, class, stack) in recorded() {
        let stack: Vec<_> = stack.into_iter().filter(|frame| !is_left_out(frame)).collect();
        let seen = class_of(&stack);
        // A mutex leaves no trace; what the thread did when it asked for it is still told.
        if class == "mutex" {
            assert_ne!(seen, "mmap-lock", "{kernel}: {stack:?}");
        } else {
            assert_eq!(seen, class, "{kernel}: {stack:?}");
        }
    }
}

#[test]
fn every_kernel_shows_the_classes_the_tool_is_for() {
    for (kernel, _) in RECORDED {
        for class in [
            "nfs-rpc",
            "nfs-direct",
            "nfs-page",
            "nfs-commit",
            "block",
            "journal",
            "writeback",
            "mmap-lock",
            "futex",
            "pipe",
            "sleep",
            "kernel-idle",
        ] {
            assert!(recorded().any(|(k, c, _)| (k, c) == (kernel, class)), "{kernel} has no {class}");
        }
    }
}

#[test]
fn class_names_are_unique() {
    let mut names: Vec<_> = Class::ALL.iter().map(|class| class.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Class::ALL.len());
}
