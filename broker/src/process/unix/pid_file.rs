//! The file that holds the process's number, and keeps others from starting.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use log::warn;
use rustix::fs::{FlockOperation, OFlags, flock};

/// The file, locked as long as this is held and removed afterwards.
///
/// The lock, not the file, says that somebody runs: one that a dead process left is in nobody's way.
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Takes the lock and writes this process's number.
    ///
    /// # Errors
    ///
    /// What to say: of the process that has the lock, or of the file.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot write the pid file {}: {error}", path.display());
        loop {
            let mut file = open(path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, path) => {
                    write(&mut file).map_err(failed)?;
                    return Ok(Self { path: path.to_owned(), file });
                }
                // Its owner removed it between the two calls.
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut pid = String::new();
                    file.read_to_string(&mut pid).map_err(failed)?;
                    return Err(format!(
                        "already runs as process {}, which holds the pid file {}: stop it or name another file",
                        pid.trim(),
                        path.display()
                    ));
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

impl Drop for PidFile {
    /// Before the lock is given up, so that it cannot be somebody else's.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove the pid file {}, so it is emptied: {error}", self.path.display());
            _ = self.file.set_len(0);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(mine), Ok(there)) => (mine.dev(), mine.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn write(file: &mut File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_once_and_then_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sol.pid");
        // A dead process left it.
        fs::write(&path, "4000000 and more than a number is long\n").unwrap();
        let held = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = PidFile::create(&path).err().unwrap();
        assert!(
            refused.starts_with(&format!("already runs as process {},", std::process::id())),
            "{refused}"
        );
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("sol.pid"), directory.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(PidFile::create(&path).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
