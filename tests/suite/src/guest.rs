//! The suite inside a guest: runs the checks of one stage and writes their verdicts down.

use std::{env, fs, sync::mpsc, thread, time::Duration};

use anyhow::{Context, Result};

use crate::{
    check::{Check, Ended, Verdict},
    checks,
    machine::Machine,
};

/// Names the stage to run; only set in a guest.
pub const STAGE: &str = "NFSLAT_SUITE_STAGE";

/// Names of the checks that were asked for, separated by blanks.
pub const WANTED: &str = "NFSLAT_SUITE_WANTED";

/// How long one check may take on an emulated machine.
const LIMIT: Duration = Duration::from_secs(150);

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
            let verdict = verdict_in_time(check, &machine);
            println!("suite: {} {:?} after {:.1} s", check.name, verdict.result, verdict.seconds);
            write(&machine, &verdict)?;
        }
    }
    Ok(())
}

/// A check that hangs must not take the verdicts of all others along.
fn verdict_in_time(check: &'static Check, machine: &Machine) -> Verdict {
    let (sender, receiver) = mpsc::channel();
    let machine = machine.clone();
    thread::spawn(move || sender.send(check.verdict(&machine)));
    receiver.recv_timeout(LIMIT).unwrap_or_else(|_| Verdict {
        check: check.name.to_owned(),
        result: Ended::Failed(format!("it has not ended after {} s", LIMIT.as_secs())),
        seconds: LIMIT.as_secs_f64(),
    })
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
