//! `doctor` says what works on this kernel, on every kernel.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    machine::{self, Machine},
    nfslat,
};

/// The file in which it leaves the answer.
pub const LEFT: &str = "doctor.json";

/// It ends well, names the kernel, and says of everything that does not work why not.
pub const READABLE: Check = Check { name: "doctor::says_what_works", stage: Stage::Bare, run: readable };

fn readable(machine: &Machine) -> Result<Outcome> {
    let release = machine::kernel_release()?;
    let mut complaints = Complaints::default();
    let text = nfslat::run(machine, ["doctor"])?;
    complaints.unless(text.code() == Some(0), || format!("it ended with {}: {}", text.status, text.stderr));
    complaints.unless(text.stdout.contains(&release), || format!("the kernel is not named: {}", text.stdout));

    let json = nfslat::run(machine, ["doctor", "--json"])?;
    let answer: Value = serde_json::from_str(&json.stdout).with_context(|| format!("no JSON: {}", json.stdout))?;
    let probes = answer["probes"].as_array().context("it lists no probes")?;
    complaints.unless(probes.len() > 5, || format!("only {} probes", probes.len()));
    fs::write(machine.results.join(LEFT), &json.stdout).context("leaving the answer for the table of kernels")?;
    for probe in probes {
        let says = |field: &str| probe[field].as_str().is_some_and(|text| !text.is_empty());
        complaints.unless(says("hook") && says("measures"), || format!("nameless: {probe}"));
        complaints.unless(probe["state"] == "attached" || says("detail"), || format!("without a reason: {probe}"));
        complaints.unless(probe["state"] != "missing" || says("remedy"), || format!("without a remedy: {probe}"));
    }
    complaints.settle()
}
