//! Times on the command line: `300ms`, `2s`, `10m`.

use std::time::Duration;

/// The units, longest name first where one ends with another.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads a number with a unit; without one, seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let unit = UNITS.into_iter().find_map(|(name, seconds)| Some((text.strip_suffix(name)?, seconds)));
    let (number, seconds) = unit.unwrap_or((text, 1.0));
    let time = number.trim().parse().ok().and_then(|n: f64| Duration::try_from_secs_f64(n * seconds).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| "not a time such as 500ms, 2s or 10m".to_owned())
}

/// Reads a factor.
pub(super) fn scale(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.01..=1000.0).contains(number));
    number.ok_or_else(|| "not a number from 0.01 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        for (text, ms) in [
            ("300ms", 300),
            ("2s", 2_000),
            ("1.5s", 1_500),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("7", 7_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0s", "-1s", "1d", "inf", "NaN"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
