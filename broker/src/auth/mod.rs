//! Who may connect, and what they may do.
//!
//! A password file is parsed once into a [`Table`] of users and hashes. [`Access`] is what a listener asks of its clients,
//! and [`Entrance`] the listener itself, of which that may change. A login is a [`Verification`], a piece of work to be
//! done where it holds up nobody, and ends in a [`Verdict`]. [`Delays`] tells how long to wait before a
//! refusal is told. [`acl`] is what clients may do once they are let in.
//!
//! The password file has a line `user:hash` for each user, empty lines, and comments from `#` on in the first column. A hash is
//!
//! | form | what | made by |
//! |---|---|---|
//! | `$6$salt$hash`, `$5$…`, either with `rounds=N$` before the salt | SHA-crypt, as crypt(3) has it | `sol passwd`, `openssl passwd -6` |
//! | `$7$iterations$salt$hash` | PBKDF2 with HMAC-SHA-512 | `mosquitto_passwd` |
//! | `$6$salt$hash` in base64 | SHA-512, once: too fast to be safe | mosquitto before 1.7 |
//! | `$argon2id$v=19$m=…,t=…,p=…$salt$hash` | argon2id | `argon2`, mosquitto 2.1 |
//! | `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` | for [`scram`], and for plain passwords | `sol passwd -H scram-sha-256`, PostgreSQL |
//!
//! Like all of this floor it has no socket, no thread and no clock.

pub mod acl;
mod crypt;
mod delays;
mod entrance;
mod file;
mod hash;
pub mod scram;
mod table;
mod verification;

use std::num::NonZeroUsize;
use std::sync::Arc;

use acl::Rights;
pub use crypt::{MAX_PASSWORD_BYTES, MAX_ROUNDS};
pub use delays::{DelayLimits, Delays, Source};
pub use entrance::{Entrance, PublishRate};
pub use file::FileError;
pub use hash::{FormError, Hash, MAX_ARGON2_KIB, MAX_ARGON2_WORK_KIB, MAX_ITERATIONS, Make};
pub use table::{Error, Line, LineError, MAX_FILE_BYTES, MAX_USERS, Problem, Table};
pub use verification::{Verdict, Verification};

/// What a listener asks of its clients.
#[derive(Debug)]
pub struct Access {
    /// Whether clients without a user name are let in.
    pub allow_anonymous: bool,
    /// Whom a user name and password must be of. Without it they are not looked at, and let in as anonymous ones are.
    pub passwords: Option<Arc<Table>>,
    /// Which topics they may write and read. Without it, all.
    pub acl: Option<Arc<acl::Table>>,
    /// Whether their certificate says who they are, and no user name or password is looked at.
    pub user_from_certificate: bool,
    /// Whether the user name takes the place of the client identifier.
    pub user_as_client_id: bool,
    /// What client identifiers begin with; none at all is anything.
    pub client_id_prefixes: Vec<String>,
    /// What becomes of clients that send no client identifier.
    pub identifiers: Identifiers,
    /// How many there may be at a time; none is as many as the broker has.
    pub max_connections: Option<NonZeroUsize>,
    /// How fast each may publish.
    pub publish_rate: PublishRate,
}

/// What becomes of clients that send an empty client identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifiers {
    /// Whether one is made up for them; otherwise they are refused [MQTT-3.1.3-6].
    pub may_be_empty: bool,
    /// What it begins with.
    pub prefix: Arc<str>,
}

impl Default for Identifiers {
    fn default() -> Self {
        Self { may_be_empty: true, prefix: "sol-".into() }
    }
}

impl Access {
    /// Everybody is let in, and may do anything.
    pub fn open() -> Self {
        Self {
            allow_anonymous: true,
            passwords: None,
            acl: None,
            user_from_certificate: false,
            user_as_client_id: false,
            client_id_prefixes: Vec::new(),
            identifiers: Identifiers::default(),
            max_connections: None,
            publish_rate: PublishRate::default(),
        }
    }

    /// What a client of that user name and identifier may do; none is anything.
    pub fn rights(&self, user: Option<&str>, client_id: &str) -> Option<Rights> {
        self.acl.as_ref().map(|table| Rights::new(table, user, client_id))
    }
}
