//! Log-linear histogram buckets: the same arithmetic fills them in the kernel and reads them in
//! user space.
//!
//! A value below 2^[`SUB_BITS`] ns has a bucket of its own. Above that every power of two is split
//! into 2^[`SUB_BITS`] equal buckets, so a bucket is at most 1/64 of its lower bound wide and its
//! midpoint is within 0.79% of every value in it. (The idea is HdrHistogram's; the two encodings
//! convert into each other without loss of this precision.)

/// Linear sub-buckets per power of two, as a power of two.
pub const SUB_BITS: u32 = 6;
const SUB_COUNT: u64 = 1 << SUB_BITS;

/// Values from here on share the last bucket: 2^43 ns, about 2.4 hours.
pub const CEILING_NS: u64 = 1 << 43;

/// The last bucket, which holds everything from [`CEILING_NS`] on.
pub const OVERFLOW_BUCKET: u16 = bucket_of_small(CEILING_NS - 1) + 1;

/// Number of buckets.
pub const BUCKETS: usize = OVERFLOW_BUCKET as usize + 1;

const fn bucket_of_small(value_ns: u64) -> u16 {
    if value_ns < SUB_COUNT {
        return value_ns as u16;
    }
    let shift = 63 - value_ns.leading_zeros() - SUB_BITS;
    let sub = (value_ns >> shift) - SUB_COUNT;
    ((shift as u64 + 1) * SUB_COUNT + sub) as u16
}

/// The bucket that counts `value_ns`.
#[inline(always)]
#[must_use]
pub const fn bucket_of(value_ns: u64) -> u16 {
    if value_ns >= CEILING_NS { OVERFLOW_BUCKET } else { bucket_of_small(value_ns) }
}

/// The bucket that counts `value_ns` when only every `2^coarse`-th sub-bucket is kept: fewer
/// distinct buckets, error times `2^coarse`. It is an ordinary bucket number, the lowest of its
/// group, so that [`lower_bound_ns`] still holds; [`midpoint_ns`] takes the same `coarse`.
#[inline(always)]
#[must_use]
pub const fn coarse_bucket_of(value_ns: u64, coarse: u32) -> u16 {
    let bucket = bucket_of(value_ns);
    if bucket == OVERFLOW_BUCKET || (bucket as u64) < SUB_COUNT { bucket } else { bucket & !((1 << coarse) - 1) }
}

/// Smallest value of a bucket, in ns.
#[must_use]
pub const fn lower_bound_ns(bucket: u16) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB_COUNT {
        return bucket;
    }
    let shift = bucket / SUB_COUNT - 1;
    (SUB_COUNT + bucket % SUB_COUNT) << shift
}

/// The value that stands for a bucket: its midpoint, in ns; the ceiling for the overflow bucket.
#[must_use]
pub const fn midpoint_ns(bucket: u16, coarse: u32) -> u64 {
    if bucket >= OVERFLOW_BUCKET {
        return CEILING_NS;
    }
    let low = lower_bound_ns(bucket);
    if (bucket as u64) < SUB_COUNT {
        return low;
    }
    let width = 1u64 << (bucket as u64 / SUB_COUNT - 1);
    low + ((width << coarse) - 1) / 2
}
