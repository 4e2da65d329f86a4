//! `struct tcp_info` (`include/uapi/linux/tcp.h`): fields are only ever added at its end, so what a
//! kernel does not have yet is beyond the length that it hands over. The bit fields are where
//! little-endian machines have them, the only ones that the BPF side is built for.

use crate::model::TcpState;

/// Length up to `tcpi_total_retrans`, which every kernel since 2.6 has.
const LEAST: usize = 104;

/// The kernel's smallest round-trip time before there is any (`~0U`, `tcp_min_rtt`).
const NO_MIN_RTT: u32 = u32::MAX;

/// What is kept of it; `None` if it is too short to be one.
pub(super) fn parse(info: &[u8], at_ns: u64) -> Option<TcpState> {
    if info.len() < LEAST {
        return None;
    }
    let u32_at = |offset: usize| Some(u32::from_ne_bytes(info.get(offset..offset + 4)?.try_into().ok()?));
    let u64_at = |offset: usize| Some(u64::from_ne_bytes(info.get(offset..offset + 8)?.try_into().ok()?));
    let measured = |value: Option<u32>| value.filter(|&us| us != 0);
    let srtt_us = measured(u32_at(68));
    Some(TcpState {
        at_ns,
        state: info[0],
        srtt_us,
        // It begins with a guess.
        rttvar_us: srtt_us.and(u32_at(72)),
        min_rtt_us: u32_at(148).filter(|&us| us != NO_MIN_RTT),
        mss_bytes: u32_at(16)?,
        cwnd_segments: u32_at(80)?,
        ssthresh_segments: u32_at(76)?,
        lost_segments: u32_at(32)?,
        unacked_segments: u32_at(24)?,
        reordering_segments: u32_at(88)?,
        retransmitted_segments: u32_at(100)?,
        sent_segments: u32_at(136),
        received_segments: u32_at(140),
        acked_bytes: u64_at(120),
        received_bytes: u64_at(128),
        retransmitted_bytes: u64_at(208),
        duplicate_segments: u32_at(216),
        delivery_bytes_per_s: u64_at(160),
        delivery_app_limited: info[7] & 1 == 1,
        busy_us: u64_at(168),
        rwnd_limited_us: u64_at(176),
        sndbuf_limited_us: u64_at(184),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As Linux 5.10 to 5.17 hand it over: up to `tcpi_snd_wnd`. Each 32-bit word holds its own offset.
    pub(in crate::capture::tcp) fn words(len: usize) -> Vec<u8> {
        let mut info: Vec<u8> = (0..len as u32).step_by(4).flat_map(u32::to_ne_bytes).collect();
        info[0] = 1;
        info[7] = 1;
        info
    }

    fn long(offset: u64) -> u64 {
        offset | (offset + 4) << 32
    }

    #[test]
    fn every_field_is_where_the_kernel_has_it() {
        let state = parse(&words(232), 7).unwrap();
        let expected = TcpState {
            at_ns: 7,
            state: 1,
            srtt_us: Some(68),
            rttvar_us: Some(72),
            min_rtt_us: Some(148),
            mss_bytes: 16,
            cwnd_segments: 80,
            ssthresh_segments: 76,
            lost_segments: 32,
            unacked_segments: 24,
            reordering_segments: 88,
            retransmitted_segments: 100,
            sent_segments: Some(136),
            received_segments: Some(140),
            acked_bytes: Some(long(120)),
            received_bytes: Some(long(128)),
            retransmitted_bytes: Some(long(208)),
            duplicate_segments: Some(216),
            delivery_bytes_per_s: Some(long(160)),
            delivery_app_limited: true,
            busy_us: Some(long(168)),
            rwnd_limited_us: Some(long(176)),
            sndbuf_limited_us: Some(long(184)),
        };
        assert_eq!(state, expected);
        // What newer kernels add changes nothing.
        assert_eq!(parse(&words(280), 7).unwrap(), expected);
    }

    #[test]
    fn what_an_older_kernel_lacks_is_not_made_up() {
        // 4.9: ends before the limits were counted.
        let state = parse(&words(168), 0).unwrap();
        assert_eq!((state.delivery_bytes_per_s, state.busy_us), (Some(long(160)), None));
        assert_eq!((state.sndbuf_limited_us, state.retransmitted_bytes), (None, None));
        // 3.x: ends with the segments sent again.
        let state = parse(&words(104), 0).unwrap();
        assert_eq!((state.retransmitted_segments, state.sent_segments, state.min_rtt_us), (100, None, None));
        // Half a field is none.
        assert_eq!(parse(&words(172)[..171], 0).unwrap().busy_us, None);
        assert_eq!(parse(&words(100), 0), None);
        assert_eq!(parse(&[], 0), None);
    }

    #[test]
    fn a_connection_without_a_round_trip_has_no_times() {
        let mut info = words(232);
        info[68..72].fill(0);
        info[148..152].fill(0xff);
        let state = parse(&info, 0).unwrap();
        assert_eq!((state.srtt_us, state.rttvar_us, state.min_rtt_us), (None, None, None));
    }
}
