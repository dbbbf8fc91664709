//! From runs to a table, a plot and a list.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use benches::plot::Bars;
use benches::samples::{Samples, Short};

use super::cells::{Measure, Value};

/// All that was measured, a row for each measure of each cell.
pub(crate) struct Report {
    title: String,
    /// Ours first.
    brokers: Vec<String>,
    rows: Vec<Row>,
    /// Every run's every number.
    list: String,
    notes: Vec<String>,
    /// What failed, of which broker; and in which cells.
    failures: Vec<(String, Vec<String>)>,
}

struct Row {
    cell: String,
    measure: Measure,
    /// For each broker.
    values: Vec<Samples>,
    cpu: Vec<Samples>,
}

impl Report {
    pub(crate) fn new(title: String, brokers: Vec<String>) -> Self {
        let list = "cell,measure,broker,round,value,cpu_us\n".to_owned();
        Self { title, brokers, rows: Vec::new(), list, notes: Vec::new(), failures: Vec::new() }
    }

    /// A broker's run of a cell.
    pub(crate) fn add(&mut self, cell: &str, broker: usize, round: usize, values: Vec<Value>) {
        for Value { measure, value, cpu } in values {
            let name = self.brokers.get(broker).map_or("", String::as_str);
            let label = measure.label();
            let cpu_text = cpu.map(|cpu| cpu.to_string()).unwrap_or_default();
            // Writing to a string cannot fail.
            _ = writeln!(self.list, "\"{cell}\",\"{label}\",{name},{round},{value},{cpu_text}");
            let row = self.row(cell, measure);
            if let Some(samples) = row.values.get_mut(broker) {
                samples.add(value);
            }
            if let (Some(samples), Some(cpu)) = (row.cpu.get_mut(broker), cpu) {
                samples.add(cpu);
            }
        }
    }

    /// Something that is no number.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// A broker's run of a cell has none.
    pub(crate) fn fail(&mut self, cell: &str, broker: &str, error: &io::Error) {
        let what = format!("{broker}: {error}");
        let found = self.failures.iter().position(|(other, _)| *other == what);
        match found.and_then(|at| self.failures.get_mut(at)) {
            Some((_, cells)) => cells.push(cell.to_owned()),
            None => self.failures.push((what, vec![cell.to_owned()])),
        }
    }

    fn row(&mut self, cell: &str, measure: Measure) -> &mut Row {
        let found = self.rows.iter().position(|row| row.cell == cell && row.measure == measure);
        let at = found.unwrap_or_else(|| {
            let none = vec![Samples::default(); self.brokers.len()];
            self.rows.push(Row { cell: cell.to_owned(), measure, values: none.clone(), cpu: none });
            self.rows.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or pushed")]
        &mut self.rows[at]
    }

    /// A row for each measure: each broker's median and spread, its CPU time, and how many times as good as each other
    /// one ours is.
    pub(crate) fn table(&self) -> String {
        let others: Vec<_> = self.brokers.iter().skip(1).map(|broker| format!(" to {broker} |")).collect();
        let mut table = format!(
            "{}\n\n| cell | {} |{}\n|---|{}\n",
            self.title,
            self.brokers.join(" | "),
            others.concat(),
            "---:|".repeat(self.brokers.len() + others.len()),
        );
        for row in &self.rows {
            table.push_str(&row.line());
        }
        table.push('\n');
        for note in &self.notes {
            _ = writeln!(table, "- {note}");
        }
        for (what, cells) in &self.failures {
            let (runs, mut cells) = (cells.len(), cells.clone());
            cells.dedup();
            _ = writeln!(table, "- {what} ({runs} runs: {})", cells.join("; "));
        }
        table
    }

    /// The row of the last cell, or its last one.
    pub(crate) fn last(&self) -> String {
        self.rows.last().map(Row::line).unwrap_or_default()
    }

    fn plot(&self) -> Bars {
        let groups = self.rows.iter().map(|row| {
            let ratios = (1..self.brokers.len()).map(|other| row.ratios(other).0).collect();
            let cell = row.cell.split_once('/').map_or(row.cell.as_str(), |(_, cell)| cell);
            let name = match row.measure {
                Measure::MessagesASecond => cell.to_owned(),
                measure => format!("{cell}, {}", measure.label()),
            };
            (name, ratios)
        });
        Bars {
            title: format!("Sol, times as good as (right of ×1: better) · {}", self.title),
            legend: self.brokers.iter().skip(1).cloned().collect(),
            groups: groups.collect(),
        }
    }

    /// Writes `matrix.md`, `matrix.svg` and `matrix.csv`.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("matrix.md"), self.table())?;
        fs::write(directory.join("matrix.svg"), self.plot().to_svg())?;
        fs::write(directory.join("matrix.csv"), &self.list)
    }
}

impl Row {
    fn line(&self) -> String {
        let values = self.values.iter().zip(&self.cpu).map(|(values, cpu)| match cpu.median() {
            Some(cpu) => format!(" {}, {} µs |", values.describe(), Short(cpu)),
            None => format!(" {} |", values.describe()),
        });
        let ratios = (1..self.values.len()).map(|other| match self.ratios(other) {
            (None, _) => " – |".to_owned(),
            (Some(ratio), None) => format!(" **×{}** |", Short(ratio)),
            (Some(ratio), Some(cpu)) => format!(" **×{}**, CPU ×{} |", Short(ratio), Short(cpu)),
        });
        let cells: Vec<_> = values.chain(ratios).collect();
        format!("| {}, {} |{}\n", self.cell, self.measure.label(), cells.concat())
    }

    /// How many times as good as the other's ours is, and how many times as much CPU time it took.
    fn ratios(&self, other: usize) -> (Option<f64>, Option<f64>) {
        let medians = |all: &[Samples]| Some((all.first()?.median()?, all.get(other)?.median()?));
        let ratio = medians(&self.values).map(|(ours, other)| self.measure.ratio(ours, other));
        (ratio.filter(|ratio| ratio.is_finite()), medians(&self.cpu).map(|(ours, other)| ours / other))
    }
}
