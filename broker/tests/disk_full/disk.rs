//! A disk in memory, which nobody else sees, and which is gone with the last process that does.

use std::path::{Path, PathBuf};
use std::{fs, thread};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::common::peers::can;

const NONE: Option<&str> = None;

pub(crate) struct Disk {
    directory: TempDir,
}

/// Runs a test on a thread that has a disk. If this process may not mount one, there is no test.
pub(crate) fn with_disk_of(bytes: usize, test: impl FnOnce(&Disk) + Send) {
    let directory = tempfile::tempdir().unwrap();
    let run = || {
        // What is mounted from here on is seen by this thread and what it starts.
        let is_private = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE));
        if can("mount a file system", is_private.is_ok()) {
            let disk = Disk { directory };
            disk.mount(bytes).unwrap();
            test(&disk);
        }
    };
    let ended = thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

impl Disk {
    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn mount(&self, bytes: usize) -> Result<(), Errno> {
        fs::create_dir(self.path()).unwrap();
        mount(NONE, &self.path(), Some("tmpfs"), MsFlags::empty(), Some(&*format!("size={bytes}")))
    }

    /// Makes room, or takes it.
    pub(crate) fn resize(&self, bytes: usize) {
        mount(NONE, &self.path(), NONE, MsFlags::MS_REMOUNT, Some(&*format!("size={bytes}"))).unwrap();
    }

    /// Nothing can be made on it any more; or it can again. What is open for writing still can be written: the system
    /// makes nothing read-only that is being written, unless it is its own decision.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let path: &Path = &self.path();
        if is_read_only {
            let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(Some(path), path, NONE, MsFlags::MS_BIND, NONE).unwrap();
            mount(NONE, path, NONE, again, NONE).unwrap();
        } else {
            umount2(path, MntFlags::MNT_DETACH).unwrap();
        }
    }
}

/// So that the directory under it can be removed.
impl Drop for Disk {
    fn drop(&mut self) {
        while umount2(&self.path(), MntFlags::MNT_DETACH).is_ok() {}
    }
}
