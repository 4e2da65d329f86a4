//! Looking for strings in a part of a file, without holding it.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use memchr::memmem;

/// Bytes looked at in one go.
const CHUNK: usize = 256 << 10;

/// Bytes behind the beginning of a hit that are shown with it.
pub(super) const VIEW: usize = 128;

/// Looks for each needle in a part of a file, up to `limit` bytes of it. `hit` gets the number of
/// the needle, the byte before it (`None`: it stands at the beginning) and what follows the needle,
/// [`VIEW`] bytes in all; if it returns true this needle is not looked for any more. Returns false
/// if the limit cut the part.
///
/// # Errors
/// If reading fails.
pub(super) fn scan(
    file: &File,
    part: Range<u64>,
    limit: u64,
    needles: &[Vec<u8>],
    mut hit: impl FnMut(usize, Option<u8>, &[u8]) -> bool,
) -> io::Result<bool> {
    let end = part.end.min(part.start.saturating_add(limit));
    let mut wanted: Vec<_> = needles.iter().map(memmem::Finder::new).enumerate().collect();
    let mut buffer = vec![0; CHUNK + VIEW];
    let mut before = None;
    let mut at = part.start;
    while at < end && !wanted.is_empty() {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let bytes = &mut buffer[..length];
        file.read_exact_at(bytes, at)?;
        let bytes = &*bytes;
        wanted.retain(|(needle, finder)| {
            let length = finder.needle().len();
            !finder.find_iter(bytes).take_while(|&found| found < CHUNK).any(|found| {
                let before = found.checked_sub(1).map_or(before, |index| Some(bytes[index]));
                let view = &bytes[found..bytes.len().min(found + VIEW)];
                hit(*needle, before, view.get(length..).unwrap_or_default())
            })
        });
        before = bytes.get(CHUNK - 1).copied();
        at += CHUNK as u64;
    }
    Ok(end == part.end)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn find(content: &[u8], part: Range<u64>, limit: u64, needle: &str) -> (Vec<(Option<u8>, String)>, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let mut hits = Vec::new();
        let whole = scan(&file, part, limit, &[needle.into()], |_, before, after| {
            hits.push((before, String::from_utf8_lossy(&after[..after.len().min(4)]).into_owned()));
            false
        });
        (hits, whole.unwrap())
    }

    #[test]
    fn finds_at_both_ends_and_across_chunks() {
        for at in [0, 1, 1000, CHUNK - 9, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 3, 3 * CHUNK - 9] {
            let mut content = vec![b'.'; 3 * CHUNK];
            content[at..at + 5].copy_from_slice(b"tokio");
            let (hits, whole) = find(&content, 0..3 * CHUNK as u64, u64::MAX, "tokio");
            let before = (at > 0).then_some(b'.');
            assert_eq!(hits, [(before, "....".to_owned())], "at {at}");
            assert!(whole);
        }
    }

    #[test]
    fn stays_within_the_part_and_the_limit() {
        let mut content = vec![b'.'; 100];
        content[20..25].copy_from_slice(b"tokio");
        assert_eq!(find(&content, 0..24, u64::MAX, "tokio").0, []);
        assert_eq!(find(&content, 21..100, u64::MAX, "tokio").0, []);
        assert_eq!(find(&content, 0..100, 24, "tokio"), (vec![], false));
        assert_eq!(find(&content, 20..25, 5, "tokio"), (vec![(None, String::new())], true));
    }
}
