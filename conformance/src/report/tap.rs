//! The Test Anything Protocol, version 14.

use std::fmt::Write as _;

use super::{Case, Report};
use crate::verdict::Grade;

/// The report as TAP.
pub fn write(report: &Report) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", report.scenarios.len());
    for (index, case) in report.scenarios.iter().enumerate() {
        let failing = report.is_failing(case) || case.verdict == Grade::Inconclusive;
        let word = if failing { "not ok" } else { "ok" };
        let _ = writeln!(text, "{word} {} - {}{}", index + 1, escape(&case.name), directive(case, failing));
        diagnostic(&mut text, case);
    }
    text
}

fn directive(case: &Case, failing: bool) -> String {
    let because = |word: &str, reason: &str| format!(" # {word} {}", escape(reason));
    match (case.verdict, &case.baseline) {
        (Grade::Skipped, _) => because("SKIP", case.reason.as_deref().unwrap_or_default()),
        (_, Some(known)) if failing => because("TODO", &known.reason),
        _ => String::new(),
    }
}

/// What is not simply good or skipped, as a block of YAML.
fn diagnostic(text: &mut String, case: &Case) {
    let mut fields = vec![("verdict", case.verdict.word().to_owned())];
    if let Some(failure) = &case.failure {
        fields.push(("at", format!("{}:{}", failure.file, failure.line)));
        fields.push(("step", failure.step.clone()));
        fields.push(("expected", failure.expected.clone()));
        fields.push(("actual", failure.actual.clone()));
        fields.push(("statements", case.statements.join(" ")));
    } else if case.verdict == Grade::Inconclusive {
        fields.push(("reason", case.reason.clone().unwrap_or_default()));
    } else {
        return;
    }
    text.push_str("  ---\n");
    for (name, value) in fields {
        // A string of JSON is one of YAML.
        let _ = writeln!(text, "  {name}: {}", serde_json::Value::from(value));
    }
    text.push_str("  ...\n");
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#").replace(['\n', '\r'], " ")
}
