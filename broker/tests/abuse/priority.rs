//! Clients and abusers stand for other machines. On few processors they would wait for each other, and for the broker, as
//! they would not there.

use std::process::Command;

/// The calling thread runs only while no other wants to: not even a niceness of 19 gives way at once.
pub(crate) fn last() {
    assert!(chrt(&["--idle", "--pid", "0"]), "util-linux has chrt");
}

/// The calling thread runs as soon as it has something to do. Says whether this system lets it: root may.
pub(crate) fn first() -> bool {
    chrt(&["--fifo", "--pid", "1"])
}

fn chrt(options: &[&str]) -> bool {
    let thread = rustix::thread::gettid().to_string();
    Command::new("chrt").args(options).arg(thread).output().unwrap().status.success()
}
