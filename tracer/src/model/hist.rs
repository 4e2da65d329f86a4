//! A latency histogram: sparse in memory, an HdrHistogram (V2) outside.

mod hdr;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Counts of latencies in ns. Exact sums and extremes are kept beside it, not in it.
///
/// Values are kept in the slots of an HdrHistogram with three significant digits, so that what is
/// written and read back is the same histogram, and any two can be added. A slot adds at most 0.05%
/// to the error of the buckets the kernel side counts in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// HdrHistogram slot -> count, never 0.
    slots: BTreeMap<u16, u64>,
}

impl Histogram {
    /// Adds `count` values of `value_ns`. Values from 2^43 ns on (2.4 hours) count as that.
    pub fn record(&mut self, value_ns: u64, count: u64) {
        self.add(hdr::slot_of(value_ns), count);
    }

    fn add(&mut self, slot: u16, count: u64) {
        if count > 0 {
            let sum = self.slots.entry(slot).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (&slot, &count) in &other.slots {
            self.add(slot, count);
        }
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.slots.values().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// True if it holds no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Values (ns, the middle of their slot) with their counts, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.slots.iter().map(|(&slot, &count)| (hdr::value_of(slot), count))
    }

    /// The value below or at which a share `quantile` (0 to 1) of all values lies (nearest rank,
    /// ns); `None` if empty.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let total = self.count();
        let rank = ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0_u64;
        self.iter().find_map(|(value_ns, count)| {
            seen = seen.saturating_add(count);
            (seen >= rank).then_some(value_ns)
        })
    }

    /// The histogram in HdrHistogram's V2 compressed (deflate) encoding, in base64: what the
    /// HdrHistogram libraries of all languages read (`HISTFAAA...`).
    #[must_use]
    pub fn to_hdr_base64(&self) -> String {
        hdr::to_base64(&hdr::deflate(&hdr::encode(&self.slots)))
    }

    /// Reads what [`Self::to_hdr_base64`] or [`Serialize`] wrote.
    ///
    /// # Errors
    /// If the text is not base64 of an HdrHistogram with this layout of slots.
    pub fn from_hdr_base64(text: &str) -> Result<Self, String> {
        Ok(Self { slots: hdr::decode(text)? })
    }
}

/// Recordings hold the V2 encoding without its own deflate: their sections are deflated as a whole.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hdr::to_base64(&hdr::encode(&self.slots)))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_hdr_base64(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
