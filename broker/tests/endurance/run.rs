//! Which size a test runs at, and whose turn it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Tests of the same process would share the processors, and spoil each other's figures.
static TURN: Mutex<()> = Mutex::new(());

/// A test's turn.
pub(crate) struct Run {
    name: &'static str,
    is_full: bool,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for the test's turn.
pub(crate) fn begin(name: &'static str) -> Run {
    // A test that failed in its turn leaves nothing behind that matters to the next.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    raise_open_files();
    let is_full = std::env::var("SOL_ENDURANCE").is_ok_and(|size| size == "full");
    Run { name, is_full, _turn: turn }
}

impl Run {
    /// Whether times are judged too.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// One value for each size.
    pub(crate) fn sized<T>(&self, small: T, full: T) -> T {
        if self.is_full { full } else { small }
    }

    /// Prints a line of figures.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("{}: {}", self.name, line.as_ref());
    }
}

/// A thousand connections are a thousand descriptors here and in the broker, which inherits the limit.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
