//! Locks by who held them, and page faults by file system.

mod common;

use common::{MS, S, Scene, stacks};
use nfslat::{
    analyse::{
        Answer, answer,
        classify::Class,
        findings::{Finding, Layer},
    },
    model::{Call, Holder, HolderKind},
    render::{Style, text::render},
};

fn holder(kind: HolderKind) -> Holder {
    let call = if kind == HolderKind::Writer { Call::System("mmap".into()) } else { Call::Unknown };
    Holder { kind, pid: 1, tid: 77, comm: "holder".into(), call }
}

/// Ten seconds in which a thread waits 6 s for a lock whose holder waits for NFS for so long.
fn behind_nfs(kind: HolderKind, holder_waits_ns: u64) -> Answer {
    let mut scene = Scene::new(10);
    let thread = scene.process(1, "a");
    scene.lock_waits(thread, (60 * MS, 100), holder(kind), (stacks::NFS_RPC, holder_waits_ns));
    answer(&scene.recording)
}

fn first(answer: &Answer) -> &Finding {
    &answer.findings[0]
}

#[test]
fn a_lock_whose_holder_waits_for_storage_is_a_storage_stall() {
    let answer = behind_nfs(HolderKind::Writer, 5 * S);
    let finding = first(&answer);
    assert_eq!((finding.id, finding.layer), ("stall-lock-behind-storage", Layer::Storage));
    assert_eq!(finding.effect.unwrap().value, 5 * S);
    assert!(finding.claim.contains("thread 77 holder in mmap"), "{}", finding.claim);
    assert!(finding.claim.contains("NFS"), "{}", finding.claim);
    assert_eq!(answer.locks[0].holder_class, Some(Class::NfsRpc));
}

#[test]
fn a_lock_whose_holder_works_is_a_lock_stall() {
    let finding = first(&behind_nfs(HolderKind::Writer, S)).clone();
    assert_eq!((finding.id, finding.layer), ("stall-memory-lock", Layer::MemoryLock));
    assert!(finding.evidence.iter().any(|line| line.contains("held by thread 77 holder in mmap")), "{finding:?}");
}

#[test]
fn a_reader_is_never_certain() {
    let answer = behind_nfs(HolderKind::Reader, 6 * S);
    assert_eq!(first(&answer).id, "stall-memory-lock");
    for line in &first(&answer).evidence {
        assert!(!line.contains("holder") || line.contains("perhaps") && line.contains("a hint"), "{line}");
    }
    let text = render(&answer, Style { colour: false, width: 120 });
    for line in text.lines().filter(|line| line.contains("77 holder")) {
        assert!(line.contains("perhaps"), "{line}");
    }
}

#[test]
fn a_fault_counts_for_the_file_system_it_is_on() {
    let mut scene = Scene::new(10);
    let thread = scene.process(1, "a");
    scene.fault_waits(thread, (0, 50), "nfs4", (30 * MS, 100));
    scene.fault_waits(thread, (8, 1), "ext4", (10 * MS, 100));
    scene.waits(thread, stacks::FILE_FAULT, 0, &[(MS, 100)]);
    let answer = answer(&scene.recording);
    let total = |class| answer.classes.iter().find(|row| row.class == class).map(|row| row.total_ns);
    assert_eq!(total(Class::NfsPage), Some(3 * S));
    assert_eq!(total(Class::FileFault), Some(S + 100 * MS));
    let on_nfs = answer.waits.iter().find(|row| row.class == Class::NfsPage).unwrap();
    assert_eq!(on_nfs.detail.file_systems[0].mount_point, "/on/nfs4");
    assert_eq!((on_nfs.p50.is_some(), on_nfs.count), (true, 100));
}
