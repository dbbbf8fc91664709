//! Frames in files, one behind the other: the bytes of the store.

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// The frame's first byte in it.
    pub offset: u32,
    /// Bytes of its payload.
    pub length: u32,
}
