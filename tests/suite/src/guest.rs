//! The suite inside a guest: runs the checks of one stage and writes their verdicts down.

use std::{env, fs};

use anyhow::{Context, Result};

use crate::{check::Verdict, checks, machine::Machine};

/// Names the stage to run; only set in a guest.
pub const STAGE: &str = "NFSLAT_SUITE_STAGE";

/// Names of the checks that were asked for, separated by blanks.
pub const WANTED: &str = "NFSLAT_SUITE_WANTED";

/// The stage that this process is to run, if it runs in a guest.
#[must_use]
pub fn stage() -> Option<String> {
    env::var(STAGE).ok()
}

/// Runs the checks of `stage`. Checks that fail are verdicts, not errors.
pub fn run(stage: &str) -> Result<()> {
    let machine = Machine::here()?;
    let wanted = env::var(WANTED).context("no checks are named to run")?;
    for check in checks::ALL.iter().filter(|check| check.stage.name() == stage) {
        if wanted.split_whitespace().any(|name| name == check.name) {
            println!("suite: {}", check.name);
            let verdict = check.verdict(&machine);
            println!("suite: {} {:?} after {:.1} s", check.name, verdict.result, verdict.seconds);
            write(&machine, &verdict)?;
        }
    }
    Ok(())
}

/// One file for each: what is written stays, however the guest ends.
fn write(machine: &Machine, verdict: &Verdict) -> Result<()> {
    let path = machine.results.join(file_name(&verdict.check));
    fs::write(&path, serde_json::to_vec(verdict)?).with_context(|| format!("writing {}", path.display()))
}

/// The file with the verdict on a check.
#[must_use]
pub fn file_name(check: &str) -> String {
    format!("{}.verdict.json", check.replace("::", "."))
}
