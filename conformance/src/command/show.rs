//! `conformance show NAME`

use std::io::Write;

use clap::Args;
use conformance::Version;
use conformance::select::{Pattern, items, select};

use super::output::Output;
use super::{Error, Found, Source};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The scenario: its name, with or without its section
    name: Pattern,
    #[command(flatten)]
    source: Source,
}

pub(super) fn main(options: &Options) -> Result<Found, Error> {
    let mut output = Output::stdout();
    let all = items(options.source.all()?, &Version::ALL);
    let mut found = select(&all, std::slice::from_ref(&options.name), &[]).map_err(Error::Usage)?;
    // A scenario of several versions is one text.
    found.sort_by(|a, b| a.scenario.name.cmp(&b.scenario.name));
    found.dedup_by(|a, b| a.scenario.name == b.scenario.name);
    let several = found.len() > 1;
    for (place, item) in found.iter().enumerate() {
        if several {
            writeln!(output, "{}# {}", if place > 0 { "\n" } else { "" }, item.scenario.file)?;
        }
        writeln!(output, "{}", item.scenario.text.trim_end())?;
    }
    Ok(Found::Good)
}
