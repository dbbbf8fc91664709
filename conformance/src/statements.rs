//! The numbered statements of the standard, in words of our own: `scenarios/statements-*.tsv`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::Version;

/// One numbered statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Whom it binds: `server`, `client` or `either`.
    pub duty: String,
    /// Whether a broker's keeping of it shows from outside: `yes`, `partly` or `no`.
    pub observable: String,
    /// What it says.
    pub paraphrase: String,
}

/// All statements of one version, by id (`MQTT-3.3.1-3`).
#[derive(Clone, Debug, Default)]
pub struct Statements(BTreeMap<String, Statement>);

impl Statements {
    /// The list of `version`, which is part of the kit.
    pub fn of(version: Version) -> &'static Self {
        // Every scenario asks for it.
        static V3_1_1: LazyLock<Statements> =
            LazyLock::new(|| Statements::parse(include_str!("../../scenarios/statements-3.1.1.tsv")));
        static V5_0: LazyLock<Statements> =
            LazyLock::new(|| Statements::parse(include_str!("../../scenarios/statements-5.0.tsv")));
        match version {
            Version::V3_1_1 => &V3_1_1,
            Version::V5_0 => &V5_0,
        }
    }

    /// Reads lines of `id duty observable paraphrase`, separated by tabs, below a line of headings.
    fn parse(table: &str) -> Self {
        let row = |line: &str| {
            let mut cells = line.split('\t').map(str::to_owned);
            let id = cells.next()?;
            Some((
                id,
                Statement { duty: cells.next()?, observable: cells.next()?, paraphrase: cells.next()? },
            ))
        };
        Statements(table.lines().skip(1).filter_map(row).collect())
    }

    /// The statement with this id.
    pub fn get(&self, id: &str) -> Option<&Statement> {
        self.0.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Statement)> {
        self.0.iter().map(|(id, statement)| (id.as_str(), statement))
    }
}

/// Why no scenario cites this statement: what `scenarios/unproven-VERSION.tsv` says, or else what follows from whom it binds.
pub fn why_unproven(version: Version, id: &str, statement: &Statement) -> String {
    let told = unproven(version).find(|(found, _)| *found == id);
    match (told, statement.duty.as_str(), statement.observable.as_str()) {
        (Some((_, reason)), ..) => reason.to_owned(),
        (None, "client", "no") => "it binds clients, and no broker can be seen to break it".to_owned(),
        (None, _, "no") => "it cannot be seen from outside".to_owned(),
        _ => "there is no scenario yet".to_owned(),
    }
}

/// Statements without a scenario, and why: lines of `id reason`, below a line of headings.
pub fn unproven(version: Version) -> impl Iterator<Item = (&'static str, &'static str)> {
    let table = match version {
        Version::V3_1_1 => include_str!("../../scenarios/unproven-3.1.1.tsv"),
        Version::V5_0 => include_str!("../../scenarios/unproven-5.0.tsv"),
    };
    table.lines().skip(1).filter_map(|line| line.split_once('\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_statement() {
        for (version, table) in [
            (Version::V3_1_1, include_str!("../../scenarios/statements-3.1.1.tsv")),
            (Version::V5_0, include_str!("../../scenarios/statements-5.0.tsv")),
        ] {
            let statements = Statements::of(version);
            assert_eq!(statements.iter().count(), table.lines().count() - 1, "{version}");
            for (id, statement) in statements.iter() {
                assert!(id.starts_with("MQTT-"), "{id}");
                assert!(["server", "client", "either"].contains(&statement.duty.as_str()), "{id}");
                assert!(["yes", "partly", "no"].contains(&statement.observable.as_str()), "{id}");
            }
        }
    }
}
