//! No thread was traced: the filter matched none, which is no all-clear.

use super::{Finding, Layer};
use crate::{analyse::answer::Answer, model::hook};

pub(super) fn find(answer: &Answer) -> Option<Finding> {
    if !answer.threads.is_empty() || !hook::is_measured(&answer.probes, hook::SCHED_SWITCH) {
        return None;
    }
    let options = &answer.options;
    let mut filters = Vec::new();
    filters.extend(options.pid.map(|pid| format!("process {pid}")));
    filters.extend(options.comm.as_ref().map(|comm| format!("thread name '{comm}'")));
    filters.extend(options.cgroup.as_ref().map(|cgroup| format!("cgroup {cgroup}")));
    let filter = if filters.is_empty() { "the filter".to_owned() } else { filters.join(" and ") };
    Some(Finding {
        id: "nobody-traced",
        claim: format!("No thread matched {filter} during the run: nothing is known about its time."),
        layer: Layer::Measurement,
        subject: filter,
        effect: None,
        evidence: vec!["0 threads traced".into()],
        refutes: Vec::new(),
        next: "list names with `ps -eLo pid,tid,comm`, and note that a name is that of a thread and at most 15 \
               bytes long"
            .into(),
    })
}
