//! Recording files: what is written is read back; what is not a whole, sound recording is told
//! apart and never panics.

mod common;

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use nfslat::{
    analyse::answer,
    model::{FORMAT_VERSION, ReadError, Recording},
    render::{Style, text},
};
use proptest::prelude::*;

fn written(recording: &Recording) -> Vec<u8> {
    let mut bytes = Vec::new();
    recording.write_to(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Recording, ReadError> {
    Recording::read_from(bytes)
}

fn error_of(bytes: &[u8]) -> ReadError {
    read(bytes).expect_err("must not be read")
}

/// A section around any content, with a correct checksum.
fn section(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(kind);
    crc.update(content);
    let length = content.len() as u32;
    [&kind[..], &length.to_le_bytes(), &crc.finalize().to_le_bytes(), content].concat()
}

fn deflated(json: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(json).unwrap();
    zlib.finish().unwrap()
}

fn file_of(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = written(&Recording::default())[..12].to_vec();
    bytes.extend(sections.concat());
    bytes
}

fn head(recording: &Recording) -> Vec<u8> {
    section(b"HEAD", &deflated(&serde_json::to_vec(recording).unwrap()))
}

fn end(sections: u64) -> Vec<u8> {
    section(b"END ", &deflated(format!("{{\"sections\":{sections}}}").as_bytes()))
}

#[test]
fn every_scene_is_read_back_as_it_was() {
    for recording in [
        Recording::default(),
        common::nfs_is_slow(),
        common::server_hangs(),
        common::mmap_storm(),
        common::much_is_lost(),
        common::names_attack(),
    ] {
        assert_eq!(read(&written(&recording)).unwrap(), recording);
    }
}

#[test]
fn a_cut_file_is_called_cut_at_every_length() {
    let bytes = written(&common::nfs_is_slow());
    assert!(matches!(error_of(&[]), ReadError::Empty));
    for length in 1..bytes.len() {
        let error = error_of(&bytes[..length]);
        assert!(matches!(error, ReadError::Truncated), "{length}: {error:?}");
    }
}

#[test]
fn something_else_is_called_so() {
    for bytes in [&b"perf.data and more"[..], b"{\"schema\": \"nfslat/1\"}", b"\x89nfslat\r\n....", b"x"] {
        assert!(matches!(error_of(bytes), ReadError::NotARecording), "{bytes:?}");
    }
}

#[test]
fn a_newer_format_is_named_with_its_version() {
    let mut bytes = written(&common::nothing_happens());
    bytes[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let error = error_of(&bytes);
    assert!(matches!(error, ReadError::Newer { version } if version == FORMAT_VERSION + 1));
    insta::assert_snapshot!(error, @"has recording format 2, and this nfslat reads up to 1: use the nfslat that wrote it, or a newer one");
}

#[test]
fn every_changed_bit_is_noticed() {
    let bytes = written(&common::nothing_happens());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(read(&damaged).is_err(), "byte {at}");
    }
}

#[test]
fn damage_is_named() {
    let empty = Recording::default();
    let missing = error_of(&file_of(&[end(0)]));
    let doubled = error_of(&file_of(&[head(&empty), head(&empty), end(2)]));
    let short = error_of(&file_of(&[head(&empty), end(7)]));
    let more = error_of(&file_of(&[head(&empty), end(1), vec![0]]));
    let kind = error_of(&file_of(&[section(b"WHAT", b"")]));
    let words = error_of(&file_of(&[section(b"HEAD", &deflated(b"[1, 2"))]));
    let stream = error_of(&file_of(&[section(b"HEAD", b"not a zlib stream")]));
    let all = [missing, doubled, short, more, kind, words, stream].map(|error| error.to_string());
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    let mut claimed = section(b"SLIC", b"");
    claimed[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(error_of(&file_of(&[claimed])), ReadError::TooLarge(_)));
    // 100 MB of spaces deflate to 100 KB.
    let bomb = section(b"SLIC", &deflated(&vec![b' '; 100 << 20]));
    assert!(bomb.len() < 1 << 20);
    assert!(matches!(error_of(&file_of(&[bomb])), ReadError::TooLarge(_)));
}

#[test]
fn references_to_nothing_are_contradictions() {
    type Change = fn(&mut Recording);
    let changes: [Change; 12] = [
        |r| r.clients[0].mounts[0] = 9,
        |r| r.threads[0].process = 9,
        |r| r.waits[0].thread = 9,
        |r| r.waits[0].stack = Some(99),
        |r| r.slices[0].rpc[0].series = 9,
        |r| r.slices[0].waits[0].wait = 99,
        |r| r.slices[0].wait_histograms[0].process = 9,
        |r| r.slices[0].wait_histograms[0].stack = Some(99),
        |r| r.slices[0].threads.push(nfslat::model::ThreadSlice { thread: 9, ..Default::default() }),
        |r| r.slices.last_mut().unwrap().spans[0].process = 9,
        |r| r.slices.last_mut().unwrap().spans[0].stack = Some(99),
        |r| r.slices.last_mut().unwrap().spans[0].gaps_ns.clear(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut recording = common::nfs_is_slow();
        change(&mut recording);
        assert!(matches!(error_of(&written(&recording)), ReadError::Contradiction(_)), "{index}");
    }
}

#[test]
fn numbers_of_any_size_do_not_panic() {
    let mut recording = common::nfs_is_slow();
    recording.window.duration_ns = u64::MAX;
    for thread in &mut recording.threads {
        thread.first_ns = u64::MAX;
        thread.times.runnable_ns = u64::MAX;
        thread.times.blocked_ns = u64::MAX;
        thread.times.short_ns = u64::MAX;
        thread.times.short_count = u64::MAX;
    }
    for series in &mut recording.rpc_series {
        series.min_ns = [u64::MAX; 4];
        series.max_ns = [1; 4];
    }
    for slice in &mut recording.slices {
        for wait in &mut slice.waits {
            (wait.count, wait.total_ns) = (u64::MAX, u64::MAX);
        }
        for part in &mut slice.wait_histograms {
            part.histogram.record(1, u64::MAX);
        }
        for rpc in &mut slice.rpc {
            (rpc.count, rpc.unsent) = (u64::MAX, 5);
            rpc.execute.sum_ns = i64::MIN;
            rpc.rtt.sum_ns = i64::MAX;
        }
    }
    recording.host.cpus = u32::MAX;
    let recording = read(&written(&recording)).unwrap();
    let _ = text::render(&answer(&recording), Style { colour: true, width: 0 });
}

proptest! {
    #[test]
    fn damage_anywhere_is_an_error_and_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = written(&common::nothing_happens());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&file_of(std::slice::from_ref(&bytes))).is_err());
        prop_assert!(read(&file_of(&[section(b"HEAD", &deflated(&bytes)), end(1)])).is_err());
    }
}
