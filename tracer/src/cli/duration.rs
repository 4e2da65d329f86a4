//! Durations on the command line: `60`, `60s`, `5m`, `1h`, `500ms`, `10us`.

use std::time::Duration;

/// Longest duration taken: a year, which keeps every sum of ns within 64 bits.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Parses a duration; a bare number is seconds.
///
/// # Errors
/// Says what was wrong and what is taken.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "" | "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return Err(format!("unknown unit '{unit}': use ns, us, ms, s, m or h, as in 60s or 10us")),
    };
    let number: f64 =
        number.parse().map_err(|_| format!("'{text}' is no duration: write it as 60, 60s, 5m or 10us"))?;
    let ns = (number * unit_ns).round();
    if ns > LONGEST.as_nanos() as f64 {
        return Err(format!("'{text}' is more than a year"));
    }
    Ok(Duration::from_nanos(ns as u64))
}

/// The same, but not zero.
///
/// # Errors
/// As [`parse`], and for 0.
pub(super) fn parse_nonzero(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("a window of 0 measures nothing: give at least 1ms".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_usual_forms() {
        assert_eq!(parse("60"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("10us"), Ok(Duration::from_micros(10)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn refuses_the_rest_by_name() {
        assert!(parse("ten").unwrap_err().contains("ten"));
        assert!(parse("10 parsecs").unwrap_err().contains("parsecs"));
        assert!(parse("").unwrap_err().contains("no duration"));
        assert!(parse("-5").unwrap_err().contains("-5"));
        assert!(parse("1.2.3s").unwrap_err().contains("1.2.3s"));
        assert!(parse("9999999h").unwrap_err().contains("year"));
        assert!(parse_nonzero("0s").is_err());
    }
}
