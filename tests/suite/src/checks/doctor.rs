//! `doctor` says what works on this kernel, on every kernel.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::NfsMount,
    machine::{self, Machine},
    nfslat,
};

/// The file in which it leaves the answer.
pub const LEFT: &str = "doctor.json";

/// It ends well, names the kernel, and says of everything that does not work why not.
pub const READABLE: Check = Check { name: "doctor::says_what_works", stage: Stage::Small, run: readable };

/// Where NFS is in use, everything about it is attached.
pub(super) const WITH_NFS: Check =
    Check { name: "doctor::nfs_probes_are_attached", stage: Stage::WithNfs, run: with_nfs };

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
    complaints.settle()
}

fn with_nfs(machine: &Machine) -> Result<Outcome> {
    let _mount = NfsMount::of_version("4.2")?;
    let about_nfs = |hook: &str| {
        ["sunrpc:", "nfs:"].iter().any(|module| hook.starts_with(module)) || ["debugfs", "NFS mounts"].contains(&hook)
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

/// What it says of each probe. Leaves the answer for the table of kernels.
fn probes(machine: &Machine) -> Result<Vec<Value>> {
    let json = nfslat::run(machine, ["doctor", "--json"])?;
    let answer: Value = serde_json::from_str(&json.stdout).with_context(|| format!("no JSON: {}", json.stdout))?;
    fs::write(machine.results.join(LEFT), &json.stdout).context("leaving the answer for the table of kernels")?;
    Ok(answer["probes"].as_array().context("it lists no probes")?.clone())
}
