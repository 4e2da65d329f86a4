//! Runs every check natively and on every kernel of the lab.
//!
//! A check that cannot run is ignored, with its reason. With `CI=true` nothing of the lab may be
//! ignored. What ran where is written to `test-matrix.md` in the build's target folder.

use std::{
    env, fs, mem,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nfslat_tests::{
    check::{Check, Ended, Verdict},
    checks, guest,
    lab::{self, Guests},
    machine::{self, Machine},
    matrix::Matrix,
};

/// Verdicts of this run; the trials are run one after another.
type Verdicts = Arc<Mutex<Vec<Verdict>>>;

/// Guests that have not been started: the first trial of the lab starts them all, so that they use
/// the machine's processors well, and after the native trials, so that they do not disturb those.
type Fleet = Arc<Mutex<Vec<Arc<Guests>>>>;

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
    let fleet = Fleet::default();
    for (index, kernel) in lab::kernels().enumerate() {
        let checks = checks::in_lab(index == 0).collect();
        let (guests, verdicts, lab_trials) = lab_trials(kernel, checks, &machine, &arguments, &fleet);
        trials.extend(lab_trials);
        fleet.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&guests));
        columns.push((Some(guests), verdicts));
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

fn lab_trials(
    kernel: &'static str,
    checks: Vec<&'static Check>,
    machine: &Machine,
    arguments: &Arguments,
    fleet: &Fleet,
) -> (Arc<Guests>, Verdicts, Vec<Trial>) {
    let name = |check: &Check| format!("lab::{kernel}::{}", check.name);
    let wanted = |check: &&&Check| !arguments.is_filtered_out(&Trial::test(name(check), || Ok(())));
    let guests = Guests::new(kernel, machine, &checks.iter().filter(wanted).copied().collect::<Vec<_>>());
    let verdicts = Verdicts::default();
    let trial = |check: &'static Check| {
        let (guests, verdicts, fleet) = (Arc::clone(&guests), Arc::clone(&verdicts), Arc::clone(fleet));
        Trial::ignorable_test(name(check), move || {
            let not_started = mem::take(&mut *fleet.lock().unwrap_or_else(PoisonError::into_inner));
            if !not_started.is_empty() {
                lab::start(not_started);
            }
            let verdict = guests.verdict(check);
            keep(&verdicts, &verdict);
            completion(verdict.result, env::var("CI").as_deref() == Ok("true"))
        })
    };
    let trials = checks.into_iter().map(trial).collect();
    (guests, verdicts, trials)
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

fn write_matrix(machine: &Machine, columns: &[(Option<Arc<Guests>>, Verdicts)]) -> Result<()> {
    let mut matrix = Matrix::default();
    for (guests, verdicts) in columns {
        let verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.is_empty() {
            continue;
        }
        let (kernel, doctor) = match guests {
            Some(guests) => (guests.release().unwrap_or(guests.kernel()).to_owned(), guests.left(checks::doctor::LEFT)),
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
