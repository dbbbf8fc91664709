//! See [`crate::fuzzing`].

use super::header::{Header, MAX_BYTES, decode};

/// The header in front of a connection, read as it is: no more than it asks for, and never too much.
pub fn proxy(bytes: &[u8]) {
    let mut length = 0;
    while let Some(Ok(Header::Needs(needed))) = bytes.get(..length).map(decode) {
        assert!(needed > 0);
        length += needed;
        assert!(length <= MAX_BYTES);
    }
}
