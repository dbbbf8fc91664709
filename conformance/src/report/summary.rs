//! What a reader wants to know first, as lines of text.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Line, Report, Way};
use crate::verdict::Grade;

/// The colour of a verdict.
pub fn style(grade: Grade) -> Style {
    match grade {
        Grade::Pass => AnsiColor::Green.on_default(),
        Grade::Fail => AnsiColor::Red.on_default().bold(),
        Grade::Warning => AnsiColor::Yellow.on_default(),
        Grade::Note => AnsiColor::Cyan.on_default(),
        Grade::Skipped => Style::new().dimmed(),
        Grade::Inconclusive => AnsiColor::Magenta.on_default(),
    }
}

/// Who did it, when, with what the broker can do.
pub fn head(report: &Report) -> String {
    format!("{} on {}: {}", report.kit, report.date, report.broker.found)
}

/// One line: does the broker conform?
pub fn verdict_line(report: &Report) -> String {
    let ran = report.scenarios.len() - report.count(Grade::Skipped);
    let (failures, passes) = (report.unexpected_failures().count(), report.unexpected_passes().count());
    let expected = report.scenarios.iter().filter(|case| report.is_failing(case)).count() - failures;
    let mut line = match failures {
        0 if passes > 0 => format!(
            "The baseline is out of date: {passes} expected to fail no longer {}",
            if passes == 1 { "does" } else { "do" }
        ),
        0 if ran == 0 => "Nothing was run".to_owned(),
        0 if report.count(Grade::Inconclusive) > 0 => {
            "No failure, but not everything could be found out".to_owned()
        }
        0 if expected > 0 => "No unexpected failure".to_owned(),
        0 => "Conforms as far as was tested".to_owned(),
        1 => "Does not conform: 1 scenario fails".to_owned(),
        _ => format!("Does not conform: {failures} scenarios fail"),
    };
    if failures > 0 && passes > 0 {
        let _ = write!(line, ", and {passes} expected to fail no longer");
    }
    let _ = write!(line, " ({}", counts(report));
    if expected > 0 {
        let _ = write!(line, "; {expected} expected by the baseline");
    }
    line.push(')');
    line
}

/// `162 passed, 2 failed, 1 warning, 3 skipped`
fn counts(report: &Report) -> String {
    let one = |grade: Grade| match (report.count(grade), grade) {
        (0, _) => None,
        (count, Grade::Pass) => Some(format!("{count} passed")),
        (count, Grade::Fail) => Some(format!("{count} failed")),
        (1, Grade::Warning) => Some("1 warning".to_owned()),
        (count, Grade::Warning) => Some(format!("{count} warnings")),
        (1, Grade::Note) => Some("1 note".to_owned()),
        (count, Grade::Note) => Some(format!("{count} notes")),
        (count, other) => Some(format!("{count} {other}")),
    };
    Grade::ALL.into_iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// A table of sections and verdicts, and of how many statements were looked at.
pub fn table(report: &Report) -> String {
    let grades: Vec<Grade> = Grade::ALL.into_iter().filter(|grade| report.count(*grade) > 0).collect();
    let sections = report.sections();
    let width = sections.iter().map(|(section, _)| section.len()).max().unwrap_or(0).max("section".len());
    let mut text = format!("{:<width$}", "section");
    for grade in &grades {
        let _ = write!(text, "  {:>7}", grade.word());
    }
    text.push('\n');
    for (section, cases) in sections {
        let _ = write!(text, "{section:<width$}");
        for grade in &grades {
            let wide = grade.word().len().max(7);
            let style = style(*grade);
            match cases.iter().filter(|case| case.verdict == *grade).count() {
                0 => {
                    let _ = write!(text, "  {:>wide$}", "·");
                }
                count => {
                    let _ = write!(text, "  {style}{count:>wide$}{style:#}");
                }
            }
        }
        text.push('\n');
    }
    let shown = |grades: &[Grade]| {
        report
            .statements
            .iter()
            .filter(|row| row.verdict.is_some_and(|grade| grades.contains(&grade)))
            .count()
    };
    let _ = writeln!(
        text,
        "statements: {} held, {} broken, {} of {} looked at",
        shown(&[Grade::Pass, Grade::Note, Grade::Warning]),
        shown(&[Grade::Fail]),
        shown(&[Grade::Pass, Grade::Note, Grade::Warning, Grade::Fail]),
        report.statements.len()
    );
    text
}

/// The trace, one line an entry, decoded and in hexadecimal.
pub fn trace_text(trace: &[Line], here: Option<usize>) -> String {
    let mut text = String::new();
    let mut next = 0;
    for Line { place, ms, actor, way, what, hex, length } in trace {
        if *place > next {
            let _ = writeln!(text, "       …  {} left out", place - next);
        }
        next = place + 1;
        let arrow = match way {
            Way::Sent => '>',
            Way::Came => '<',
            Way::Note => '-',
        };
        let _ = write!(text, "{ms:8.1}  {actor:<8} {arrow}  {what}");
        if !hex.is_empty() {
            let _ = write!(text, "  [{hex}{}]", if *length > hex.split(' ').count() { " …" } else { "" });
        }
        text.push_str(if here == Some(*place) { "   ◀ here\n" } else { "\n" });
    }
    text
}
