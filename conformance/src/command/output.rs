//! Where the words for people go: standard output, or standard error if a report goes to standard output.

use std::io::{self, IsTerminal, Write};

use anstream::AutoStream;

/// Human output, in colours if the place has them and NO_COLOR is not set.
pub(super) struct Output {
    to: Box<dyn Write>,
    is_terminal: bool,
}

impl Output {
    pub(super) fn stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Output { to: Box::new(AutoStream::auto(io::stdout())), is_terminal }
    }

    pub(super) fn stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Output { to: Box::new(AutoStream::auto(io::stderr())), is_terminal }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
