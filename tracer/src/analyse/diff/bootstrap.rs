//! How far a quantile of two recordings is apart, with a confidence interval.
//!
//! Quantiles are the inverse of the empirical distribution function (definition 1 of Hyndman and Fan, *Sample Quantiles in
//! Statistical Packages*, 1996). The interval is the percentile interval of a circular block bootstrap (Politis and Romano, *A
//! Circular Block-Resampling Procedure for Stationary Data*, 1992) over the moments of each recording: calls of one moment have
//! much in common, so it is moments that are drawn, not calls. Blocks are as many moments long as the cube root of their number.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde::Serialize;

use crate::model::Histogram;

/// How often moments are drawn.
const DRAWS: usize = 1_000;

/// What lies within the interval, in drawn values of every hundred.
const CONFIDENCE: f64 = 0.95;

/// A quantile in both recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shift {
    /// In the first.
    pub a_ns: u64,
    /// In the second.
    pub b_ns: u64,
    /// How much more the second has.
    pub shift_ns: i64,
    /// Where that lies with 95% confidence, as far as the recordings are like what they were taken from.
    pub low_ns: i64,
    /// See `low_ns`.
    pub high_ns: i64,
}

/// A quantile of one recording, and what it might have been.
pub(super) struct Sample {
    quantile_ns: u64,
    drawn: Vec<u64>,
}

impl Sample {
    /// Of values by moment, of so many `moments` in all; `None` if there are none. Draws by the seed, which must be another
    /// one for another recording.
    pub(super) fn of(used: &BTreeMap<usize, Histogram>, moments: usize, quantile: f64, seed: u64) -> Option<Self> {
        let mut all = Histogram::default();
        used.values().for_each(|moment| all.merge(moment));
        let quantile_ns = all.quantile(quantile)?;
        let values: Vec<u64> = all.iter().map(|(value, _)| value).collect();
        let place = |value: u64| values.binary_search(&value).unwrap_or_default();
        let places = |moment: &Histogram| moment.iter().map(|(value, count)| (place(value), count)).collect::<Vec<_>>();
        let used: BTreeMap<usize, Vec<(usize, u64)>> = used.iter().map(|(&at, moment)| (at, places(moment))).collect();
        let block = (moments as f64).cbrt().ceil() as usize;
        let mut rng = Rng::with_seed(seed);
        let mut drawn: Vec<u64> = (0..DRAWS)
            .filter_map(|_| {
                let mut counts = vec![0_u64; values.len()];
                let starts = std::iter::repeat_with(|| rng.usize(..moments));
                let chosen = starts.flat_map(|start| start..start + block).take(moments);
                for (place, count) in chosen.filter_map(|at| used.get(&(at % moments))).flatten() {
                    counts[*place] = counts[*place].saturating_add(*count);
                }
                quantile_of(&values, &counts, quantile)
            })
            .collect();
        if drawn.is_empty() {
            drawn.push(quantile_ns);
        }
        Some(Self { quantile_ns, drawn })
    }

    /// How much more another recording has.
    pub(super) fn shift_to(&self, other: &Self) -> Shift {
        let difference = |a: u64, b: u64| b.cast_signed().saturating_sub(a.cast_signed());
        let mut drawn: Vec<i64> = self.drawn.iter().zip(&other.drawn).map(|(&a, &b)| difference(a, b)).collect();
        drawn.sort_unstable();
        // As many are left out below as above, so that the interval of the opposite comparison is its mirror.
        let left_out = (drawn.len() as f64 * (1.0 - CONFIDENCE) / 2.0) as usize;
        Shift {
            a_ns: self.quantile_ns,
            b_ns: other.quantile_ns,
            shift_ns: difference(self.quantile_ns, other.quantile_ns),
            low_ns: drawn[left_out],
            high_ns: drawn[drawn.len() - 1 - left_out],
        }
    }
}

fn quantile_of(values: &[u64], counts: &[u64], quantile: f64) -> Option<u64> {
    let total = counts.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
    let rank = ((quantile * total as f64).ceil() as u64).max(1);
    let mut seen = 0_u64;
    values.iter().zip(counts).find_map(|(&value, &count)| {
        seen = seen.saturating_add(count);
        (seen >= rank).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments with `calls` values each, spread like the waiting times of a queue around a median of `median_ns`.
    fn moments(rng: &mut Rng, number: usize, calls: usize, median_ns: f64) -> BTreeMap<usize, Histogram> {
        let draw = |rng: &mut Rng| {
            let mut histogram = Histogram::default();
            for _ in 0..calls {
                // The sum of 12 uniform values less 6 is close to normal.
                let normal: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
                histogram.record((median_ns * (0.5 * normal).exp()) as u64, 1);
            }
            histogram
        };
        (0..number).map(|at| (at, draw(rng))).collect()
    }

    #[test]
    fn the_interval_holds_the_true_shift_as_often_as_it_says() {
        const TRIALS: u64 = 400;
        let mut rng = Rng::with_seed(7);
        let held = (0..TRIALS)
            .filter(|trial| {
                let (a, b) = (moments(&mut rng, 40, 25, 1e6), moments(&mut rng, 40, 25, 1.3e6));
                let sample = |used: &BTreeMap<_, _>, seed| Sample::of(used, 40, 0.5, seed).unwrap();
                let shift = sample(&a, 2 * trial).shift_to(&sample(&b, 2 * trial + 1));
                (shift.low_ns..=shift.high_ns).contains(&300_000)
            })
            .count() as u64;
        assert!((TRIALS * 92 / 100..=TRIALS * 98 / 100).contains(&held), "{held} of {TRIALS}");
    }

    #[test]
    fn the_opposite_comparison_is_the_mirror() {
        let mut rng = Rng::with_seed(1);
        let a = Sample::of(&moments(&mut rng, 10, 20, 1e6), 10, 0.5, 1).unwrap();
        let b = Sample::of(&moments(&mut rng, 12, 20, 2e6), 12, 0.5, 2).unwrap();
        let (there, back) = (a.shift_to(&b), b.shift_to(&a));
        assert_eq!((there.a_ns, there.b_ns, there.shift_ns), (back.b_ns, back.a_ns, -back.shift_ns));
        assert_eq!((there.low_ns, there.high_ns), (-back.high_ns, -back.low_ns));
    }

    #[test]
    fn a_recording_is_no_different_from_itself() {
        let all = moments(&mut Rng::with_seed(3), 20, 10, 5e6);
        let shift = Sample::of(&all, 20, 0.5, 9).unwrap().shift_to(&Sample::of(&all, 20, 0.5, 9).unwrap());
        assert_eq!((shift.shift_ns, shift.low_ns, shift.high_ns), (0, 0, 0));
    }

    #[test]
    fn no_values_have_no_quantile() {
        assert!(Sample::of(&BTreeMap::new(), 0, 0.5, 1).is_none());
        assert!(Sample::of(&BTreeMap::from([(0, Histogram::default())]), 1, 0.5, 1).is_none());
    }
}
