//! Kernel symbols, by streaming `/proc/kallsyms` past the addresses that are wanted.
//!
//! The file has some 200,000 lines; only those just below a wanted address are kept, so memory
//! grows with the addresses, not with the kernel.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context as _, Result};

/// The function that contains each address, in the order given; `None` where there is none.
/// `addresses` must be sorted.
///
/// # Errors
/// If reading fails.
pub(crate) fn resolve(kallsyms: impl Read, addresses: &[u64]) -> Result<Vec<Option<String>>> {
    let mut best: Vec<(u64, String)> = vec![(0, String::new()); addresses.len()];
    let mut reader = BufReader::with_capacity(1 << 16, kallsyms);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).context("cannot read the kernel's symbols")? == 0 {
            break;
        }
        let Some((start, name)) = parse(&line) else { continue };
        // The first wanted address at or above this symbol. Every later one is above it too, and
        // takes over the nearest symbol below in the pass at the end.
        let index = addresses.partition_point(|&address| address < start);
        if let Some(slot) = best.get_mut(index)
            && start > slot.0
        {
            *slot = (start, name.to_owned());
        }
    }
    let mut nearest: Option<(u64, String)> = None;
    Ok(best
        .into_iter()
        .map(|found| {
            if found.0 > nearest.as_ref().map_or(0, |(start, _)| *start) {
                nearest = Some(found);
            }
            nearest.as_ref().map(|(_, name)| name.clone())
        })
        .collect())
}

/// Address and name of a function; `None` for data and for hidden (zero) addresses.
pub(super) fn parse(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let start = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    let name = words.next()?;
    (start != 0 && matches!(kind, "t" | "T" | "w" | "W")).then_some((start, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "\
ffffffff81000000 T _text
ffffffff81000100 T schedule
ffffffff81000200 d some_data
ffffffff81000300 t __schedule
0000000000000000 T hidden
ffffffffc0000000 t rpc_wait_bit_killable\t[sunrpc]
";

    fn names(addresses: &[u64]) -> Vec<Option<String>> {
        resolve(SYMBOLS.as_bytes(), addresses).unwrap()
    }

    #[test]
    fn an_address_belongs_to_the_nearest_function_below() {
        let found = names(&[0xffff_ffff_8100_0150, 0xffff_ffff_8100_0250, 0xffff_ffff_c000_0010]);
        let found: Vec<_> = found.iter().map(|name| name.as_deref().unwrap()).collect();
        assert_eq!(found, ["schedule", "schedule", "rpc_wait_bit_killable"]);
    }

    #[test]
    fn addresses_that_share_a_function_all_get_it() {
        let found = names(&[0xffff_ffff_8100_0301, 0xffff_ffff_8100_0302]);
        assert_eq!(found[0].as_deref(), Some("__schedule"));
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn below_every_function_there_is_none() {
        assert_eq!(names(&[0x1000]), [None]);
    }
}
