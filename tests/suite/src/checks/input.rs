//! Bad input: a clear error, before anything is attached.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use anyhow::Result;

use crate::{
    bpf,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::Machine,
    nfslat,
    process::{PATIENCE, Process},
};

/// Durations and thresholds that are none.
pub(super) const MALFORMED: Check = Check { name: "input::malformed", stage: Stage::Tool, run: malformed };

/// A process, control group, mount or command that is not there.
pub(super) const UNKNOWN_TARGET: Check =
    Check { name: "input::unknown_target", stage: Stage::Tool, run: unknown_target };

/// An output file that cannot be written.
pub(super) const UNWRITABLE: Check = Check { name: "input::unwritable_output", stage: Stage::Tool, run: unwritable };

/// Without the rights to measure.
pub(super) const NO_ROOT: Check = Check { name: "input::no_root", stage: Stage::Tool, run: no_root };

/// Every command explains itself.
pub(super) const HELP: Check = Check { name: "input::help", stage: Stage::Tool, run: help };

/// An id that no process can have.
const NO_PID: &str = "4194305";

/// Complains unless `nfslat ARGUMENTS` is refused, with an error that has all of `named` in it.
fn refused(complaints: &mut Complaints, machine: &Machine, arguments: &[&str], named: &[&str]) -> Result<()> {
    let what = arguments.join(" ");
    let before = bpf::next_map_number()?;
    let finished = nfslat::run(machine, arguments)?;
    let after = bpf::next_map_number()?;
    complaints.unless(finished.code() == Some(2), || format!("{what}: {}", finished.status));
    complaints.unless_equal(format!("{what}: BPF maps made meanwhile"), after.wrapping_sub(before).into(), 1);
    let said = &finished.stderr;
    for word in named {
        complaints.unless(said.contains(word), || format!("{what}: {word:?} is not in {said:?}"));
    }
    complaints.unless(!said.contains("panicked"), || format!("{what}: {said}"));
    complaints.unless(finished.stdout.is_empty(), || format!("{what}: an answer: {:?}", finished.stdout));
    Ok(())
}

fn malformed(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    for duration in ["soon", "0", "-1", "5 parsecs", "", "1e30", "nan"] {
        refused(&mut complaints, machine, &["trace", &format!("--duration={duration}")], &["--duration", duration])?;
    }
    for wait in ["soon", "-1us", "5 parsecs"] {
        refused(&mut complaints, machine, &["trace", &format!("--min-wait={wait}")], &["--min-wait", wait])?;
    }
    refused(&mut complaints, machine, &["trace", "-p", "self"], &["self"])?;
    refused(&mut complaints, machine, &["trace", "--no-such-option"], &["--no-such-option"])?;
    refused(&mut complaints, machine, &["no-such-command"], &["no-such-command"])?;
    complaints.settle()
}

fn unknown_target(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    refused(&mut complaints, machine, &["trace", "-p", NO_PID], &[NO_PID])?;
    refused(&mut complaints, machine, &["trace", "--cgroup", "/no/such/group"], &["/no/such/group"])?;
    refused(&mut complaints, machine, &["trace", "--mount", "/no/such/mount"], &["/no/such/mount"])?;
    refused(&mut complaints, machine, &["trace", "--", "/no/such/command"], &["/no/such/command"])?;
    refused(&mut complaints, machine, &["report", "/no/such/run.nfslat"], &["/no/such/run.nfslat", "No such file"])?;
    complaints.settle()
}

fn unwritable(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    let missing = "/no/such/folder/run.nfslat";
    refused(&mut complaints, machine, &["trace", "--duration", "1", "-o", missing], &[missing, "No such file"])?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_string_lossy();
    refused(&mut complaints, machine, &["trace", "--duration", "1", "-o", &folder], &[&folder, "is a folder"])?;
    complaints.settle()
}

fn no_root(machine: &Machine) -> Result<Outcome> {
    // Somewhere that anybody may run it from.
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("nfslat");
    fs::copy(&machine.nfslat, &program)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(&program).args(["trace", "--duration", "1"]);
    let finished = Process::start(&mut command)?.finish(PATIENCE)?;
    let mut complaints = Complaints::default();
    complaints.unless(finished.code() == Some(2), || format!("it ended with {}", finished.status));
    for word in ["CAP_BPF", "sudo"] {
        complaints.unless(finished.stderr.contains(word), || format!("{word} is not in {:?}", finished.stderr));
    }
    complaints.settle()
}

fn help(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--help"], &["trace", "report", "doctor"]),
        (&["trace", "--help"], &["--duration", "--comm", "--cgroup", "--mount", "--min-wait", "--json", "COMMAND"]),
        (&["report", "--help"], &["--json", "FILE"]),
        (&["doctor", "--help"], &["--json"]),
    ];
    for (arguments, words) in cases {
        let finished = nfslat::run(machine, arguments)?;
        complaints.unless(finished.code() == Some(0), || format!("{arguments:?}: {}", finished.status));
        for word in words {
            complaints.unless(finished.stdout.contains(word), || format!("{arguments:?}: {word} is missing"));
        }
    }
    complaints.settle()
}
