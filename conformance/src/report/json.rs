//! JSON: the complete form.

use super::Report;

/// The report as JSON.
///
/// # Errors
/// None in practice: everything in a report has a form in JSON.
pub fn write(report: &Report) -> Result<String, String> {
    serde_json::to_string_pretty(report).map_err(|error| error.to_string())
}

/// A report that [`write()`] wrote.
///
/// # Errors
/// Another text, and where it is another.
pub fn read(text: &str) -> Result<Report, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not a report of `conformance run --report json=…`: {error}"))
}
