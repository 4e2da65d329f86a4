//! Runs every check natively and on every kernel of the lab.
//!
//! A check that cannot run is ignored, with its reason. With `CI=true` nothing of the lab may be
//! ignored. What ran where is written to `test-matrix.md` in the build's target folder.

use std::{
    env, fs,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nfslat_tests::{
    check::{Check, Ended, Verdict},
    checks, guest,
    lab::{self, Guest},
    machine::{self, Machine},
    matrix::Matrix,
};

/// Verdicts of this run; the trials are run one after another.
type Verdicts = Arc<Mutex<Vec<Verdict>>>;

fn main() -> Result<ExitCode> {
    if let Some(stage) = guest::stage() {
        guest::run(&stage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut arguments = Arguments::from_args();
    // The checks measure time: they must not disturb each other.
    arguments.test_threads = Some(1);
    let machine = Machine::here()?;
    let native = Verdicts::default();
    let mut trials: Vec<_> = checks::native().map(|check| native_trial(check, &machine, &native)).collect();
    let mut columns = vec![(None, native)];
    for kernel in lab::kernels() {
        let (guest, verdicts, lab_trials) = lab_trials(kernel, &machine, &arguments);
        trials.extend(lab_trials);
        columns.push((Some(guest), verdicts));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        write_matrix(&machine, &columns)?;
    }
    Ok(conclusion.exit_code())
}

fn native_trial(check: &'static Check, machine: &Machine, verdicts: &Verdicts) -> Trial {
    let (machine, verdicts) = (machine.clone(), Arc::clone(verdicts));
    Trial::ignorable_test(format!("native::{}", check.name), move || {
        let verdict = match machine.cannot_measure() {
            Some(reason) => Verdict { check: check.name.to_owned(), result: Ended::Skipped(reason), seconds: 0.0 },
            None => check.verdict(&machine),
        };
        keep(&verdicts, &verdict);
        completion(verdict.result, false)
    })
}

fn lab_trials(kernel: &'static str, machine: &Machine, arguments: &Arguments) -> (Arc<Guest>, Verdicts, Vec<Trial>) {
    let name = |check: &Check| format!("lab::{kernel}::{}", check.name);
    let wanted = |check: &&Check| !arguments.is_filtered_out(&Trial::test(name(check), || Ok(())));
    let guest = Guest::new(kernel, machine, checks::ALL.iter().filter(wanted).collect());
    let verdicts = Verdicts::default();
    let trial = |check: &'static Check| {
        let (guest, verdicts) = (Arc::clone(&guest), Arc::clone(&verdicts));
        Trial::ignorable_test(name(check), move || {
            let verdict = guest.verdict(check);
            keep(&verdicts, &verdict);
            completion(verdict.result, env::var("CI").as_deref() == Ok("true"))
        })
    };
    let trials = checks::ALL.iter().map(trial).collect();
    (guest, verdicts, trials)
}

fn keep(verdicts: &Verdicts, verdict: &Verdict) {
    verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(verdict.clone());
}

fn completion(ended: Ended, must_run: bool) -> Result<Completion, Failed> {
    match ended {
        Ended::Passed => Ok(Completion::Completed),
        Ended::Skipped(reason) if must_run => Err(format!("could not run: {reason}").into()),
        Ended::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Ended::Failed(reason) => Err(reason.into()),
    }
}

fn write_matrix(machine: &Machine, columns: &[(Option<Arc<Guest>>, Verdicts)]) -> Result<()> {
    let mut matrix = Matrix::default();
    for (guest, verdicts) in columns {
        let verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.is_empty() {
            continue;
        }
        let (kernel, doctor) = match guest {
            Some(guest) => (guest.release().unwrap_or(guest.kernel()).to_owned(), guest.left(checks::doctor::LEFT)),
            None => (machine::kernel_release()?, left_natively(machine, &verdicts)),
        };
        matrix.add(&kernel, &verdicts, doctor.as_deref())?;
    }
    matrix.write(&machine::target_folder()?.join("test-matrix.md"))
}

/// What `doctor` said on this machine in this run, not in an earlier one.
fn left_natively(machine: &Machine, verdicts: &[Verdict]) -> Option<String> {
    verdicts.iter().find(|verdict| verdict.check == checks::doctor::READABLE.name)?;
    fs::read_to_string(machine.results.join(checks::doctor::LEFT)).ok()
}
