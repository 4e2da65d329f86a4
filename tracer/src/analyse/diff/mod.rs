//! Two recordings beside each other: which machine is slower, in which layer, by how much, and how sure that is.
//!
//! Pure, and a mirror: the opposite comparison says the opposite.

mod bootstrap;
mod calls;
mod comparable;
mod configuration;
mod gather;
mod places;
mod stalls;
mod verdict;

use serde::Serialize;

use super::answer;
use crate::model::{Host, Recording, Window};
pub use bootstrap::Shift;
use calls::Gathered;
pub use calls::{CallRow, Difference};
pub use configuration::Setting;
pub use places::{PlaceRow, Where, Which};
pub use stalls::StallRow;
pub use verdict::{Conclusion, interval};

/// Name and version of the schema.
pub const SCHEMA: &str = "nfslat-diff/1";

/// What the recordings are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Two machines.
    TwoHosts,
    /// One machine, before and after something.
    SameHost,
}

/// A recording that was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The machine.
    pub host: Host,
    /// When, and for how long.
    pub window: Window,
    /// False if anything was lost or missed.
    pub complete: bool,
    /// What its own answer says first; empty if nothing.
    pub claim: String,
}

/// Operations that only one recording has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// Server and exported path, as mounted.
    pub source: String,
    /// Operation.
    pub op: String,
    /// Calls in the first.
    pub a_count: u64,
    /// In the second.
    pub b_count: u64,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was compared.
    pub mode: Mode,
    /// The first recording.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// What it comes to.
    pub conclusion: Conclusion,
    /// What weakens it.
    pub warnings: Vec<String>,
    /// NFS calls by export.
    pub places: Vec<PlaceRow>,
    /// And by operation, most calls first.
    pub calls: Vec<CallRow>,
    /// Operations that only one has: they are not compared.
    pub only_in_one: Vec<Lacking>,
    /// Stalls by group.
    pub stalls: Vec<StallRow>,
    /// What is set differently, what matters most first.
    pub configuration: Vec<Setting>,
}

impl Diff {
    /// True if both recordings are complete.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.a.complete && self.b.complete
    }
}

/// Compares two recordings, which must be valid. Without a mode, recordings of the same host name are of one machine.
///
/// # Errors
/// If they cannot be compared: the text says why, and what to do.
pub fn diff(first: &Recording, second: &Recording, mode: Option<Mode>) -> Result<Diff, String> {
    if let Some(reason) = comparable::refusal(first, second) {
        return Err(reason);
    }
    let same = first.host.hostname == second.host.hostname;
    let mode = mode.unwrap_or(if same { Mode::SameHost } else { Mode::TwoHosts });
    let (a, b) = (answer(first), answer(second));
    let crowded = gather::crowded([first, second]);
    let gathered = [first, second].map(|recording| Gathered::of(recording, &crowded));
    let calls = calls::rows(&gathered[0], &gathered[1]);
    let only_in_one = calls::only_in_one(&gathered[0], &gathered[1]);
    let context = places::Context {
        crowded: &crowded,
        a: &a,
        b: &b,
        only_in_one: &only_in_one,
        at_once: comparable::at_once(&a, &b, mode),
    };
    let places = places::rows(&calls, &context);
    let stalls = stalls::rows(&a, &b);
    let warnings = comparable::warnings(&a, &b, mode, &places, &calls);
    let facts = verdict::Facts { a: &a, b: &b, mode, places: &places, stalls: &stalls, warnings: &warnings };
    let side = |recording: &Recording, answer: &super::Answer| Side {
        host: answer.host.clone(),
        window: recording.window,
        complete: answer.complete,
        claim: answer.findings.first().map(|finding| finding.claim.clone()).unwrap_or_default(),
    };
    Ok(Diff {
        schema: SCHEMA,
        mode,
        conclusion: facts.conclude(),
        a: side(first, &a),
        b: side(second, &b),
        only_in_one,
        warnings,
        places,
        calls,
        stalls,
        configuration: configuration::differences(&a, &b, &crowded),
    })
}
