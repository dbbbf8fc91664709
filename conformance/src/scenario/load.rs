//! All scenarios of a directory, or of the kit itself.

use std::path::{Path, PathBuf};
use std::{fs, io};

use include_dir::{Dir, include_dir};

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
    let named = files.into_iter().map(|path| {
        let text = read_text(&path)?;
        let name = path.strip_prefix(directory).unwrap_or(&path).to_owned();
        Ok((name, text))
    });
    all(named.collect::<Result<_, _>>()?)
}

/// The scenarios that are part of the kit, sorted by name.
///
/// # Errors
/// As [`load`]; a kit that was tested has none.
pub fn embedded() -> Result<Vec<Scenario>, LoadError> {
    let mut files = Vec::new();
    let mut directories = vec![&EMBEDDED];
    while let Some(directory) = directories.pop() {
        directories.extend(directory.dirs());
        let scenarios = directory.files().filter(|file| is_scenario(file.path()));
        files.extend(
            scenarios.filter_map(|file| Some((file.path().to_owned(), file.contents_utf8()?.to_owned()))),
        );
    }
    all(files)
}

/// The scenario in this file, under the path as its name.
///
/// # Errors
/// It cannot be read, or is no scenario.
pub fn read(path: &Path) -> Result<Scenario, LoadError> {
    let text = read_text(path)?;
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    let checked =
        parse(&stem, &path.to_string_lossy(), &text).and_then(|scenario| check_ids(scenario, &text));
    checked.map_err(|error| LoadError::Parse(vec![error]))
}

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../scenarios");

/// Paths below the directory of the scenarios, and texts → scenarios, sorted.
fn all(mut files: Vec<(PathBuf, String)>) -> Result<Vec<Scenario>, LoadError> {
    files.sort();
    let (mut scenarios, mut errors) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let name = path.with_extension("").to_string_lossy().replace('\\', "/");
        let file = format!("scenarios/{name}.scenario");
        match parse(&name, &file, &text).and_then(|scenario| check_ids(scenario, &text)) {
            Ok(scenario) => scenarios.push(scenario),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(scenarios) } else { Err(LoadError::Parse(errors)) }
}

fn read_text(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path).map_err(|reason| LoadError::Read { path: path.to_owned(), reason })
}

fn is_scenario(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "scenario")
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let failed = |reason| LoadError::Read { path: directory.to_owned(), reason };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if is_scenario(&path) {
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
