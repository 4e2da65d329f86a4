//! Who the stalled processes are: what of it is shown, and how.

mod common;

use common::{MS, Scene, stacks};
use nfslat::{
    analyse::answer,
    model::{Container, Executable, Identity, Made, Marker, Recording},
    render::{Style, json, text},
};

fn go_program() -> Identity {
    let marker =
        |evidence: &str, version: &str| Marker { tells: Made::Go, version: version.into(), evidence: evidence.into() };
    Identity {
        path: "/app/storagenode".into(),
        filesystem: "overlay".into(),
        executable: Some(Executable {
            bytes: 50_000_000,
            go_build_id: "a/b/c/d".into(),
            go_module: "storj.io/storj v1.95.1".into(),
            is_static: true,
            markers: vec![marker("note .note.go.buildid", ""), marker(".go.buildinfo: go1.22.1", "1.22.1")],
            ..Executable::default()
        }),
        container: Some(Container { runtime: "docker".into(), id: "3f2a".repeat(16), pod: String::new() }),
        ..Identity::default()
    }
}

/// Seven stalled processes; all but the first have the same identity.
fn stalled(first: Identity) -> Recording {
    let mut scene = Scene::new(10);
    for pid in 1..=7 {
        let thread = scene.process(pid, "storagenode");
        scene.waits(thread, stacks::MUNMAP, 0, &[(100 * MS, u64::from(20 - pid))]);
        scene.recording.processes.last_mut().unwrap().identity = Some(go_program());
    }
    scene.recording.processes[0].identity = Some(first);
    scene.recording
}

fn lines(recording: &Recording) -> Vec<String> {
    let text = text::render(&answer(recording), Style::default());
    let lines = text.lines().skip_while(|line| !line.starts_with("WHO IT IS")).skip(1);
    lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn at_most_five_lines_that_fit() {
    let lines = lines(&stalled(go_program()));
    // The container's id would be the column too many.
    assert_eq!(lines[0], "storagenode (1): Go 1.22.1 (.go.buildinfo), static: no LD_PRELOAD, Go's own allocator");
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|line| line.chars().count() <= 100));
}

#[test]
fn names_from_outside_are_escaped() {
    let mut evil = go_program();
    evil.path = "/x\x1b[2J\u{202e}".into();
    evil.not_read = "\r\n\x07".into();
    evil.container.as_mut().unwrap().runtime = "\x1b]0;x".into();
    evil.executable.as_mut().unwrap().markers[1].version = "1\n2".into();
    let text = text::render(&answer(&stalled(evil)), Style { colour: false, width: 400 });
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert!(text.contains("Go 1\\n2"));
}

#[test]
fn json_has_the_facts_and_what_follows() {
    let value: serde_json::Value = serde_json::from_str(&json::render(&answer(&stalled(go_program())))).unwrap();
    let identity = &value["processes"][0]["identity"];
    assert_eq!(identity["language"]["version"], "1.22.1");
    assert_eq!(identity["language"]["evidence"], ".go.buildinfo: go1.22.1");
    assert_eq!(identity["allocators"][0], "Go");
    assert_eq!(identity["linkage"], "static");
    assert_eq!(identity["executable"]["go_module"], "storj.io/storj v1.95.1");
    assert_eq!(identity["container"]["runtime"], "docker");
}

#[test]
fn survives_the_file_and_is_absent_from_older_ones() {
    let recording = stalled(go_program());
    let mut file = Vec::new();
    recording.write_to(&mut file).unwrap();
    assert_eq!(Recording::read_from(file.as_slice()).unwrap(), recording);
    let older = serde_json::json!({ "pid": 1, "comm": "x", "exe": "", "cgroup": "", "kernel": false });
    let process: nfslat::model::Process = serde_json::from_value(older).unwrap();
    assert_eq!(process.identity, None);
}
