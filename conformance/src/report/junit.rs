//! JUnit's XML, which every CI reads. A test suite is a section; warnings and notes pass, and say so in `system-out`.

use std::time::Duration;

use chrono::DateTime;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Case, Report};
use crate::report::summary::trace_text;
use crate::verdict::Grade;

/// The report as XML.
///
/// # Errors
/// None in practice: what XML cannot hold is left out.
pub fn write(report: &Report) -> Result<String, String> {
    let mut whole = quick_junit::Report::new(format!("{} {}", report.kit, report.broker.url));
    if let Ok(date) = DateTime::parse_from_rfc3339(&report.date) {
        whole.set_timestamp(date);
    }
    whole.set_time(seconds(report.seconds));
    for (section, cases) in report.sections() {
        let mut suite = TestSuite::new(section);
        suite.set_time(seconds(cases.iter().map(|case| case.seconds).sum()));
        suite.add_test_cases(cases.into_iter().map(|case| test_case(report, case)));
        whole.add_test_suite(suite);
    }
    whole.to_string().map_err(|error| error.to_string())
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn test_case(report: &Report, case: &Case) -> TestCase {
    let expected = case.baseline.as_ref().map(|known| known.reason.as_str());
    let failing = report.is_failing(case);
    let mut status = match (case.verdict, expected) {
        (Grade::Skipped, _) => TestCaseStatus::skipped(),
        (Grade::Inconclusive, _) => TestCaseStatus::non_success(NonSuccessKind::Error),
        (_, Some(_)) if failing => TestCaseStatus::skipped(),
        _ if failing => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::success(),
    };
    if let Some(reason) = &case.reason {
        status.set_message(reason.as_str());
    }
    let text = case.failure.as_ref().map(|failure| {
        format!(
            "{}:{}\n{}\nexpected {}, but {}\n{}\n{}",
            failure.file,
            failure.line,
            failure.step,
            failure.expected,
            failure.actual,
            case.statements.join(" "),
            trace_text(&case.trace, failure.here)
        )
    });
    if let Some(failure) = &case.failure {
        let message = format!("expected {}, but {}", failure.expected, failure.actual);
        match expected {
            Some(reason) if failing => status.set_message(format!("expected failure: {reason}; {message}")),
            _ => status.set_message(message),
        };
        status.set_type(case.statements.join(" "));
        if let Some(text) = text.as_deref().filter(|_| failing) {
            status.set_description(text);
        }
    }
    let mut test = TestCase::new(case.name.as_str(), status);
    test.set_classname(format!("{}.{}", case.version, case.section));
    test.set_time(seconds(case.seconds));
    if let Some(text) = text.filter(|_| !failing) {
        test.set_system_out(format!("{}: {text}", case.verdict));
    }
    test
}
