//! Which topics a client may write and read.
//!
//! An ACL file, in mosquitto's format, is parsed once into a [`Table`] of rules. What one client may do is worked out once, by
//! its user name and client identifier: its [`Rights`].
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

pub use line::LineError;
pub use rights::Rights;
pub use table::{Error, MAX_FILE_BYTES, MAX_PATTERNS, MAX_RULES, Problem, Table};
