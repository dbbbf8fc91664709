//! Files of lines: how they are read, and what may be wrong with them and where.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// What is wrong with a file, and where.
#[derive(Debug)]
pub struct FileError<P> {
    /// The file.
    pub path: Arc<Path>,
    /// The line, counted from 1; none if it is the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: P,
}

impl<P: fmt::Display> fmt::Display for FileError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.line {
            Some(line) => write!(f, "{path}:{line}: {}", self.problem),
            None => write!(f, "{path}: {}", self.problem),
        }
    }
}

impl<P: fmt::Debug + fmt::Display> std::error::Error for FileError<P> {}

/// Reads a file of so many bytes at most.
///
/// # Errors
///
/// It cannot be read, or is larger.
pub(super) fn read<P>(
    path: &Arc<Path>,
    most: u64,
    unreadable: fn(io::Error) -> P,
    too_large: P,
) -> Result<Vec<u8>, Vec<FileError<P>>> {
    let whole = |problem| vec![FileError { path: Arc::clone(path), line: None, problem }];
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(unreadable(error)))?;
    if bytes.len() as u64 > most { Err(whole(too_large)) } else { Ok(bytes) }
}

/// All that is wrong in its lines, if anything is.
pub(super) fn checked<P>(path: &Arc<Path>, errors: Vec<(usize, P)>) -> Result<(), Vec<FileError<P>>> {
    let error = |(line, problem)| FileError { path: Arc::clone(path), line: Some(line), problem };
    if errors.is_empty() { Ok(()) } else { Err(errors.into_iter().map(error).collect()) }
}
