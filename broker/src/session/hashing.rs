//! Hashing for tables that there are many of.

use std::hash::BuildHasher;
use std::sync::LazyLock;

/// The keys of this process, which nobody outside knows.
static KEYS: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

/// `ahash`, with the same keys in all tables: keys of its own are as large as a table with nothing in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashing;

impl BuildHasher for Hashing {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> ahash::AHasher {
        KEYS.build_hasher()
    }
}
