//! `doctor` says what works on this kernel, on every kernel.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    bpf,
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::NfsMount,
    machine::{self, Machine},
    nfslat::{self, Trace},
};

/// The file in which it leaves the answer.
pub const LEFT: &str = "doctor.json";

/// It ends well, names the kernel, and says of everything that does not work why not.
pub const READABLE: Check = Check { name: "doctor::says_what_works", stage: Stage::Small, run: readable };

/// Where NFS is in use, everything about it is attached.
pub(super) const WITH_NFS: Check =
    Check { name: "doctor::nfs_probes_are_attached", stage: Stage::WithNfs, run: with_nfs };

/// No program comes near what the verifier takes: one that does loads on this kernel, and not on the next. Kernels before
/// 5.16 do not tell how near; there it is seen only that all of them load.
pub(super) const VERIFIER: Check = Check { name: "doctor::verifier_has_room", stage: Stage::WithNfs, run: verifier };

/// A kernel takes a million instructions (`BPF_COMPLEXITY_LIMIT_INSNS`, `include/linux/bpf_verifier.h`).
const MOST_INSTRUCTIONS: u64 = 1_000_000 / 4;

fn readable(machine: &Machine) -> Result<Outcome> {
    let release = machine::kernel_release()?;
    let mut complaints = Complaints::default();
    let text = nfslat::run(machine, ["doctor"])?;
    complaints.unless(text.code() == Some(0), || format!("it ended with {}: {}", text.status, text.stderr));
    complaints.unless(text.stdout.contains(&release), || format!("the kernel is not named: {}", text.stdout));

    let probes = probes(machine)?;
    complaints.unless(probes.len() > 5, || format!("only {} probes", probes.len()));
    for probe in &probes {
        let says = |field: &str| probe[field].as_str().is_some_and(|text| !text.is_empty());
        complaints.unless(says("hook") && says("measures"), || format!("nameless: {probe}"));
        complaints.unless(probe["state"] == "attached" || says("detail"), || format!("without a reason: {probe}"));
        complaints.unless(probe["state"] != "missing" || says("remedy"), || format!("without a remedy: {probe}"));
    }
    // A program that does not load falls back to another hook in silence; where there is a tracepoint, it is used.
    if machine::kernel_is_at_least(6, 10)? {
        let attached = |probe: &Value| probe["hook"] == "filemap:mm_filemap_fault" && probe["state"] == "attached";
        complaints.unless(probes.iter().any(attached), || format!("page faults have no tracepoint: {probes:?}"));
    }
    complaints.settle()
}

fn with_nfs(machine: &Machine) -> Result<Outcome> {
    let _mount = NfsMount::of_version("4.2")?;
    let about_nfs = |hook: &str| {
        ["sunrpc:", "nfs:"].iter().any(|module| hook.starts_with(module))
            || ["debugfs", "NFS mounts", "sock_diag"].contains(&hook)
    };
    let mut complaints = Complaints::default();
    let probes = probes(machine)?;
    let found: Vec<_> = probes.iter().filter(|probe| probe["hook"].as_str().is_some_and(about_nfs)).collect();
    complaints.unless(found.len() > 5, || format!("only {} probes are about NFS", found.len()));
    for probe in found {
        complaints.unless(probe["state"] == "attached", || probe.to_string());
    }
    complaints.settle()
}

fn verifier(machine: &Machine) -> Result<Outcome> {
    let _mount = NfsMount::of_version("4.2")?;
    let trace = Trace::start(machine, ["--duration", "120"])?;
    let spent = bpf::verified_instructions(trace.process().pid())?;
    trace.stop()?;
    let mut complaints = Complaints::default();
    let tells = machine::kernel_is_at_least(5, 16)?;
    complaints.unless(!tells || spent.len() > 10, || format!("only {} programs tell what was spent", spent.len()));
    for instructions in spent {
        complaints.unless(instructions <= MOST_INSTRUCTIONS, || format!("a program cost {instructions} instructions"));
    }
    complaints.settle()
}

/// What it says of each probe. Leaves the answer for the table of kernels.
fn probes(machine: &Machine) -> Result<Vec<Value>> {
    let json = nfslat::run(machine, ["doctor", "--json"])?;
    let answer: Value = serde_json::from_str(&json.stdout).with_context(|| format!("no JSON: {}", json.stdout))?;
    fs::write(machine.results.join(LEFT), &json.stdout).context("leaving the answer for the table of kernels")?;
    Ok(answer["probes"].as_array().context("it lists no probes")?.clone())
}
