//! Names and figures as people read them.

use std::time::Duration;

use anstyle::Style;
use chrono::{DateTime, Utc};

const BOLD: Style = Style::new().bold();

/// A text of a client, which cannot do anything to a terminal: what is not seen is escaped.
pub(super) fn escaped(text: &str) -> String {
    // Quotes are seen.
    text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// What stands above others.
pub(super) fn bold(text: &str) -> String {
    format!("{BOLD}{text}{BOLD:#}")
}

/// `1`, `999`, `12.3k`, `4.56M`
pub(super) fn count(n: u64) -> String {
    scaled(n, &["", "k", "M", "G", "T"])
}

/// `1 B`, `12.3 kB`
pub(super) fn bytes(n: u64) -> String {
    scaled(n, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(n: u64, units: &[&str]) -> String {
    let mut units = units.iter().peekable();
    let (mut whole, mut value) = (true, n as f64);
    while let Some(unit) = units.next() {
        // What would be rounded up to 1000 is 1 of the next.
        if value < 999.5 || units.peek().is_none() {
            let decimals = if whole || value >= 99.95 {
                0
            } else if value >= 9.995 {
                1
            } else {
                2
            };
            return format!("{value:.decimals$}{unit}");
        }
        (whole, value) = (false, value / 1000.0);
    }
    n.to_string()
}

/// The two largest parts of it: `5s`, `3m 5s`, `2d 4h`
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// How long ago it was, by this machine's clock; as it is if it is no time.
pub(super) fn ago(time: &str) -> String {
    match DateTime::parse_from_rfc3339(time) {
        Ok(time) => duration((Utc::now() - time.to_utc()).to_std().unwrap_or_default()),
        Err(_) => escaped(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped() {
        for (text, shown) in [
            ("sensor-7", "sensor-7"),
            ("it's \"ü\" नि", "it's \"ü\" नि"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\nb\tc\\n", "a\\nb\\tc\\\\n"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\\'", "\\\\'"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn figures_have_three_digits() {
        for (n, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.00k"),
            (9_996, "10.0k"),
            (123_456, "123k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(count(n), shown);
        }
        assert_eq!(bytes(12_345), "12.3 kB");
    }

    #[test]
    fn durations_have_two_parts() {
        for (seconds, shown) in [(0, "0s"), (65, "1m 5s"), (3_660, "1h 1m"), (200_000, "2d 7h")] {
            assert_eq!(duration(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(ago("yesterday\n"), "yesterday\\n");
        assert_eq!(ago("2999-01-01T00:00:00Z"), "0s", "clocks differ");
    }
}
