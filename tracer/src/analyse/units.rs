//! Numbers for people. Machine output keeps base units.

const UNITS: [(&str, u64); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// A duration with three significant digits and its unit: `18.2 s`, `431 us`, `0 s`. Seconds are
/// the largest unit: `5,310 s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    let (number, unit) = scale(ns);
    format!("{number} {unit}")
}

/// The same without the space, for tables; at most six characters below 10,000 s.
#[must_use]
pub fn short_duration(ns: u64) -> String {
    if ns == 0 {
        return "0".into();
    }
    let (number, unit) = scale(ns);
    format!("{number}{unit}")
}

fn scale(ns: u64) -> (String, &'static str) {
    if ns == 0 {
        return ("0".into(), "s");
    }
    // The first unit in which the number, rounded, has at most three digits before the point.
    let (unit, size) =
        UNITS.into_iter().find(|&(_, size)| u128::from(ns) * 2 < 1999 * u128::from(size)).unwrap_or(UNITS[3]);
    (three_digits(ns as f64 / size as f64, size == 1), unit)
}

fn three_digits(value: f64, integer: bool) -> String {
    if integer || value >= 99.95 {
        count(value.round() as u64)
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A count with thousands separated: `12,345`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 call`, `2 calls`, `3 processes`.
#[must_use]
pub fn counted(value: u64, noun: &str) -> String {
    let plural = match value {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", count(value))
}

/// A share of a whole, in percent: `82%`, `0.4%`, `<0.1%`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0%".into();
    }
    let percent = 100.0 * part as f64 / whole as f64;
    if percent < 0.1 {
        "<0.1%".into()
    } else if percent < 9.95 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// A rate per second: `20.6`, `1,234`.
#[must_use]
pub fn per_second(value: u64, duration_ns: u64) -> String {
    if value == 0 || duration_ns == 0 {
        return "0".into();
    }
    three_digits(value as f64 * 1e9 / duration_ns as f64, false)
}

/// A size in bytes, binary units: `12.3 MiB`.
#[must_use]
pub fn bytes(value: u64) -> String {
    let mut size = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1023.95 {
            return format!("{} {unit}", three_digits(size, unit == "B"));
        }
        size /= 1024.0;
    }
    format!("{} TiB", three_digits(size, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits() {
        for (ns, text) in [
            (0, "0 s"),
            (1, "1 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (9_994, "9.99 us"),
            (9_995, "10.0 us"),
            (99_950, "100 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (999_499_999, "999 ms"),
            (999_500_000, "1.00 s"),
            (60_000_000_000, "60.0 s"),
            (5_310_000_000_000, "5,310 s"),
            (u64::MAX, "18,446,744,074 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(short_duration(12_345_678), "12.3ms");
        assert_eq!(short_duration(0), "0");
    }

    #[test]
    fn counts_shares_rates_and_sizes() {
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [counted(1, "call"), counted(0, "call"), counted(2, "process")],
            ["1 call", "0 calls", "2 processes"]
        );
        assert_eq!(
            [percent(0, 5), percent(1, 10_000), percent(4, 1000), percent(82, 100), percent(13, 10)],
            ["0%", "<0.1%", "0.4%", "82%", "130%"]
        );
        assert_eq!([per_second(1234, 60_000_000_000), per_second(0, 5), per_second(5, 0)], ["20.6", "0", "0"]);
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1024), bytes(12_900_000), bytes(u64::MAX)],
            ["0 B", "1,023 B", "1.00 KiB", "12.3 MiB", "16,777,216 TiB"]
        );
    }
}
