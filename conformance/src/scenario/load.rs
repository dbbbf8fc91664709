//! All scenarios of a directory.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{ParseError, Scenario, parse};
use crate::statements::Statements;

/// Why the scenarios could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A directory or file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Files that are no scenarios: the first mistake of each.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Parse(Vec<ParseError>),
}

/// Reads every `*.scenario` below `directory`, sorted by name, and checks the ids they cite.
///
/// # Errors
/// What cannot be read, or every file that is no scenario or cites a statement its version does not have.
pub fn load(directory: &Path) -> Result<Vec<Scenario>, LoadError> {
    let mut files = Vec::new();
    find(directory, &mut files)?;
    files.sort();

    let (mut scenarios, mut errors) = (Vec::new(), Vec::new());
    for path in files {
        let text =
            fs::read_to_string(&path).map_err(|reason| LoadError::Read { path: path.clone(), reason })?;
        let name = path.strip_prefix(directory).unwrap_or(&path).with_extension("");
        let name = name.to_string_lossy().replace('\\', "/");
        let file = format!("scenarios/{name}.scenario");
        match parse(&name, &file, &text).and_then(|scenario| check_ids(scenario, &text)) {
            Ok(scenario) => scenarios.push(scenario),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(scenarios) } else { Err(LoadError::Parse(errors)) }
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let failed = |reason| LoadError::Read { path: directory.to_owned(), reason };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "scenario") {
            files.push(path);
        }
    }
    Ok(())
}

/// Every id a scenario cites is one of its version.
fn check_ids(scenario: Scenario, text: &str) -> Result<Scenario, ParseError> {
    for proof in &scenario.proves {
        let statements = Statements::of(proof.version);
        if let Some(cited) = proof.ids.iter().find(|cited| statements.get(&cited.id).is_none()) {
            let expected = format!("a statement of statements-{}.tsv", proof.version);
            return Err(ParseError::new(&scenario.file, text, cited.line, cited.column, expected));
        }
    }
    Ok(scenario)
}
