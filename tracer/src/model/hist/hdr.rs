//! HdrHistogram's slots and its V2 encoding.
//!
//! Written here rather than taken from the `hdrhistogram` crate because that allocates and scans
//! 280 KB for each histogram, however few values it holds, and sizes it by what the input says: a
//! recording holds a hundred thousand small histograms, and may be hostile. The tests compare both.
//!
//! Format: <https://github.com/HdrHistogram/HdrHistogram>, `AbstractHistogram.encodeIntoByteBuffer`
//! (big-endian: cookie, payload length, normalizing index offset, significant digits, lowest and
//! highest value, conversion ratio; then counts as ZigZag LEB128, runs of zeros as a negative
//! count), and `encodeIntoCompressedByteBuffer` (cookie, length, zlib stream of the former).

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use nfslat_common::buckets::CEILING_NS;

const COOKIE: u32 = 0x1c84_9303 | 0x10;
const COMPRESSED_COOKIE: u32 = 0x1c84_9304 | 0x10;
const HEADER_LEN: usize = 40;
const SIGNIFICANT_DIGITS: u32 = 3;

/// Slots per power of two, as a power of two: the smallest that keeps three significant digits.
const SUB_BITS: u32 = 10;
const SUB_COUNT: u64 = 1 << SUB_BITS;

/// Number of slots up to and including that of [`CEILING_NS`].
const SLOTS: usize = slot_of(CEILING_NS) as usize + 1;

/// A payload cannot be longer than its header and the longest count (9 bytes) in every slot.
const MAX_PAYLOAD: usize = HEADER_LEN + 9 * SLOTS;

/// The slot that counts `value_ns`. Below 2048 every value has its own.
pub(super) const fn slot_of(value_ns: u64) -> u16 {
    let value = if value_ns > CEILING_NS { CEILING_NS } else { value_ns };
    let shift = 63 - (value | (2 * SUB_COUNT - 1)).leading_zeros() - SUB_BITS;
    (((shift as u64) << SUB_BITS) + (value >> shift)) as u16
}

/// The value in the middle of a slot, ns.
pub(super) const fn value_of(slot: u16) -> u64 {
    let slot = slot as u64;
    let shift = (slot >> SUB_BITS).saturating_sub(1);
    ((slot - (shift << SUB_BITS)) << shift) + ((1 << shift) >> 1)
}

/// The V2 encoding.
pub(super) fn encode(slots: &BTreeMap<u16, u64>) -> Vec<u8> {
    let mut counts = Vec::new();
    let mut next = 0;
    for (&slot, &count) in slots {
        match i64::from(slot) - next {
            0 => {}
            1 => put_signed(&mut counts, 0),
            zeros => put_signed(&mut counts, -zeros),
        }
        put_signed(&mut counts, i64::try_from(count).unwrap_or(i64::MAX));
        next = i64::from(slot) + 1;
    }
    let mut out = Vec::with_capacity(HEADER_LEN + counts.len());
    out.extend(COOKIE.to_be_bytes());
    out.extend((counts.len() as u32).to_be_bytes());
    out.extend(0_u32.to_be_bytes());
    out.extend(SIGNIFICANT_DIGITS.to_be_bytes());
    out.extend(1_u64.to_be_bytes());
    out.extend(CEILING_NS.to_be_bytes());
    out.extend(1_f64.to_be_bytes());
    out.extend(counts);
    out
}

/// The V2 compressed encoding of a V2 encoding.
pub(super) fn deflate(encoded: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(encoded).expect("writing to memory does not fail");
    let stream = zlib.finish().expect("writing to memory does not fail");
    let mut out = Vec::with_capacity(8 + stream.len());
    out.extend(COMPRESSED_COOKIE.to_be_bytes());
    out.extend((stream.len() as u32).to_be_bytes());
    out.extend(stream);
    out
}

/// base64 as HdrHistogram logs have it.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Reads base64 of either encoding. Memory is bounded by the number of slots, whatever the input.
pub(super) fn decode(text: &str) -> Result<BTreeMap<u16, u64>, String> {
    let bytes = BASE64.decode(text).map_err(|e| format!("not base64: {e}"))?;
    match bytes.split_first_chunk::<4>() {
        Some((cookie, _)) if u32::from_be_bytes(*cookie) == COOKIE => decode_plain(&bytes),
        Some((cookie, rest)) if u32::from_be_bytes(*cookie) == COMPRESSED_COOKIE => {
            let stream = rest.get(4..).ok_or("the HdrHistogram ends in its header")?;
            let mut plain = Vec::new();
            ZlibDecoder::new(stream)
                .take(MAX_PAYLOAD as u64 + 1)
                .read_to_end(&mut plain)
                .map_err(|e| format!("the HdrHistogram does not inflate: {e}"))?;
            decode_plain(&plain)
        }
        _ => Err("not an HdrHistogram in V2 encoding".into()),
    }
}

fn decode_plain(bytes: &[u8]) -> Result<BTreeMap<u16, u64>, String> {
    if bytes.len() > MAX_PAYLOAD {
        return Err("the HdrHistogram is larger than one can be".into());
    }
    let (header, counts) = bytes.split_first_chunk::<HEADER_LEN>().ok_or("the HdrHistogram ends in its header")?;
    // Everything but the payload length is constant in what nfslat writes.
    let mut expected = encode(&BTreeMap::new());
    expected[4..8].copy_from_slice(&(counts.len() as u32).to_be_bytes());
    if header[..] != expected[..] {
        return Err("an HdrHistogram with another range, precision or length than nfslat writes".into());
    }
    let mut slots = BTreeMap::new();
    let mut slot = 0_usize;
    let mut rest = counts;
    while !rest.is_empty() {
        let value = take_signed(&mut rest).ok_or("the HdrHistogram ends in a count")?;
        if value > 0 && slot < SLOTS {
            slots.insert(slot as u16, value.unsigned_abs());
        }
        let step = if value < 0 { value.unsigned_abs() } else { 1 };
        slot = usize::try_from(step).ok().and_then(|step| slot.checked_add(step)).unwrap_or(SLOTS + 1);
        if slot > SLOTS {
            return Err("the HdrHistogram counts values beyond its range".into());
        }
    }
    Ok(slots)
}

/// ZigZag LEB128 of at most 9 bytes: 7 bits in each of the first eight, 8 bits in the ninth.
fn put_signed(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    for _ in 0..8 {
        if bits < 0x80 {
            out.push(bits as u8);
            return;
        }
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let mut bits = 0_u64;
    for index in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if index == 8 {
            bits |= u64::from(byte) << 56;
            break;
        }
        bits |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((bits >> 1) as i64 ^ -((bits & 1) as i64))
}
