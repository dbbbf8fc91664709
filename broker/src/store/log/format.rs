//! How segments and frames look in their files. All numbers are little-endian.
//!
//! ```text
//!   segment = magic 8, version 4, segment number 4, number of its first frame 8, salt 4, crc 4; then frames
//!   frame   = payload's length 4, crc 4, frame number 8, synced 8; then the payload
//! ```
//!
//! The header of a segment keeps its size, and the places of magic, version and crc, in all versions. A frame's crc
//! begins with the salt of its segment, so bytes that a removed file left on the disk, or that somebody put into a
//! message, are not taken for a frame.

use std::io;

use crc32fast::Hasher;

use super::super::files::File;

/// The only version so far. A reader of the next one reads this one too, by the version in the header.
pub(super) const VERSION: u32 = 1;

/// Bytes of a segment's header.
pub(super) const HEADER: u32 = 32;

/// Bytes of a frame before its payload.
pub(super) const FRAME: u32 = 24;

const MAGIC: [u8; 8] = *b"sol log\n";

/// What stands at the head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) segment: u32,
    /// The number of its first frame; all before it were on stable storage when it began.
    pub(super) first: u64,
    pub(super) salt: u32,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.segment.to_le_bytes());
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// None if it is none.
    pub(super) fn decode(bytes: &[u8; HEADER as usize]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let magic = take(&mut rest);
        let header = Self {
            version: u32::from_le_bytes(take(&mut rest)),
            segment: u32::from_le_bytes(take(&mut rest)),
            first: u64::from_le_bytes(take(&mut rest)),
            salt: u32::from_le_bytes(take(&mut rest)),
        };
        let (checked, crc) = bytes.split_last_chunk()?;
        let is_whole = magic == MAGIC && crc32fast::hash(checked) == u32::from_le_bytes(*crc);
        is_whole.then_some(header)
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) length: u32,
    crc: u32,
    pub(super) number: u64,
    /// All frames up to this number were on stable storage when it was written.
    pub(super) synced: u64,
}

impl Frame {
    pub(super) fn new(salt: u32, number: u64, synced: u64, length: u32, payload: &[u8]) -> Self {
        let mut frame = Self { length, crc: 0, number, synced };
        frame.crc = frame.checksum(salt, payload);
        frame
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from(self.length.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.synced.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; FRAME as usize]) -> Self {
        let mut rest = bytes.as_slice();
        Self {
            length: u32::from_le_bytes(take(&mut rest)),
            crc: u32::from_le_bytes(take(&mut rest)),
            number: u64::from_le_bytes(take(&mut rest)),
            synced: u64::from_le_bytes(take(&mut rest)),
        }
    }

    pub(super) fn is_of(&self, salt: u32, payload: &[u8]) -> bool {
        self.crc == self.checksum(salt, payload)
    }

    fn checksum(&self, salt: u32, payload: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(salt);
        hasher.update(&self.length.to_le_bytes());
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&self.synced.to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }
}

/// What is at an offset of a segment.
pub(super) enum Found {
    /// Its payload is in the buffer.
    Frame(Frame),
    End,
    /// What is wrong.
    Broken(&'static str),
}

/// Reads the frame at `offset` of a file that is `len` bytes long.
///
/// # Errors
///
/// The system's.
pub(super) fn read_frame(
    file: &dyn File,
    (offset, len): (u64, u64),
    salt: u32,
    payload: &mut Vec<u8>,
) -> io::Result<Found> {
    if offset >= len {
        return Ok(Found::End);
    }
    let Some(room) = (len - offset).checked_sub(u64::from(FRAME)) else {
        return Ok(Found::Broken("it ends within a frame's header"));
    };
    let mut bytes = [0; FRAME as usize];
    file.read_exact_at(offset, &mut bytes)?;
    let frame = Frame::decode(&bytes);
    if u64::from(frame.length) > room {
        return Ok(Found::Broken("it ends before the frame does"));
    }
    payload.resize(size(frame.length), 0);
    file.read_exact_at(offset + u64::from(FRAME), payload)?;
    if frame.is_of(salt, payload) {
        Ok(Found::Frame(frame))
    } else {
        Ok(Found::Broken("the frame's checksum does not match"))
    }
}

/// The name of a segment's file.
pub(super) fn name(segment: u32) -> String {
    format!("{segment:010}.log")
}

/// The segment whose file it is.
pub(super) fn number(name: &str) -> Option<u32> {
    let segment = name.strip_suffix(".log")?.parse().ok()?;
    (self::name(segment) == name).then_some(segment)
}

/// A length in memory; one that does not fit there cannot have been read.
pub(super) fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    bytes.split_off(..N).and_then(|taken| taken.try_into().ok()).unwrap_or([0; N])
}
