//! The files that a configuration is read from.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Problem;

/// A file's text.
///
/// # Errors
///
/// What is wrong, in which line if it is about one.
pub(super) fn text_of(path: &Path) -> Result<String, Problem> {
    let problem = |line, what| Problem { file: Some(Arc::from(path)), line, column: None, what };
    let bytes = fs::read(path)
        .map_err(|error| problem(None, format!("cannot read the configuration file: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        problem(Some(line), "this is not UTF-8: save the file as UTF-8".to_owned())
    })
}

/// A directory that a file names: where it is not absolute, beside that file.
pub(super) fn directory(file: Option<&Path>, named: &str) -> PathBuf {
    file.and_then(Path::parent).unwrap_or(Path::new("")).join(named)
}

/// The files of a directory whose names end in `.conf`, in mosquitto's order: by letter, of one letter the upper case
/// first.
///
/// # Errors
///
/// What is wrong, and what to do.
pub(super) fn files(directory: &Path, main: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("`include_dir`: cannot read {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension() == Some(OsStr::new("conf")) && path.file_stem().is_some() {
            files.push(path);
        }
    }
    let itself = main.and_then(|main| fs::canonicalize(main).ok());
    if itself.is_some() && files.iter().any(|file| fs::canonicalize(file).ok() == itself) {
        return Err(
            "`include_dir` names the directory of this file: put the others into one of their own".to_owned()
        );
    }
    files.sort_by(|one, other| by_name(&name(one), &name(other)));
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn by_name(one: &str, other: &str) -> Ordering {
    one.to_lowercase().cmp(&other.to_lowercase()).then_with(|| one.cmp(other))
}

#[test]
fn the_order_is_mosquitto_s() {
    let mut names = ["b.conf", "A.conf", "01.conf", "a.conf", "B.conf", "00.conf"];
    names.sort_by(|one, other| by_name(one, other));
    assert_eq!(names, ["00.conf", "01.conf", "A.conf", "a.conf", "B.conf", "b.conf"]);
}
