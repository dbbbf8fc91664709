//! `conformance explain MQTT-3.1.2-24`

use std::io::Write;

use clap::Args;
use conformance::Version;
use conformance::select::statement_id;
use conformance::statements::{Statements, why_unproven};

use super::output::Output;
use super::{Error, Found, Source};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The statement: MQTT-3.1.2-24
    id: String,
    #[command(flatten)]
    source: Source,
}

pub(super) fn main(options: &Options) -> Result<Found, Error> {
    let wrong = |what: &str| Error::Usage(format!("{} {what}", options.id));
    let id = statement_id(&options.id).ok_or_else(|| wrong("is not of the form MQTT-3.1.2-24"))?;
    let scenarios = options.source.all()?;
    let mut output = Output::stdout();
    let is_wanted =
        |version: &Version| options.source.versions.is_empty() || options.source.versions.contains(version);
    let mut is_known = false;
    for version in Version::ALL.into_iter().filter(is_wanted) {
        let statements = Statements::of(version);
        let Some(statement) = statements.get(&id) else { continue };
        if is_known {
            writeln!(output)?;
        }
        is_known = true;
        writeln!(output, "{id} of MQTT {version}\n  {}", statement.paraphrase)?;
        writeln!(output, "  binds:      {}", binds(&statement.duty))?;
        writeln!(output, "  observable: {}", statement.observable)?;
        let citing: Vec<_> =
            scenarios.iter().filter(|scenario| scenario.cited(version).any(|cited| cited == id)).collect();
        if citing.is_empty() {
            writeln!(output, "  no scenario: {}", why_unproven(version, &id, statement))?;
        }
        for scenario in citing {
            writeln!(output, "  {}\n      {}", scenario.name, scenario.about)?;
        }
    }
    if is_known {
        Ok(Found::Good)
    } else {
        Err(wrong("is no statement; `conformance list --statements` has them all"))
    }
}

fn binds(duty: &str) -> &str {
    match duty {
        "server" => "the server",
        "client" => "the client",
        _ => "server and client",
    }
}
