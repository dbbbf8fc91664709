//! What goes wrong with the log.

use std::fmt;
use std::io;

use thiserror::Error;

/// The log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system refuses something.
    #[error("{file}: cannot be {action}: {source}{}", advice(.source))]
    Io {
        /// Which file; the directory if it is empty.
        file: String,
        /// What was to be done with it.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A later version of the broker wrote it.
    #[error(
        "{file}: has version {version} of the format, and this broker knows those up to {known}: \
         start the version that wrote it, or a later one"
    )]
    Newer {
        /// Which file.
        file: String,
        /// Its version.
        version: u32,
        /// The newest that this broker knows.
        known: u32,
    },
    /// What had been stored is not there any more.
    #[error(
        "{0}: `sol store check DIR` tells all of it, and `sol store repair DIR` goes on without what is lost"
    )]
    Corrupt(Defect),
}

/// A place where something that had been stored is broken or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Which file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, from byte {} on: {}", self.file, self.offset, self.what)
    }
}

/// An end of the log that was cut off, since it was never stored as a whole: nobody was told that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where, and what was there instead of a frame.
    pub defect: Defect,
    /// Bytes that were cut off.
    pub bytes: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cut off {} bytes that were never acknowledged", self.defect, self.bytes)
    }
}

/// A payload that whoever wrote it cannot have meant.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CorruptPayload(pub String);

/// Writing failed.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The system refuses something.
    #[error("{file}: cannot be {action}: {source}{}", advice(.source))]
    Io {
        /// Which file; the directory if it is empty.
        file: String,
        /// What was to be done with it.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// More than [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES). The log is as it was.
    #[error("{bytes} bytes are too many for one frame, which takes {}", super::MAX_PAYLOAD_BYTES)]
    TooLong {
        /// As long it is.
        bytes: usize,
    },
}

/// A frame cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refuses something.
    #[error("{file}: cannot be {action}: {source}")]
    Io {
        /// Which file.
        file: String,
        /// What was to be done with it.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// It is not what was written there.
    #[error("{0}: the disk lost it: `sol store check DIR` tells what else, once the broker is stopped")]
    Corrupt(Defect),
}

/// What to do about an error, if that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room on that file system",
        io::ErrorKind::ReadOnlyFilesystem => {
            ": the system's log says why, and it has to be mounted for writing again"
        }
        io::ErrorKind::PermissionDenied => ": it must belong to the user as whom the broker runs",
        _ => "",
    }
}
