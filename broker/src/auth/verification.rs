//! The work of a login.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Table;

/// A password to be verified: milliseconds or more of work, for a thread that has nothing else to do. The password is
/// wiped from memory when this is dropped.
pub struct Verification {
    table: Arc<Table>,
    /// The number of the hash, and whether it is the user's.
    found: Option<(usize, bool)>,
    password: Zeroizing<Box<[u8]>>,
}

/// What came of a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the user's password.
    Granted,
    /// There is no such user.
    UnknownUser,
    /// The user has another password.
    WrongPassword,
    /// Too many logins wait already.
    NotVerified,
}

impl Verification {
    /// The work of telling whether it is the user's password.
    pub fn new(table: Arc<Table>, user: &str, password: &[u8]) -> Self {
        let found = table.find(user);
        Self { table, found, password: Zeroizing::new(password.into()) }
    }

    /// Does the work. An unknown user takes as long as a known one.
    pub fn run(&self) -> Verdict {
        let hash = self.found.and_then(|(number, is_users)| Some((self.table.hash(number)?, is_users)));
        match hash.map(|(hash, is_users)| (hash.verify(&self.password), is_users)) {
            Some((true, true)) => Verdict::Granted,
            Some((false, true)) => Verdict::WrongPassword,
            Some((_, false)) | None => Verdict::UnknownUser,
        }
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verification")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn verdicts() {
        let line = b"alice:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";
        let table = Arc::new(Table::parse(&Path::new("passwd").into(), line).unwrap());
        let verdict = |user, password| Verification::new(Arc::clone(&table), user, password).run();
        assert_eq!(verdict("alice", b"secret"), Verdict::Granted);
        assert_eq!(verdict("alice", b"Secret"), Verdict::WrongPassword);
        assert_eq!(verdict("alice", b""), Verdict::WrongPassword);
        // The hash it is verified with is alice's, and so is the password.
        assert_eq!(verdict("bob", b"secret"), Verdict::UnknownUser);
        assert_eq!(verdict("Alice", b"secret"), Verdict::UnknownUser);
        assert_eq!(verdict("", b"secret"), Verdict::UnknownUser);
        let empty = Arc::new(Table::parse(&Path::new("passwd").into(), b"").unwrap());
        assert_eq!(Verification::new(empty, "alice", b"secret").run(), Verdict::UnknownUser);
    }

    #[test]
    fn it_can_go_to_another_thread_and_shows_no_password() {
        fn is_send<T: Send + 'static>(_: &T) {}
        let table = Arc::new(Table::parse(&Path::new("passwd").into(), b"").unwrap());
        let verification = Verification::new(table, "alice", b"secret");
        is_send(&verification);
        assert_eq!(format!("{verification:?}"), "Verification");
    }
}
