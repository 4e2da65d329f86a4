use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram as Hdr,
    serialization::{Deserializer, Serializer as _, V2DeflateSerializer, V2Serializer},
};
use nfslat_common::buckets::{self, CEILING_NS};
use proptest::prelude::*;

use super::*;

/// Latencies of all magnitudes.
fn latency() -> impl Strategy<Value = u64> {
    (0_u32..43, any::<u64>()).prop_map(|(bits, noise)| (1 << bits) | (noise & ((1 << bits) - 1)))
}

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for &value in values {
        histogram.record(value, 1);
    }
    histogram
}

fn exact_quantile(values: &[u64], quantile: f64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn read_by_the_crate(text: &str) -> Hdr<u64> {
    let bytes = BASE64.decode(text).unwrap();
    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

proptest! {
    #[test]
    fn quantiles_of_kernel_buckets_are_within_one_percent(
        values in prop::collection::vec(latency(), 1..300),
        quantile in 0.0..=1.0_f64,
    ) {
        let counted: Vec<u64> =
            values.iter().map(|&v| buckets::midpoint_ns(buckets::bucket_of(v), 0)).collect();
        let exact = exact_quantile(&values, quantile) as f64;
        let ours = of(&counted).quantile(quantile).unwrap() as f64;
        prop_assert!((ours - exact).abs() <= 0.01 * exact, "{ours} for {exact}");
    }

    #[test]
    fn merging_is_the_same_as_recording_all(
        a in prop::collection::vec(latency(), 0..50),
        b in prop::collection::vec(latency(), 0..50),
    ) {
        let mut merged = of(&a);
        merged.merge(&of(&b));
        prop_assert_eq!(merged.count() as usize, a.len() + b.len());
        prop_assert_eq!(merged, of(&[a, b].concat()));
    }

    #[test]
    fn both_encodings_round_trip(values in prop::collection::vec((latency(), 1_u64..1 << 40), 0..50)) {
        let mut histogram = Histogram::default();
        for (value, count) in values {
            histogram.record(value, count);
        }
        let json = serde_json::to_string(&histogram).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Histogram>(&json).unwrap(), &histogram);
        prop_assert_eq!(&Histogram::from_hdr_base64(&histogram.to_hdr_base64()).unwrap(), &histogram);
    }

    #[test]
    fn the_hdrhistogram_crate_reads_the_same_values(values in prop::collection::vec(latency(), 0..50)) {
        let histogram = of(&values);
        let hdr = read_by_the_crate(&histogram.to_hdr_base64());
        let theirs: Vec<_> = hdr
            .iter_recorded()
            .map(|step| (hdr.median_equivalent(step.value_iterated_to()), step.count_at_value()))
            .collect();
        prop_assert_eq!(theirs, histogram.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_the_hdrhistogram_crate_writes_is_read(values in prop::collection::vec(latency(), 0..50)) {
        let mut hdr = Hdr::<u64>::new_with_bounds(1, CEILING_NS, 3).unwrap();
        for &value in &values {
            hdr.record(value).unwrap();
        }
        let (mut plain, mut deflated) = (Vec::new(), Vec::new());
        V2Serializer::new().serialize(&hdr, &mut plain).unwrap();
        V2DeflateSerializer::new().serialize(&hdr, &mut deflated).unwrap();
        for bytes in [plain, deflated] {
            prop_assert_eq!(Histogram::from_hdr_base64(&BASE64.encode(bytes)).unwrap(), of(&values));
        }
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60_usize, byte in any::<u8>()) {
        let _ = Histogram::from_hdr_base64(&BASE64.encode(&bytes));
        bytes = hdr::encode(&of(&[1, 5, 70_000, 1 << 40]).slots);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Histogram::from_hdr_base64(&BASE64.encode(&bytes));
    }
}

#[test]
fn extremes() {
    let mut histogram = of(&[0, 2047, u64::MAX]);
    histogram.record(7, u64::MAX);
    histogram.record(7, u64::MAX);
    assert_eq!(histogram.count(), u64::MAX);
    let values: Vec<_> = histogram.iter().map(|(value, _)| value).collect();
    assert_eq!(values[..3], [0, 7, 2047]);
    assert!(values[3].abs_diff(CEILING_NS) <= CEILING_NS / 2000);
    assert_eq!(Histogram::default().quantile(0.5), None);
}

#[test]
fn a_header_that_asks_for_much_is_refused() {
    let mut hdr = Hdr::<u64>::new_with_bounds(1, 1 << 62, 5).unwrap();
    hdr.record(1).unwrap();
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&hdr, &mut bytes).unwrap();
    assert!(Histogram::from_hdr_base64(&BASE64.encode(bytes)).is_err());
}
