//! `sol store`: what it says of stores that are whole, broken and in use.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use sol::store::files::Directory;
use sol::store::{Log, LogOptions};

/// Bytes of a frame that has one record of 2 bytes.
const FRAME_BYTES: usize = 26;

fn open(dir: &Path) -> Log {
    let files = Arc::new(Directory::open(dir).unwrap());
    Log::open(files, LogOptions::default(), &mut |_, _| Ok(())).unwrap().0
}

/// A store in which sessions 1 to 4 end.
fn make(dir: &Path) {
    let mut log = open(dir);
    for session in 1..=4 {
        log.append(&[2, session]).unwrap();
        log.sync().unwrap();
    }
}

/// Flips a bit of the second frame.
fn spoil(dir: &Path) {
    let file = dir.join("0000000001.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[32 + 2 * FRAME_BYTES - 1] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The exit code, the standard output and the standard error.
fn sol_store(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_sol")).arg("store").args(arguments).arg(dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_whole_store_is_checked_and_shown() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("store");
    make(&dir);
    let (code, out, error) = sol_store(&["check"], &dir);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(out, "1 segments of 136 bytes, 4 frames with 4 records\nnothing is lost\n");
    let (code, out, error) = sol_store(&["dump"], &dir);
    assert_eq!((code, error.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1], "0000000001.log 58 SessionEnd { session: 2 }");
    assert_eq!(sol_store(&["repair"], &dir).0, 0);
}

#[test]
fn a_broken_store_is_repaired_if_that_is_wanted() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("store");
    make(&dir);
    spoil(&dir);
    let (code, out, _) = sol_store(&["check"], &dir);
    assert_eq!(code, 1);
    assert!(out.contains("lost: 0000000001.log, from byte 58 on: "), "{out}");
    assert!(out.contains("so frame 2 is lost"), "{out}");
    let (code, _, error) = sol_store(&["repair"], &dir);
    assert_eq!(code, 1);
    assert!(error.contains("nothing was changed: --yes"), "{error}");
    let (code, out, error) = sol_store(&["repair", "--yes"], &dir);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let (code, out, _) = sol_store(&["dump"], &dir);
    assert_eq!(code, 0);
    let sessions: Vec<_> = out.lines().filter_map(|line| line.split(" ").nth(5)).collect();
    assert_eq!(sessions, ["1", "3", "4"]);
    assert_eq!(open(&dir).next_frame(), 4);
    assert_eq!(sol_store(&["check"], &parent.path().join("store.broken")).0, 1);
    assert!(!parent.path().join("store.repaired").exists());
}

#[test]
fn an_end_that_is_torn_is_no_loss() {
    let parent = tempfile::tempdir().unwrap();
    make(parent.path());
    let file = parent.path().join("0000000001.log");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    let (code, out, _) = sol_store(&["check"], parent.path());
    assert_eq!(code, 0);
    assert!(out.contains("not whole, and never acknowledged: 0000000001.log, from byte 110 on"), "{out}");
    assert_eq!(fs::read(&file).unwrap().len(), bytes.len() - 3);
}

#[test]
fn what_is_no_store_or_in_use_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    for command in ["check", "dump", "repair"] {
        let (code, _, error) = sol_store(&[command], parent.path());
        assert_eq!(code, 1);
        assert!(error.contains("lock cannot be opened"), "{error}");
    }
    assert!(fs::read_dir(parent.path()).unwrap().next().is_none());
    let _log = open(parent.path());
    let (code, _, error) = sol_store(&["check"], parent.path());
    assert_eq!(code, 1);
    #[cfg(unix)]
    assert!(error.contains(&format!("is in use by process {}", std::process::id())), "{error}");
}
