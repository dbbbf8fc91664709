//! Which topics a client may write and read.
//!
//! An ACL file, in mosquitto's format, is parsed once into a [`Table`] of rules; [`Acls`] keeps one that can be read again
//! while the broker runs. What one client may do is worked out once, by its user name and client identifier: its
//! [`Rights`].
//!
//! ```text
//! # Before the first `user` line: for clients without a user name.
//! topic read news/#
//!
//! user anna
//! topic deny house/cellar/#
//! topic house/#
//!
//! # For everybody, wherever it stands.
//! pattern write devices/%c/state
//! pattern read users/%u/#
//! ```
//!
//! A line grants `read`, `write` or both (`readwrite`, or no word), or denies both (`deny`). The client's own `topic`
//! lines decide first, then the `pattern` lines; among either, those that deny come first, wherever they stand. What no
//! line names is denied.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod rights;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

pub use line::LineError;
pub use rights::Rights;
pub use table::{Error, MAX_FILE_BYTES, MAX_PATTERNS, MAX_RULES, Problem, Table};

/// An ACL file, and what it said when it was last read without an error.
#[derive(Debug)]
pub struct Acls {
    path: Arc<Path>,
    table: RwLock<Arc<Table>>,
}

impl Acls {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// As of [`Table::load`].
    pub fn load(path: &Path) -> Result<Self, Vec<Error>> {
        Ok(Self::new(path, Table::load(path)?))
    }

    /// The file says that.
    pub fn new(path: &Path, table: Table) -> Self {
        Self { path: path.into(), table: RwLock::new(Arc::new(table)) }
    }

    /// Reads the file again. Rights that were worked out before stay as they are until they are
    /// [renewed](Rights::renewed).
    ///
    /// # Errors
    ///
    /// As of [`Table::load`]. Then what it said before goes on to be good.
    pub fn reload(&self) -> Result<(), Vec<Error>> {
        self.replace(Table::load(&self.path)?);
        Ok(())
    }

    /// The file was read again, and says that now.
    pub fn replace(&self, table: Table) {
        *self.table.write() = Arc::new(table);
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a client may do by what the file says now.
    pub fn rights(self: &Arc<Self>, user: Option<&str>, client_id: &str) -> Rights {
        Rights::new(self, self.table(), user, client_id)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }
}
