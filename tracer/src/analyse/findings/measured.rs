//! What was not measured, and why: no data is a finding too.

use super::{Finding, Layer};
use crate::analyse::answer::{Answer, RpcRow};
use crate::model::{Mount, ProbeState, ProbeStatus, hook};

pub(super) fn find(answer: &Answer) -> Vec<Finding> {
    let mut findings: Vec<_> = answer.probes.iter().filter_map(probe).collect();
    if hook::is_measured(&answer.probes, hook::RPC_LATENCY) && !answer.rpc.iter().any(RpcRow::is_nfs) {
        findings.push(no_calls(answer));
    }
    findings
}

fn probe(probe: &ProbeStatus) -> Option<Finding> {
    let (id, claim) = match probe.state {
        ProbeState::Attached => return None,
        ProbeState::NotApplicable => ("not-applicable", format!("Not measured: {}{}.", probe.measures, because(probe))),
        ProbeState::Missing => ("not-measured", format!("Not measured: {}{}.", probe.measures, because(probe))),
        ProbeState::AttachedLate => {
            ("measured-late", format!("Measured for a part of the window only: {}{}.", probe.measures, because(probe)))
        }
        ProbeState::Fallback => {
            ("measured-otherwise", format!("Measured in a simpler way: {}{}.", probe.measures, because(probe)))
        }
    };
    Some(Finding {
        id,
        claim,
        layer: Layer::Measurement,
        subject: probe.measures.clone(),
        effect: None,
        evidence: vec![format!("kernel hook {}", probe.hook)],
        refutes: Vec::new(),
        next: probe.remedy.clone(),
    })
}

fn because(probe: &ProbeStatus) -> String {
    if probe.detail.is_empty() { String::new() } else { format!(" ({})", probe.detail.trim_end_matches('.')) }
}

fn no_calls(answer: &Answer) -> Finding {
    let mounts: Vec<_> = answer.mounts.iter().map(Mount::name).collect();
    let (id, claim) = match (&answer.options.mount, mounts.as_slice()) {
        (Some(mount), _) => ("no-nfs-calls", format!("No NFS call ended on {mount} in the window.")),
        (None, []) => ("no-nfs-mount", "No NFS mount was seen, so there was no NFS call to measure.".into()),
        (None, mounts) => {
            ("no-nfs-calls", format!("No NFS call ended in the window (mounted: {}).", mounts.join(", ")))
        }
    };
    Finding {
        id,
        claim,
        layer: Layer::Measurement,
        subject: "NFS".into(),
        effect: None,
        evidence: vec![format!("kernel hook {} was attached and saw none", hook::RPC_LATENCY)],
        refutes: Vec::new(),
        next: String::new(),
    }
}
