//! Markdown, for a comment under a change or a CI's summary page.

use std::fmt::Write as _;

use super::summary::{head, trace_text, verdict_line};
use super::{Case, Report};
use crate::verdict::Grade;

/// The report as Markdown.
pub fn write(report: &Report) -> String {
    let mut text =
        format!("# MQTT conformance of {}\n\n{}\n\n", code(&report.broker.url), verdict_line(report));
    let _ = writeln!(text, "{}\n", head(report));

    let grades: Vec<Grade> = Grade::ALL.into_iter().filter(|grade| report.count(*grade) > 0).collect();
    let names: Vec<&str> = grades.iter().map(|grade| grade.word()).collect();
    let _ = writeln!(text, "| section | {} |\n|---|{}", names.join(" | "), "---:|".repeat(grades.len()));
    for (section, cases) in report.sections() {
        let count = |grade: &Grade| match cases.iter().filter(|case| case.verdict == *grade).count() {
            0 => String::new(),
            count => count.to_string(),
        };
        let counts: Vec<String> = grades.iter().map(count).collect();
        let _ = writeln!(text, "| {section} | {} |", counts.join(" | "));
    }
    for (title, grade) in [
        ("Failures", Grade::Fail),
        ("Inconclusive", Grade::Inconclusive),
        ("Warnings", Grade::Warning),
        ("Notes", Grade::Note),
    ] {
        let cases: Vec<&Case> = report.scenarios.iter().filter(|case| case.verdict == grade).collect();
        if !cases.is_empty() {
            let _ = writeln!(text, "\n## {title}\n");
            cases.into_iter().for_each(|case| details(&mut text, case));
        }
    }
    let passes: Vec<String> =
        report.unexpected_passes().map(|case| format!("- {}\n", code(&case.name))).collect();
    if !passes.is_empty() {
        let _ = write!(
            text,
            "\n## No longer failing\n\nThe baseline expects these to fail:\n\n{}",
            passes.concat()
        );
    }
    text
}

fn details(text: &mut String, case: &Case) {
    let ids = case.statements.join(", ");
    let known = case.baseline.as_ref().map(|known| format!(" — expected: {}", plain(&known.reason)));
    let known = known.unwrap_or_default();
    let _ = writeln!(text, "<details><summary><code>{}</code> ({ids}){known}</summary>\n", case.name);
    if let Some(failure) = &case.failure {
        let _ = writeln!(text, "{} `{}:{}`\n", plain(&case.about), failure.file, failure.line);
        let block = format!(
            "{}\nexpected {}, but {}\n\n{}",
            failure.step,
            failure.expected,
            failure.actual,
            trace_text(&case.trace, failure.here)
        );
        let fence = "`".repeat(3.max(longest_run(&block) + 1));
        let _ = writeln!(text, "{fence}text\n{}\n{fence}\n", block.trim_end());
    } else if let Some(reason) = &case.reason {
        let _ = writeln!(text, "{}\n", plain(reason));
    }
    text.push_str("</details>\n");
}

/// Text that is not taken for HTML.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\n', " ")
}

fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    format!("{fence}{text}{fence}")
}

/// How many backticks stand in a row.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
