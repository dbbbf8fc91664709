//! What is wrong in a configuration, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Something in a configuration that cannot be followed: where it stands, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file; none is the command line or a default.
    pub file: Option<Arc<Path>>,
    /// Its line, from 1, where it is about one.
    pub line: Option<usize>,
    /// The character in the line, from 1, where that helps.
    pub column: Option<usize>,
    /// What is wrong, and what to do.
    pub what: String,
}

/// `file:line:column: what`, as editors and compilers have it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:", file.display())?,
            None => f.write_str("sol:")?,
        }
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, "{number}:")?;
        }
        write!(f, " {}", self.what)
    }
}
