//! What calls spend time in before they are sent and after their reply is seen.

use std::collections::BTreeMap;

use super::row::StepRow;
use crate::model::{Histogram, RpcStep, RpcStepSlice};

/// Sums by step.
#[derive(Clone, Default)]
pub(super) struct Steps(BTreeMap<RpcStep, Sum>);

#[derive(Clone, Default)]
struct Sum {
    count: u64,
    total_ns: u64,
    histogram: Histogram,
}

impl Steps {
    pub(super) fn add(&mut self, part: &RpcStepSlice) {
        let sum = self.0.entry(part.step).or_default();
        sum.count = sum.count.saturating_add(part.count);
        sum.total_ns = sum.total_ns.saturating_add(part.total_ns);
        sum.histogram.merge(&part.histogram);
    }

    pub(super) fn rows(self) -> Vec<StepRow> {
        self.0.into_iter().map(|(step, sum)| row(step, sum.count, sum.total_ns, sum.histogram)).collect()
    }
}

/// Adds rows of the same operation; both are in the order of the steps.
pub(super) fn merge(rows: &mut Vec<StepRow>, others: &[StepRow]) {
    for other in others {
        match rows.binary_search_by_key(&other.step, |row| row.step) {
            Ok(index) => {
                let mut histogram = rows[index].histogram.clone();
                histogram.merge(&other.histogram);
                let (count, total_ns) = (rows[index].count, rows[index].total_ns);
                let (count, total_ns) = (count.saturating_add(other.count), total_ns.saturating_add(other.total_ns));
                rows[index] = row(other.step, count, total_ns, histogram);
            }
            Err(index) => rows.insert(index, other.clone()),
        }
    }
}

fn row(step: RpcStep, count: u64, total_ns: u64, histogram: Histogram) -> StepRow {
    // No value can be longer than their sum, whatever a bucket's middle says.
    let quantile = |quantile| histogram.quantile(quantile).map(|ns| ns.min(total_ns));
    StepRow { step, count, total_ns, p50: quantile(0.5), p99: quantile(0.99), histogram }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(step: RpcStep, values: &[u64]) -> Vec<StepRow> {
        let mut sums = Steps::default();
        for &value in values {
            let mut histogram = Histogram::default();
            histogram.record(value, 1);
            sums.add(&RpcStepSlice { series: 0, step, count: 1, total_ns: value, histogram });
        }
        sums.rows()
    }

    #[test]
    fn steps_of_the_same_kind_are_added() {
        let mut rows = steps(RpcStep::SendLock, &[10, 20]);
        merge(&mut rows, &steps(RpcStep::SendLock, &[30]));
        merge(&mut rows, &steps(RpcStep::SessionSlot, &[5]));
        let found: Vec<_> = rows.iter().map(|row| (row.step, row.count, row.total_ns, row.p50)).collect();
        assert_eq!(found, [(RpcStep::SessionSlot, 1, 5, Some(5)), (RpcStep::SendLock, 3, 60, Some(20))]);
    }
}
