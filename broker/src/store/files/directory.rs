//! A directory of the system, which one process at a time can have.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use super::{File, Files};

/// The file that is locked.
const LOCK: &str = "lock";

/// A directory that is this process's as long as this is held.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// What is synced to make names last.
    #[cfg(unix)]
    itself: fs::File,
    _lock: fs::File,
}

/// A directory cannot be had.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error(
        "{} is in use by {}: a store belongs to one broker, so stop that one or name another directory",
        path.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// Which directory.
        path: PathBuf,
        /// Which process, if it says so.
        pid: Option<u32>,
    },
    /// The system refuses something.
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        /// The directory, or the file that is to be locked.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl Directory {
    /// Takes a directory, and makes it if it is not there, for its owner alone.
    ///
    /// # Errors
    ///
    /// The system's, and if another process has it.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        make(path).map_err(|source| DirectoryError::Io { path: path.to_owned(), action: "made", source })?;
        Self::lock(path, options().create(true))
    }

    /// Takes a directory that was taken before, so that no other one becomes a store by mistake.
    ///
    /// # Errors
    ///
    /// The system's, and if another process has it.
    pub fn open_existing(path: &Path) -> Result<Self, DirectoryError> {
        Self::lock(path, &mut options())
    }

    fn lock(path: &Path, options: &mut OpenOptions) -> Result<Self, DirectoryError> {
        let failed = |path: &Path, action| {
            let path = path.to_owned();
            move |source| DirectoryError::Io { path, action, source }
        };
        #[cfg(unix)]
        let itself = fs::File::open(path).map_err(failed(path, "opened"))?;
        let lock_path = path.join(LOCK);
        let mut lock = options.read(true).open(&lock_path).map_err(failed(&lock_path, "opened"))?;
        if !take(&lock).map_err(failed(&lock_path, "locked"))? {
            let mut pid = String::new();
            _ = lock.read_to_string(&mut pid);
            return Err(DirectoryError::InUse { path: path.to_owned(), pid: pid.trim().parse().ok() });
        }
        // For whoever is refused; on a full disk that one does not learn it.
        _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            #[cfg(unix)]
            itself,
            _lock: lock,
        })
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // No other name is one of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = options().read(true).create_new(true).open(self.path.join(name))?;
        #[cfg(unix)]
        give_to_owner(&file, &self.itself)?;
        Ok(Box::new(SystemFile::new(file)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(SystemFile::new(options().read(true).open(self.path.join(name))?)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    #[cfg(unix)]
    fn sync(&self) -> io::Result<()> {
        self.itself.sync_all()
    }

    /// Such systems do not tell.
    #[cfg(not(unix))]
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A process that is still root makes no file which the one that it becomes could not open later.
#[cfg(unix)]
fn give_to_owner(file: &fs::File, directory: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let owner = directory.metadata()?;
    if rustix::process::geteuid().is_root() && owner.uid() != 0 {
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

struct SystemFile {
    file: fs::File,
    /// Where the next bytes go.
    end: AtomicU64,
    /// Where the room ends that was made for them.
    room: AtomicU64,
}

impl SystemFile {
    fn new(file: fs::File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, end: len.into(), room: len.into() })
    }
}

/// What room is made of.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl File for SystemFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let at = self.end.load(Ordering::Relaxed);
        write_all_at(&self.file, bytes, at)?;
        self.end.store(at + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn make_room(&self, bytes: u32) -> io::Result<()> {
        let end = self.end.load(Ordering::Relaxed);
        let wanted = end + u64::from(bytes);
        let mut room = self.room.load(Ordering::Relaxed).max(end);
        while room < wanted {
            let zeros = usize::try_from(wanted - room).ok().and_then(|missing| ZEROS.get(..missing));
            let zeros = zeros.unwrap_or(&ZEROS);
            write_all_at(&self.file, zeros, room)?;
            room += zeros.len() as u64;
            self.room.store(room, Ordering::Relaxed);
        }
        self.file.sync_data()
    }

    #[cfg(unix)]
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, bytes, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    offset += read as u64;
                    bytes = bytes.split_at_mut(read).1;
                }
            }
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.end.fetch_min(len, Ordering::Relaxed);
        self.room.fetch_min(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(unix)]
fn write_all_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &fs::File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        bytes = bytes.split_at(written).1;
    }
    Ok(())
}

/// Writes, and nobody else may read.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    // Its own name has to last too.
    #[cfg(unix)]
    if let Some(parent) = path.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Whether nobody else has the lock.
#[cfg(unix)]
fn take(lock: &fs::File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// There it is not known.
#[cfg(not(unix))]
fn take(_: &fs::File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_belongs_to_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("store");
        let held = Directory::open(&path).unwrap();
        let refused = Directory::open(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("is in use by process {}:", std::process::id())), "{refused}");
        drop(held);
        Directory::open_existing(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_look_into_it() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("store");
        let directory = Directory::open(&path).unwrap();
        directory.create("0000000001.log").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("0000000001.log")), 0o600);
    }

    #[test]
    fn a_file_grows_and_is_cut() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(parent.path()).unwrap();
        let file = directory.create("one").unwrap();
        assert!(directory.create("one").is_err());
        file.append(b"hello ").unwrap();
        directory.open("one").unwrap().append(b"world").unwrap();
        file.sync().unwrap();
        directory.sync().unwrap();
        let mut bytes = [0; 5];
        file.read_exact_at(6, &mut bytes).unwrap();
        assert_eq!(&bytes, b"world");
        file.truncate(5).unwrap();
        assert_eq!(file.bytes().unwrap(), 5);
        assert_eq!(file.read_exact_at(1, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.make_room(100_000).unwrap();
        file.append(b", all").unwrap();
        assert_eq!(file.bytes().unwrap(), 100_005);
        file.read_exact_at(6, &mut bytes).unwrap();
        assert_eq!(&bytes, b" all\0");
        file.make_room(100_000).unwrap();
        assert_eq!(file.bytes().unwrap(), 100_010);
        let mut names = directory.list().unwrap();
        names.sort();
        assert_eq!(names, ["lock", "one"]);
        directory.remove("one").unwrap();
        assert_eq!(directory.open("one").err().unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Directory::open(&file.join("store")).unwrap_err().to_string();
        assert!(error.contains("cannot be made"), "{error}");
        let error = Directory::open_existing(&parent.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("cannot be opened"), "{error}");
    }
}
