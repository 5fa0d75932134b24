//! How numbers look on every screen: short where they are compared, exact where they are read.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Every digit, in groups of three: `23,120`.
pub use crate::jobs::plan::grouped as exact;

/// Three digits are enough to compare by: `950`, `31.2k`, `1.20M`.
pub fn count(n: f64) -> String {
    let n = n.max(0.0);
    if n < 999.5 {
        return format!("{n:.0}");
    }
    scaled(n, 1000.0, &["k", "M", "G", "T"], "")
}

/// A rate or capacity, which may be small: `0`, `0.4`, `12`, `1.39k`.
pub fn rate(n: f64) -> String {
    if n > 0.0 && n < 9.95 && (n - n.round()).abs() > 0.05 { format!("{n:.1}") } else { count(n) }
}

/// Bytes in powers of 1000, as AWS bills them: `9.4 MB`, `310 MB`.
pub fn bytes(n: f64) -> String {
    let n = n.max(0.0);
    if n < 999.5 {
        return format!("{n:.0} B");
    }
    let (mut value, mut unit) = (n, 0);
    let units = ["B", "kB", "MB", "GB", "TB"];
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", units[unit]) } else { format!("{value:.0} {}", units[unit]) }
}

fn scaled(n: f64, base: f64, units: &[&str], gap: &str) -> String {
    let (mut value, mut unit) = (n / base, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let digits = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{gap}{}", units[unit])
}

/// A length of time in its two largest units: `12.3 s`, `3m 24s`, `14h 05m`, `2d 03h`.
pub fn duration(ms: f64) -> String {
    let seconds = (ms / 1000.0).max(0.0);
    let whole = seconds.round() as u64;
    match seconds {
        s if ms < 999.5 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        _ if whole < 3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ if whole < 86_400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// US dollars an hour: cents with a tenth where it matters.
pub fn dollars(n: f64) -> String {
    if n.abs() < 1.0 { format!("${n:.4}") } else { format!("${n:.2}") }
}

/// Time of day in UTC: `14:03:27`.
pub fn clock(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms)
        .map(|t| t.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string())
        .unwrap_or_default()
}

/// Date and time in UTC, to the minute: `2026-11-20 14:03`.
pub fn date(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms)
        .map(|t| t.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default()
}

/// A share in whole percent that says 100 only when it is whole.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(part) * 100 / u128::from(whole)).min(100) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits() {
        for (n, shown) in
            [(0.0, "0"), (950.4, "950"), (31_200.0, "31.2k"), (1_200_000.0, "1.20M"), (999_600.0, "1.00M")]
        {
            assert_eq!(count(n), shown);
        }
    }

    #[test]
    fn bytes_keep_two_digits_or_the_whole_number() {
        for (n, shown) in [(0.0, "0 B"), (9.4e6, "9.4 MB"), (310e6, "310 MB"), (999_700.0, "1.0 MB"), (9.96e6, "10 MB")]
        {
            assert_eq!(bytes(n), shown);
        }
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (ms, shown) in [
            (120.0, "120 ms"),
            (12_300.0, "12.3 s"),
            (59_960.0, "1m 00s"),
            (204_000.0, "3m 24s"),
            (50_700_000.0, "14h 05m"),
        ] {
            assert_eq!(duration(ms), shown);
        }
    }

    #[test]
    fn exact_numbers_are_grouped_and_a_job_is_whole_only_at_its_end() {
        assert_eq!(exact(23_120), "23,120");
        assert_eq!(exact(120), "120");
        assert_eq!(percent(49_999, 50_000), 99);
        assert_eq!(percent(50_000, 50_000), 100);
        assert_eq!(percent(1, 0), 0);
    }

    #[test]
    fn small_rates_keep_a_tenth() {
        assert_eq!(rate(0.4), "0.4");
        assert_eq!(rate(3.0), "3");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(1389.0), "1.39k");
    }
}
