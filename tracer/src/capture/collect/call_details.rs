//! What calls spent time in before sending and after the reply, and the errors they ended with.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use nfslat_common::{
    buckets,
    rpc::{RpcBucketKey, RpcErrorKey, RpcKey, RpcStepKey, RpcStepSum, part},
};

use crate::{
    capture::{kernel::maps, session::Session},
    model::{Histogram, RpcErrorSlice, RpcStep, RpcStepSlice, Slice},
};

/// What the maps said of them so far.
#[derive(Default)]
pub(super) struct CallDetails {
    steps: HashMap<RpcStepKey, RpcStepSum>,
    errors: HashMap<RpcErrorKey, u64>,
}

/// The step whose histogram a bucket belongs to; `None` if it is of a part.
pub(super) fn step_of(key: &RpcBucketKey) -> Option<RpcStep> {
    usize::from(key.part).checked_sub(part::COUNT).and_then(|step| RpcStep::ALL.get(step).copied())
}

/// Values added to histograms of steps, by series.
#[derive(Default)]
pub(super) struct StepHistograms(BTreeMap<(u32, RpcStep), Histogram>);

impl StepHistograms {
    pub(super) fn add(&mut self, series: u32, step: RpcStep, bucket: u16, count: u64) {
        self.0.entry((series, step)).or_default().record(buckets::midpoint_ns(bucket, 0), count);
    }
}

impl CallDetails {
    /// Reads the maps and adds what is new to the slice. `index_of`: of the series that are known; others follow with
    /// the next slice.
    pub(super) fn read(
        &mut self,
        session: &Session,
        index_of: impl Fn(&RpcKey) -> Option<u32>,
        mut histograms: StepHistograms,
        slice: &mut Slice,
    ) -> Result<()> {
        for (key, sum) in maps::read_all::<RpcStepKey, RpcStepSum>(maps::data(session.bpf(), "RPC_STEPS")?)? {
            let (Some(series), Some(&step)) = (index_of(&key.rpc), RpcStep::ALL.get(key.step as usize)) else {
                continue;
            };
            let before = self.steps.insert(key, sum).unwrap_or_default();
            let histogram = histograms.0.remove(&(series, step)).unwrap_or_default();
            let (count, total_ns) = (sum.count - before.count, sum.total_ns.saturating_sub(before.total_ns));
            if count > 0 || !histogram.is_empty() {
                slice.rpc_steps.push(RpcStepSlice { series, step, count, total_ns, histogram });
            }
        }
        for (key, count) in maps::read_all::<RpcErrorKey, u64>(maps::data(session.bpf(), "RPC_ERRORS")?)? {
            let Some(series) = index_of(&key.rpc) else { continue };
            let added = count - self.errors.insert(key, count).unwrap_or_default();
            if added > 0 {
                slice.rpc_errors.push(RpcErrorSlice { series, status: key.status, count: added });
            }
        }
        slice.rpc_steps.sort_by_key(|step| (step.series, step.step));
        slice.rpc_errors.sort_by_key(|error| (error.series, error.status));
        Ok(())
    }
}
