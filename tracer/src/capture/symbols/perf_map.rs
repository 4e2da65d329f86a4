//! Names of code that a runtime generates, from its `/tmp/perf-PID.map`
//! (`tools/perf/Documentation/jit-interface.txt` of the kernel).

use super::name;

/// The name of the code at each address; `None` where the file has none. `addresses` are sorted.
/// Where code was generated twice, the later line counts.
pub(super) fn resolve(text: &[u8], addresses: &[u64]) -> Vec<Option<String>> {
    let mut lines: Vec<Option<&[u8]>> = vec![None; addresses.len()];
    for (start, size, function) in text.split(|&byte| byte == b'\n').filter_map(parse_line) {
        let first = addresses.partition_point(|&address| address < start);
        let hit = addresses[first..].iter().take_while(|&&address| address - start < size).count();
        lines[first..first + hit].fill(Some(function));
    }
    lines.into_iter().map(|line| line.map(|bytes| name::limited(&String::from_utf8_lossy(bytes)))).collect()
}

/// `START SIZE NAME`, both numbers in hexadecimal; the name may have spaces.
fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(words.next()?).ok()?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    words.next().filter(|function| !function.is_empty()).map(|function| (start, size, function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &[u8], addresses: &[u64]) -> Vec<String> {
        resolve(text, addresses).into_iter().map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn an_address_has_the_name_of_the_code_around_it() {
        let text = b"1000 20 LazyCompile:*a b /x.js:1\n2000 10 second\n";
        let found = names(text, &[0xfff, 0x1000, 0x101f, 0x1020, 0x2005]);
        assert_eq!(found, ["", "LazyCompile:*a b /x.js:1", "LazyCompile:*a b /x.js:1", "", "second"]);
    }

    #[test]
    fn the_later_line_counts() {
        assert_eq!(names(b"1000 20 old\n1000 20 new\n", &[0x1004]), ["new"]);
    }

    #[test]
    fn hostile_lines_do_no_harm() {
        let text =
            b"\nffffffffffffffff ffffffffffffffff end\n0 ffffffffffffffff all\n1 x y\n1 2\n1 2 \n\xff\xff \xff\n";
        assert_eq!(names(text, &[0x10, u64::MAX - 1]), ["all", "all"]);
        assert!(resolve(b"0 10 x", &[]).is_empty());
    }
}
