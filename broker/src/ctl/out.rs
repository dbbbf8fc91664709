//! Standard output.

use std::io::{self, IsTerminal, Write};

use ratatui::crossterm::terminal;
use serde_json::Value;

use super::api::Failure;

/// Where results go. Colours and their like are left out where they are not wanted: NO_COLOR, or no terminal.
pub(super) struct Out {
    pub(super) is_json: bool,
    /// Columns of the terminal; none if nobody looks.
    pub(super) width: Option<usize>,
}

impl Out {
    pub(super) fn new(is_json: bool) -> Self {
        let is_seen = io::stdout().is_terminal();
        let width = is_seen.then(terminal::size).and_then(Result::ok).map(|(columns, _)| columns.into());
        // Some terminals do not know how wide they are.
        Self { is_json, width: width.filter(|width| *width > 0) }
    }

    /// Prints it as JSON if that is wanted, and otherwise in words.
    pub(super) fn say(
        &self,
        answer: Value,
        words: impl FnOnce(Value) -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.is_json { self.print(&format!("{answer}\n")) } else { self.print(&words(answer)?) }
    }

    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::Other(format!("standard output: {error}")),
        })
    }
}
