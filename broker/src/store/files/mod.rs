//! Where the log's bytes are: a directory of the system, or in tests one that fails and forgets.

mod directory;
#[doc(hidden)]
pub mod simulated;

use std::io;

pub use directory::{Directory, DirectoryError};

/// A directory of files that grow at their end.
pub trait Files: Send + Sync {
    /// The names in it.
    ///
    /// # Errors
    ///
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file of a new name. It is there for good once [`Files::sync`] returned.
    ///
    /// # Errors
    ///
    /// The system's; one that there is already is one.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    ///
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Removes a file. It is gone for good once [`Files::sync`] returned.
    ///
    /// # Errors
    ///
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until the names are on stable storage.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait File: Send + Sync {
    /// Its length in bytes, with the room that was made.
    ///
    /// # Errors
    ///
    /// The system's.
    fn bytes(&self) -> io::Result<u64>;

    /// Appends all bytes. After an error part of them may stand there.
    ///
    /// # Errors
    ///
    /// The system's.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file that much longer than what was appended, with zeros on stable storage. What is appended then goes
    /// over them, and is sooner synced: the system need not write down where it stands, nor how long the file is.
    ///
    /// # Errors
    ///
    /// The system's. Some of them may be there.
    fn make_room(&self, bytes: u32) -> io::Result<()>;

    /// Reads exactly as many bytes, from `offset` on.
    ///
    /// # Errors
    ///
    /// The system's; the end of the file is one.
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Cuts it to `len` bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Waits until its bytes are on stable storage. After an error it is not known which are, and will not be: the
    /// system may have forgotten them.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync(&self) -> io::Result<()>;
}
