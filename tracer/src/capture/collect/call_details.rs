//! What calls spent time in before sending and after the reply, the errors they ended with, and who made them.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use nfslat_common::{
    buckets,
    rpc::{RpcBucketKey, RpcErrorKey, RpcKey, RpcMakerKey, RpcMakerSum, RpcStepKey, RpcStepSum, part},
};

use super::{is_gone, remove};
use crate::{
    capture::{kernel::maps, session::Session},
    model::{Histogram, Maker, RpcErrorSlice, RpcMakerSlice, RpcStep, RpcStepSlice, Slice},
};

/// What the maps said of them so far.
#[derive(Default)]
pub(super) struct CallDetails {
    steps: HashMap<RpcStepKey, RpcStepSum>,
    errors: HashMap<RpcErrorKey, u64>,
    makers: HashMap<RpcMakerKey, RpcMakerSum>,
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
        session: &mut Session,
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
        self.read_makers(session, index_of, slice)?;
        slice.rpc_makers.sort_by_key(|made| (made.series, made.maker));
        slice.rpc_steps.sort_by_key(|step| (step.series, step.step));
        slice.rpc_errors.sort_by_key(|error| (error.series, error.status));
        Ok(())
    }

    /// The same for who made the calls. Of processes that are gone and have no more calls done, the entries are freed: a long
    /// run would see more processes than the table has room for.
    fn read_makers(
        &mut self,
        session: &mut Session,
        index_of: impl Fn(&RpcKey) -> Option<u32>,
        slice: &mut Slice,
    ) -> Result<()> {
        for (key, sum) in maps::read_all::<RpcMakerKey, RpcMakerSum>(maps::data(session.bpf(), "RPC_MAKERS")?)? {
            let Some(series) = index_of(&key.rpc) else { continue };
            let before = self.makers.insert(key, sum).unwrap_or_default();
            let maker = match key.maker {
                RpcMakerKey::KERNEL => Maker::Kernel,
                RpcMakerKey::UNKNOWN => Maker::Unknown,
                pid => Maker::Process(pid),
            };
            let (count, execute_ns) = (sum.count - before.count, sum.execute_ns.saturating_sub(before.execute_ns));
            if count > 0 {
                slice.rpc_makers.push(RpcMakerSlice { series, maker, count, execute_ns });
            } else if let Maker::Process(pid) = maker
                && is_gone(session, pid)
            {
                remove::<RpcMakerKey, RpcMakerSum>(session.bpf_mut(), "RPC_MAKERS", &key)?;
                self.makers.remove(&key);
            }
        }
        Ok(())
    }
}
