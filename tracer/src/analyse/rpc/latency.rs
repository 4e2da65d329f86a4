//! Latencies of one part of NFS calls.

use super::row::Latency;
use crate::model::{Histogram, RpcPart};

impl Latency {
    /// Adds the values of a slice; percentiles follow with [`Self::finish`].
    pub(in crate::analyse) fn add(&mut self, part: &RpcPart) {
        self.sum = self.sum.saturating_add(part.sum_ns);
        self.negative = self.negative.saturating_add(part.negative);
        self.histogram.merge(&part.histogram);
    }

    /// Widens the extremes. A series that saw no value has its minimum above its maximum, or both 0.
    pub(in crate::analyse) fn widen(&mut self, min: u64, max: u64) {
        if min > max || (min, max) == (0, 0) {
            return;
        }
        self.min = if (self.min, self.max) == (0, 0) { min } else { self.min.min(min) };
        self.max = self.max.max(max);
    }

    /// Adds other latencies, percentiles included.
    pub(in crate::analyse) fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.negative = self.negative.saturating_add(other.negative);
        self.histogram.merge(&other.histogram);
        self.widen(other.min, other.max);
        self.finish(self.count.saturating_add(other.count));
    }

    /// Sets the count and, from the histogram, the percentiles: held within the exact extremes.
    pub(in crate::analyse) fn finish(&mut self, count: u64) {
        let quantile = |histogram: &Histogram, q| histogram.quantile(q).unwrap_or_default().clamp(self.min, self.max);
        self.count = count;
        self.p50 = quantile(&self.histogram, 0.5);
        self.p90 = quantile(&self.histogram, 0.9);
        self.p99 = quantile(&self.histogram, 0.99);
    }
}
