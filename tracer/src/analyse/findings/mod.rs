//! Findings: statements with their evidence, what would refute them, and what to do next.
//!
//! One file per kind. A finding claims no more than its evidence carries; where two causes cannot
//! be told apart with what was measured, it says so.

mod holders;
mod incomplete;
mod layer;
mod machine;
mod measured;
mod nfs;
mod nobody;
mod outstanding;
mod quiet;
mod stall;
mod unrecognised;
mod unshown;

use serde::Serialize;

use super::answer::Answer;

/// Where a finding locates the trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The NFS client of this machine: its queues, slots and threads.
    NfsClient,
    /// The network path or the server: not told apart by RPC timing alone.
    NetworkOrServer,
    /// The network path.
    NetworkPath,
    /// The NFS server.
    Server,
    /// Storage of any kind.
    Storage,
    /// Locks of address spaces.
    MemoryLock,
    /// Memory shortage.
    Memory,
    /// CPUs.
    Cpu,
    /// Other kernel locks.
    KernelLock,
    /// Nothing is wrong.
    None,
    /// What was measured, not what was seen.
    Measurement,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Size.
    pub value: u64,
    /// Unit of `value`: `ns`, `calls`, `losses`.
    pub unit: &'static str,
    /// `value` as a share of the window, where both are times. Several threads waiting at once
    /// add up to more than 1.
    pub share_of_wall: Option<f64>,
}

impl Effect {
    fn time(ns: u64, answer: &Answer) -> Self {
        let wall = answer.window.duration_ns;
        let share = (wall > 0).then(|| ns as f64 / wall as f64);
        Self { value: ns, unit: "ns", share_of_wall: share }
    }

    fn number(value: u64, unit: &'static str) -> Self {
        Self { value, unit, share_of_wall: None }
    }
}

/// A statement about the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Kind, stable: `outstanding-calls`, `stall-storage`, ...
    pub id: &'static str,
    /// The statement, one or two sentences.
    pub claim: String,
    /// Where.
    pub layer: Layer,
    /// Whom or what it is about.
    pub subject: String,
    /// How much; `null` where there is nothing to count.
    pub effect: Option<Effect>,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What, if seen, would show the statement to be wrong.
    pub refutes: Vec<String>,
    /// What to do next; empty if nothing.
    pub next: String,
}

/// All findings, most important first.
pub(super) fn findings(answer: &Answer) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(outstanding::find(answer));
    findings.extend(nobody::find(answer));
    let stalls = stall::find(answer);
    let quiet = stalls.is_empty() && findings.is_empty();
    findings.extend(stalls);
    let unrecognised = unrecognised::find(answer);
    if quiet {
        findings.extend(quiet::find(answer, unrecognised.is_some()));
    }
    findings.extend(layer::find(answer));
    findings.extend(machine::find(answer));
    findings.extend(nfs::find(answer));
    findings.extend(unrecognised);
    findings.extend(unshown::find(answer));
    findings.extend(measured::find(answer));
    findings.extend(incomplete::find(answer));
    findings
}

/// A process for a sentence: `fio (pid 812)`.
fn named(comm: &str, pid: u32) -> String {
    format!("{comm} (pid {pid})")
}
