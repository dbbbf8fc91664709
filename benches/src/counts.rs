//! Counts of instructions, beside those that were accepted.

use std::env;
use std::fmt::{self, Write};
use std::process::Command;
use std::str::FromStr;

/// Counts, and with which compiler they came about.
#[derive(Debug, PartialEq)]
pub struct Table {
    /// Its release and its host.
    pub compiler: String,
    /// One for each piece of work, in the order in which it is done.
    pub rows: Vec<Row>,
}

/// What one piece of work takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which it is.
    pub name: String,
    /// Instructions per element.
    pub instructions: f64,
}

/// How counts are, beside those that were accepted.
pub struct Judged {
    /// A line for each piece of work.
    pub text: String,
    /// Nothing grew beyond the tolerance, and the work is the same.
    pub is_good: bool,
    /// Something shrank beyond it.
    pub is_better: bool,
}

/// Release and host of the compiler in use.
///
/// # Errors
///
/// `rustc` cannot be run, or does not tell.
pub fn compiler() -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().map_err(|error| format!("rustc -vV: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (release, host) = (field("release:"), field("host:"));
    release
        .zip(host)
        .map(|(release, host)| format!("rustc {release} {host}"))
        .ok_or_else(|| "rustc -vV says nothing".into())
}

impl Table {
    /// Whether the compiler is for the same processors and system.
    pub fn is_of_host(&self, compiler: &str) -> bool {
        self.compiler.rsplit(' ').next() == compiler.rsplit(' ').next()
    }

    /// Holds counts against these; the tolerance is in percent.
    pub fn judge(&self, counted: &[Row], tolerance: f64) -> Judged {
        let mut judged = Judged { text: String::new(), is_good: true, is_better: false };
        let width = counted.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        for (row, number) in counted.iter().zip(1..) {
            let Row { name, instructions } = row;
            let before = self.rows.iter().find(|known| known.name == *name).map(|known| known.instructions);
            let change = before.map(|before| (instructions / before - 1.0) * 100.0);
            let grew = change.is_none_or(|change| change > tolerance);
            let shrank = change.is_some_and(|change| change < -tolerance);
            judged.is_good &= !grew;
            judged.is_better |= shrank;
            let was = before.zip(change).map(|(before, change)| format!("{before:>10.1} {change:>+7.2} %"));
            let verdict = match change {
                None => "NEW".to_owned(),
                Some(_) if grew => format!("GREW, out.{number}"),
                Some(_) if shrank => "shrank".to_owned(),
                Some(_) => String::new(),
            };
            let line = format!("{name:<width$} {instructions:>10.1} {} {verdict}", was.unwrap_or_default());
            _ = writeln!(judged.text, "{}", line.trim_end());
        }
        for Row { name, .. } in &self.rows {
            if counted.iter().all(|row| row.name != *name) {
                judged.is_good = false;
                _ = writeln!(judged.text, "{name}: GONE");
            }
        }
        judged
    }
}

const HEAD: &str = "workload\tinstructions per element\t";

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}", self.compiler)?;
        self.rows.iter().try_for_each(|Row { name, instructions }| writeln!(f, "{name}\t{instructions:.1}"))
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let compiler = lines.next().and_then(|head| head.strip_prefix(HEAD));
        let compiler = compiler.ok_or_else(|| format!("does not begin with {HEAD:?}"))?.to_owned();
        let row = |line: &str| {
            let (name, count) = line.split_once('\t')?;
            let instructions = count.parse().ok().filter(|count: &f64| *count > 0.0)?;
            Some(Row { name: name.to_owned(), instructions })
        };
        let rows = lines.map(|line| row(line).ok_or_else(|| format!("not a name and a count: {line:?}")));
        Ok(Self { compiler, rows: rows.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, f64)]) -> Vec<Row> {
        rows.iter()
            .map(|(name, instructions)| Row { name: (*name).to_owned(), instructions: *instructions })
            .collect()
    }

    #[test]
    fn a_table_comes_back_from_its_text() {
        let rows = rows(&[("codec/decode/a", 12.5), ("hub/1→1/QoS 2", 1234.0)]);
        let table = Table { compiler: "rustc 1.0.0 somewhere".to_owned(), rows };
        assert_eq!(table.to_string().parse(), Ok(table));
        assert!("".parse::<Table>().is_err());
        assert!(format!("{HEAD}rustc\nname\t0\n").parse::<Table>().is_err());
    }

    #[test]
    fn growth_new_and_missing_work_close_the_gate_and_less_work_does_not() {
        let compiler = "rustc 1.0.0 somewhere".to_owned();
        let accepted = Table { compiler, rows: rows(&[("a", 100.0), ("b", 1000.0)]) };
        let judge = |counted: &[(&str, f64)]| {
            let judged = accepted.judge(&rows(counted), 3.0);
            (judged.is_good, judged.is_better)
        };
        assert_eq!(judge(&[("a", 102.9), ("b", 971.0)]), (true, false));
        assert_eq!(judge(&[("a", 103.1), ("b", 1000.0)]), (false, false));
        assert_eq!(judge(&[("a", 100.0), ("b", 960.0)]), (true, true));
        assert_eq!(judge(&[("a", 100.0)]), (false, false));
        assert_eq!(judge(&[("a", 100.0), ("b", 1000.0), ("c", 1.0)]), (false, false));
    }
}
