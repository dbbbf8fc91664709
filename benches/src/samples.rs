//! What was measured several times: its middle and its spread.

use std::fmt;

/// A number that was measured once in each run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    sorted: Vec<f64>,
}

impl Samples {
    /// One more.
    pub fn add(&mut self, value: f64) {
        let at = self.sorted.partition_point(|other| *other < value);
        self.sorted.insert(at, value);
    }

    /// The one in the middle, or between the two in the middle.
    pub fn median(&self) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let (low, high) = (self.sorted.get(last / 2)?, self.sorted.get(last.div_ceil(2))?);
        Some(low.midpoint(*high))
    }

    /// `54.2 k (51.0 k–55.1 k)`: the median, and where it is of several, the least and the most.
    pub fn describe(&self) -> String {
        let (Some(median), [least, .., most]) = (self.median(), self.sorted.as_slice()) else {
            return self.median().map_or_else(|| "–".to_owned(), |median| Short(median).to_string());
        };
        format!("{} ({}–{})", Short(median), Short(*least), Short(*most))
    }
}

/// A number in three significant digits, with `k` or `M` behind large ones.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            999_500.0.. => (self.0 / 1e6, " M"),
            9_999.5.. => (self.0 / 1e3, " k"),
            value => (value, ""),
        };
        let decimals = match value {
            99.95.. => 0,
            9.995.. => 1,
            0.9995.. => 2,
            _ => 3,
        };
        write!(f, "{value:.decimals$}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut samples = Samples::default();
        assert_eq!((samples.median(), samples.describe()), (None, "–".to_owned()));
        for (value, median) in [(3.0, 3.0), (1.0, 2.0), (2.0, 2.0), (90.0, 2.5)] {
            samples.add(value);
            assert_eq!(samples.median(), Some(median));
        }
        assert_eq!(samples.describe(), "2.50 (1.00–90.0)");
    }

    #[test]
    fn three_digits_are_enough() {
        for (value, short) in [
            (0.1234, "0.123"),
            (1.0, "1.00"),
            (99.96, "100"),
            (1_234.4, "1234"),
            (54_210.0, "54.2 k"),
            (999_400.0, "999 k"),
            (999_600.0, "1.00 M"),
            (12_345_678.0, "12.3 M"),
        ] {
            assert_eq!(Short(value).to_string(), short);
        }
    }
}
