//! From points to tables, plots and a list.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use benches::plot::Curves;
use benches::samples::{Samples, Short};

use super::measure::Numbers;

/// All points of what grows.
pub(crate) struct Curve {
    /// What it is called, and in files.
    name: String,
    /// What grows.
    what: &'static str,
    points: Vec<(usize, Vec<(&'static str, Samples)>)>,
}

impl Curve {
    pub(crate) fn new(name: String, what: &'static str) -> Self {
        Self { name, what, points: Vec::new() }
    }

    /// A run of a point, of which there may be several.
    pub(crate) fn add(&mut self, size: usize, numbers: Numbers) {
        if !self.points.iter().any(|(other, _)| *other == size) {
            let none = numbers.iter().map(|(what, _)| (*what, Samples::default())).collect();
            self.points.push((size, none));
        }
        let Some((_, all)) = self.points.iter_mut().find(|(other, _)| *other == size) else { return };
        for ((_, samples), (_, number)) in all.iter_mut().zip(numbers) {
            number.into_iter().for_each(|number| samples.add(number));
        }
    }

    /// A row for each size.
    pub(crate) fn table(&self) -> String {
        let mut table = format!("| {} |", self.what);
        let first = self.points.first().map_or(&[][..], |(_, numbers)| numbers);
        first.iter().for_each(|(what, _)| table.push_str(&format!(" {what} |")));
        table.push_str(&format!("\n|---:|{}\n", "---:|".repeat(first.len())));
        for (size, numbers) in &self.points {
            let numbers: Vec<_> =
                numbers.iter().map(|(_, samples)| format!(" {} |", samples.describe())).collect();
            // Writing to a string cannot fail.
            _ = writeln!(table, "| {size} |{}", numbers.concat());
        }
        table
    }

    /// A line for each number: what, how many, what was measured, median.
    fn list(&self) -> String {
        let mut list = String::new();
        for (size, numbers) in &self.points {
            for (what, samples) in numbers {
                let median = samples.median().map(|median| median.to_string()).unwrap_or_default();
                _ = writeln!(list, "{},{size},{what},{median}", self.name);
            }
        }
        list
    }

    /// The medians of all that is measured in this unit.
    fn curves(&self, unit: &str) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for (size, numbers) in &self.points {
            for (what, median) in numbers.iter().filter_map(|(what, all)| Some((*what, all.median()?))) {
                if !what.starts_with(unit) || median <= 0.0 {
                    continue;
                }
                let point = (*size as f64, median);
                match curves.iter_mut().find(|(name, _)| name == what) {
                    Some((_, points)) => points.push(point),
                    None => curves.push((what.to_owned(), vec![point])),
                }
            }
        }
        curves
    }
}

/// Writes `growth.md`, `growth.csv`, and plots: `NAME.svg` of each curve's costs in time, `memory.svg` of all in bytes.
pub(crate) fn write(all: &[Curve], directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let tables: Vec<_> =
        all.iter().map(|curve| format!("### {}\n\n{}\n", curve.name, curve.table())).collect();
    let lists: Vec<_> = all.iter().map(Curve::list).collect();
    fs::write(directory.join("growth.md"), tables.concat())?;
    fs::write(directory.join("growth.csv"), format!("curve,size,what,median\n{}", lists.concat()))?;
    for curve in all {
        let name = curve.name.rsplit('/').next().unwrap_or_default();
        let plot = Curves {
            title: format!("{}: what it costs, in µs", curve.what),
            x: curve.what.to_owned(),
            y: "µs".to_owned(),
            curves: curve.curves("µs"),
        };
        fs::write(directory.join(format!("{name}.svg")), plot.to_svg())?;
    }
    let memory = Curves {
        title: "Memory of each".to_owned(),
        x: "how many".to_owned(),
        y: "bytes".to_owned(),
        curves: all.iter().flat_map(|curve| curve.curves("bytes")).collect(),
    };
    fs::write(directory.join("memory.svg"), memory.to_svg())
}

/// What a run came to, for whoever watches.
pub(crate) fn describe(numbers: &Numbers) -> String {
    let numbers = numbers.iter().filter_map(|(what, number)| Some(format!("{} {what}", Short((*number)?))));
    numbers.collect::<Vec<_>>().join(", ")
}
