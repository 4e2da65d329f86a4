//! Recordings: what is read from one is what was printed when it was made.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::SmallDisk,
    machine::Machine,
    nfslat::{self, Trace},
    process::{Finished, PATIENCE},
};

/// `report` prints the answer that `trace` printed.
pub(super) const SAME_ANSWER: Check =
    Check { name: "recording::report_prints_the_same", stage: Stage::Tool, run: same_answer };

/// A disk that is full costs the recording, not the answer.
pub(super) const FULL_DISK: Check = Check { name: "recording::full_disk", stage: Stage::Tool, run: full_disk };

/// What is no recording is refused, and the error says what is wrong with it.
pub(super) const UNREADABLE: Check = Check { name: "recording::unreadable", stage: Stage::Tool, run: unreadable };

/// `diff` finds no difference between a recording and itself, and tells scripts what came of it.
pub(super) const COMPARED: Check = Check { name: "recording::compared_with_itself", stage: Stage::Tool, run: compared };

fn record(machine: &Machine, path: &Path) -> Result<Finished> {
    let path = path.to_string_lossy();
    Trace::start(machine, ["--duration", "2", "-o", &path])?.finish(PATIENCE)
}

fn same_answer(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("run.nfslat");
    let traced = record(machine, &path)?;
    let reported = nfslat::run(machine, ["report", &path.to_string_lossy(), "--json"])?;
    let text = nfslat::run(machine, ["report", &path.to_string_lossy()])?;

    let parse = |what: &str, text: &str| serde_json::from_str::<Value>(text).with_context(|| format!("{what}: {text}"));
    let (traced, reported) = (parse("trace", &traced.stdout)?, parse("report", &reported.stdout)?);
    let mut complaints = Complaints::default();
    for part in [&traced, &reported].into_iter().filter_map(Value::as_object).flat_map(|object| object.keys()) {
        complaints.unless(traced[part] == reported[part], || format!("{part}: {} or {}", traced[part], reported[part]));
    }
    complaints.unless(text.stdout.lines().count() > 3, || format!("the text is {:?}", text.stdout));
    complaints.settle()
}

fn compared(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("run.nfslat");
    let code = record(machine, &path)?.code();
    let path = path.to_string_lossy();
    let mut complaints = Complaints::default();
    let json = nfslat::run(machine, ["diff", &path, &path, "--json"])?;
    complaints.unless(json.code() == code, || format!("it ended with {}, the trace with {code:?}", json.status));
    let diff: Value = serde_json::from_str(&json.stdout).with_context(|| format!("diff: {}", json.stderr))?;
    complaints.unless(diff["schema"] == "nfslat-diff/1", || format!("the schema is {}", diff["schema"]));
    complaints.unless(diff["conclusion"]["slower"].is_null(), || format!("it comes to {}", diff["conclusion"]));
    // Without NFS there is nothing to compare calls by.
    for (what, expected) in [("slower,b-slower", code), ("unknown", Some(1))] {
        let ended = nfslat::run(machine, ["diff", &path, &path, "--fail-on", what])?;
        complaints.unless(ended.code() == expected, || format!("--fail-on {what} ended with {}", ended.status));
    }
    let missing = nfslat::run(machine, ["diff", &path, "/nowhere/b.nfslat"])?;
    complaints.unless(missing.code() == Some(2), || format!("without the other it ended with {}", missing.status));
    complaints.unless(missing.stderr.contains("/nowhere/b.nfslat"), || format!("it said {:?}", missing.stderr));
    complaints.settle()
}

fn full_disk(machine: &Machine) -> Result<Outcome> {
    let disk = SmallDisk::of_size(4096)?;
    let path = disk.path().join("run.nfslat");
    let finished = Trace::start_text(machine, ["--duration", "2", "-o", &path.to_string_lossy()])?.finish(PATIENCE)?;
    let mut complaints = Complaints::default();
    complaints.unless(finished.code() == Some(2), || format!("it ended with {}", finished.status));
    complaints.unless(finished.stdout.lines().count() > 3, || format!("the answer is {:?}", finished.stdout));
    let said = &finished.stderr;
    complaints.unless(said.contains("No space left"), || format!("the reason is missing: {said:?}"));
    complaints.unless(said.contains("run.nfslat"), || format!("the file is not named: {said:?}"));
    complaints.settle()
}

fn unreadable(machine: &Machine) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("run.nfslat");
    record(machine, &path)?;
    let whole = fs::read(&path)?;
    let cut = whole[..whole.len() / 2].to_vec();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    let mut newer = whole.clone();
    // The version follows the eight bytes by which a recording is known.
    newer[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let cases: [(&str, &[u8], &str); 5] = [
        ("cut", &cut, "cut"),
        ("damaged", &damaged, "damaged"),
        ("newer", &newer, "newer"),
        ("foreign", b"PNG and then some", "not"),
        ("empty", b"", "not"),
    ];
    let mut complaints = Complaints::default();
    for (name, content, reason) in cases {
        let path = folder.path().join(name);
        fs::write(&path, content)?;
        let finished = nfslat::run(machine, ["report", &path.to_string_lossy()])?;
        complaints.unless(finished.code() == Some(2), || format!("{name}: {}", finished.status));
        let said = &finished.stderr;
        complaints
            .unless(said.contains(&*path.to_string_lossy()), || format!("{name}: the file is not named: {said:?}"));
        complaints.unless(said.contains(reason), || format!("{name}: the reason is missing: {said:?}"));
        complaints.unless(finished.stdout.is_empty(), || format!("{name}: an answer: {:?}", finished.stdout));
    }
    complaints.settle()
}
