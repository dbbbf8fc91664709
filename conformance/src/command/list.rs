//! `conformance list`

use std::io::Write;

use clap::Args;
use conformance::report;
use conformance::select::{Pattern, section_of, select};
use conformance::statements::{Statement, Statements, why_unproven};

use super::output::Output;
use super::{Error, Found, Source};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these: a section (4.3), a statement (MQTT-4.3.3-2), a name or a glob (*qos2*)
    #[arg(value_name = "PATTERN")]
    patterns: Vec<Pattern>,
    /// List the statements of the standard, with their number of scenarios or why there is none
    #[arg(long)]
    statements: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) fn main(options: &Options) -> Result<Found, Error> {
    if options.statements {
        return statements(options);
    }
    let mut output = Output::stdout();
    let all = options.source.items()?;
    for item in select(&all, &options.patterns, &[]).map_err(Error::Usage)? {
        let ids: Vec<&str> = item.scenario.cited(item.version).collect();
        let note = if item.scenario.restarts() { "  (restarts the broker)" } else { "" };
        writeln!(output, "{}  {}{note}", item.name(), ids.join(" "))?;
    }
    Ok(Found::Good)
}

fn statements(options: &Options) -> Result<Found, Error> {
    let mut output = Output::stdout();
    let items = options.source.items()?;
    for version in options.source.versions() {
        let known = Statements::of(version);
        let is_wanted = |id: &str| {
            options.patterns.is_empty() || options.patterns.iter().any(|pattern| pattern.names_statement(id))
        };
        let mut rows: Vec<(&str, &Statement)> = known.iter().filter(|(id, _)| is_wanted(id)).collect();
        rows.sort_by_cached_key(|(id, _)| report::statement_key(id));
        if rows.is_empty() {
            return Err(Error::Usage(format!("{version} has no such statement")));
        }
        let (mut proven, total) = (0, rows.len());
        let mut section = "";
        for (id, statement) in rows {
            if section_of(id) != section {
                section = section_of(id);
                writeln!(output, "{section}")?;
            }
            let cites = |item: &&conformance::select::Item| {
                item.version == version && item.scenario.cited(version).any(|cited| cited == id)
            };
            let what = match items.iter().filter(cites).count() {
                0 => format!("none: {}", why_unproven(version, id, statement)),
                1 => "1 scenario".to_owned(),
                count => format!("{count} scenarios"),
            };
            proven += usize::from(!what.starts_with("none"));
            writeln!(output, "  {id:<14} {:<6}  {what}", statement.duty)?;
        }
        writeln!(output, "{total} statements of {version}, {proven} with scenarios")?;
    }
    Ok(Found::Good)
}
