//! The arithmetic of the histogram buckets.

use nfslat_common::buckets::{
    BUCKETS, CEILING_NS, OVERFLOW_BUCKET, bucket_of, coarse_bucket_of, lower_bound_ns, midpoint_ns,
};
use nfslat_common::sched::WAIT_COARSE;
use proptest::prelude::*;

/// Values of all magnitudes below the ceiling.
fn value() -> impl Strategy<Value = u64> {
    (0_u32..43, any::<u64>()).prop_map(|(bits, noise)| (1 << bits) | (noise & ((1 << bits) - 1)))
}

fn error(stands_for: u64, value: u64) -> f64 {
    stands_for.abs_diff(value) as f64 / value as f64
}

#[test]
fn every_bucket_begins_where_the_one_before_ends() {
    assert_eq!(BUCKETS, usize::from(OVERFLOW_BUCKET) + 1);
    assert_eq!(lower_bound_ns(0), 0);
    for bucket in 1..OVERFLOW_BUCKET {
        let low = lower_bound_ns(bucket);
        assert_eq!(bucket_of(low), bucket, "from {low}");
        assert_eq!(bucket_of(low - 1), bucket - 1, "before {low}");
    }
    assert_eq!(bucket_of(CEILING_NS - 1), OVERFLOW_BUCKET - 1);
    for value in [CEILING_NS, CEILING_NS + 1, u64::MAX] {
        assert_eq!(bucket_of(value), OVERFLOW_BUCKET);
        assert_eq!(coarse_bucket_of(value, WAIT_COARSE), OVERFLOW_BUCKET);
        assert_eq!(midpoint_ns(OVERFLOW_BUCKET, WAIT_COARSE), CEILING_NS);
    }
}

proptest! {
    #[test]
    fn a_larger_value_is_in_no_smaller_bucket(a in any::<u64>(), b in any::<u64>()) {
        let (a, b) = (a.min(b), a.max(b));
        prop_assert!(bucket_of(a) <= bucket_of(b));
        prop_assert!(coarse_bucket_of(a, WAIT_COARSE) <= coarse_bucket_of(b, WAIT_COARSE));
    }

    #[test]
    fn a_bucket_holds_its_value(value in value()) {
        let bucket = bucket_of(value);
        prop_assert!(lower_bound_ns(bucket) <= value);
        prop_assert!(value < lower_bound_ns(bucket + 1) || bucket + 1 == OVERFLOW_BUCKET);
        prop_assert!(lower_bound_ns(coarse_bucket_of(value, WAIT_COARSE)) <= value);
    }

    #[test]
    fn the_midpoint_is_within_0_79_percent(value in value()) {
        prop_assert!(error(midpoint_ns(bucket_of(value), 0), value) <= 0.0079);
    }

    #[test]
    fn the_coarse_midpoint_is_within_3_2_percent(value in value()) {
        let bucket = coarse_bucket_of(value, WAIT_COARSE);
        prop_assert!(error(midpoint_ns(bucket, WAIT_COARSE), value) <= 0.032);
    }
}
