//! A password file: users and the hashes of their passwords.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::file::{self, FileError};
use super::scram::{Mock, Secret};
use super::{FormError, Hash};

/// Largest password file.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most users of a password file.
pub const MAX_USERS: usize = 1_000_000;
/// Most errors told of one file; further ones are likely of the same kind.
const MAX_ERRORS: usize = 100;

/// What is wrong with a password file, and where. No error shows a password, nor what may be one.
pub type Error = FileError<Problem>;

/// What can be wrong with a password file.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Problem {
    #[error("cannot read the password file: {0}")]
    Read(io::Error),
    #[error("password file of more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("more than {MAX_USERS} users")]
    TooManyUsers,
    #[error("and more errors: only the first {MAX_ERRORS} are told")]
    MoreErrors,
    #[error("{0}")]
    Line(#[from] LineError),
    #[error("user {user:?} stands in line {first} already")]
    Again { user: String, first: usize },
    #[error("password of {user:?} in plain text: hash it with `sol passwd FILE`")]
    Plain { user: String },
    #[error("password of {user:?}: {error}")]
    Hash { user: String, error: FormError },
}

/// What a line of a password file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// Nothing, or a comment.
    Nothing,
    /// A user, and a hash or a password in plain text, which is not empty.
    User {
        /// Before the first colon.
        user: &'a str,
        /// Behind it.
        secret: &'a str,
    },
}

/// What makes a line none of a password file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LineError {
    #[error("line that is not UTF-8, as every user name is")]
    Utf8,
    #[error("line without a colon: a user and the hash of the password are written user:hash")]
    NoColon,
    #[error("line without a user before the colon")]
    NoUser,
    #[error("user without a password behind the colon")]
    NoPassword,
}

impl<'a> Line<'a> {
    /// Parses a line, with or without its end.
    ///
    /// # Errors
    ///
    /// It is not of a password file.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        let line = std::str::from_utf8(line).map_err(|_| LineError::Utf8)?;
        let line = line.trim_end_matches(['\n', '\r']);
        if line.trim_start().is_empty() || line.starts_with('#') {
            return Ok(Self::Nothing);
        }
        let (user, secret) = line.split_once(':').ok_or(LineError::NoColon)?;
        match (user, secret) {
            ("", _) => Err(LineError::NoUser),
            (_, "") => Err(LineError::NoPassword),
            (user, secret) => Ok(Self::User { user, secret }),
        }
    }
}

/// Users and the hashes of their passwords.
pub struct Table {
    users: HashMap<Box<str>, usize, ahash::RandomState>,
    hashes: Vec<Hash>,
    /// None if no user has a secret for SCRAM.
    mock: Option<Mock>,
}

impl Table {
    /// Reads a password file.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Vec<Error>> {
        let path: Arc<Path> = path.into();
        let bytes = file::read(&path, MAX_FILE_BYTES, Problem::Read, Problem::TooLarge)?;
        Self::parse(&path, &bytes)
    }

    /// Parses what a file holds. The path is for the errors.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn parse(path: &Arc<Path>, bytes: &[u8]) -> Result<Self, Vec<Error>> {
        let mut users = HashMap::<_, _, ahash::RandomState>::default();
        let (mut hashes, mut lines) = (Vec::new(), Vec::new());
        let mut errors = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|&c| c == b'\n')) {
            match parse_user(line) {
                Ok(None) => continue,
                Ok(Some((user, hash))) => match users.entry(user.into()) {
                    Entry::Vacant(free) => {
                        free.insert(hashes.len());
                        hashes.push(hash);
                        lines.push(number);
                        if hashes.len() <= MAX_USERS {
                            continue;
                        }
                        errors.push((number, Problem::TooManyUsers));
                        break;
                    }
                    Entry::Occupied(taken) => {
                        let first = lines.get(*taken.get()).copied().unwrap_or_default();
                        errors.push((number, Problem::Again { user: user.to_owned(), first }));
                    }
                },
                Err(problem) => errors.push((number, problem)),
            }
            if errors.len() == MAX_ERRORS {
                errors.push((number, Problem::MoreErrors));
                break;
            }
        }
        file::checked(path, errors)?;
        let mock = Mock::of(hashes.iter().filter_map(Hash::scram));
        Ok(Self { users, hashes, mock })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none, so that nobody can log in.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The number of the hash to verify for a user, and whether it is the user's. That of an unknown user is another's,
    /// always the same one: so an unknown user takes as long as a known one, whatever forms the file holds. None if
    /// there are no users.
    pub(super) fn find(&self, user: &str) -> Option<(usize, bool)> {
        if let Some(&number) = self.users.get(user) {
            return Some((number, true));
        }
        let another = self.users.hasher().hash_one(user).checked_rem(self.hashes.len() as u64)?;
        usize::try_from(another).ok().map(|number| (number, false))
    }

    /// Whether a user has a secret for SCRAM.
    pub fn has_scram(&self) -> bool {
        self.mock.is_some()
    }

    /// What a user is shown in SCRAM, and whether it is the user's own secret. None if nobody has one.
    pub(super) fn scram_secret(&self, user: &str) -> Option<(Secret, bool)> {
        // Made for a user who has one as well, so that both take as long.
        let mock = self.mock.as_ref()?.secret(user);
        let number = self.users.get(user);
        let own = number.and_then(|&number| self.hashes.get(number)).and_then(Hash::scram);
        Some(own.map_or((mock, false), |own| (own.clone(), true)))
    }

    pub(super) fn hash(&self, number: usize) -> Option<&Hash> {
        self.hashes.get(number)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} users)", self.len())
    }
}

fn parse_user(line: &[u8]) -> Result<Option<(&str, Hash)>, Problem> {
    let Line::User { user, secret } = Line::parse(line)? else { return Ok(None) };
    // Editors leave blanks at the end, and no hash has any.
    let secret = secret.trim_end();
    if !Hash::is_meant(secret) {
        return Err(Problem::Plain { user: user.to_owned() });
    }
    match Hash::parse(secret) {
        Ok(hash) => Ok(Some((user, hash))),
        Err(error) => Err(Problem::Hash { user: user.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

    fn parse(text: &[u8]) -> Result<Table, Vec<String>> {
        let path: Arc<Path> = Path::new("passwd").into();
        Table::parse(&path, text).map_err(|errors| errors.iter().map(Error::to_string).collect())
    }

    #[test]
    fn users_comments_and_empty_lines() {
        let text =
            format!("# a comment\n\n  \nalice:{HASH}\r\nbob with blanks:{HASH} \n#carol:x\nDavid:{HASH}");
        let table = parse(text.as_bytes()).unwrap();
        assert_eq!(table.len(), 3);
        for (user, is_known) in
            [("alice", true), ("bob with blanks", true), ("David", true), ("david", false), ("carol", false)]
        {
            assert_eq!(table.find(user).unwrap().1, is_known, "{user}");
        }
        assert!(parse(b"").unwrap().is_empty());
        assert_eq!(parse(b"#").unwrap().find("alice"), None);
    }

    #[test]
    fn an_unknown_user_is_verified_with_the_same_hash_each_time() {
        let text: String = (0..10).map(|n| format!("user{n}:{HASH}\n")).collect();
        let table = parse(text.as_bytes()).unwrap();
        let found = |n: u32| table.find(&format!("nobody{n}")).unwrap();
        assert!((0..100).all(|n| found(n) == found(n) && !found(n).1));
        assert!((0..100).any(|n| found(n) != found(0)));
    }

    #[test]
    fn all_errors_are_told_with_their_lines_and_without_passwords() {
        let text = [
            b"alice:hunter2\nno colon hunter2\n:hunter2\nbob:\n# fine\n".to_vec(),
            format!("carol:{HASH}\ncarol:{HASH}\n").into_bytes(),
            b"dave:$2b$10$hunter2\n\xff:x\nerin:$hunter2\nfrank:$6$rounds=999$s$hunter2\ngrace:$6$s$hunter2\n".to_vec(),
        ]
        .concat();
        let errors = parse(&text).unwrap_err();
        let expected = [
            "passwd:1: password of \"alice\" in plain text: hash it with `sol passwd FILE`",
            "passwd:2: line without a colon: a user and the hash of the password are written user:hash",
            "passwd:3: line without a user before the colon",
            "passwd:4: user without a password behind the colon",
            "passwd:7: user \"carol\" stands in line 6 already",
            "passwd:8: password of \"dave\": unknown form of hash $2b$: known are",
            "passwd:9: line that is not UTF-8, as every user name is",
            "passwd:10: password of \"erin\": unknown form of hash: known are",
            "passwd:11: password of \"frank\": rounds outside 1000 to 1000000",
            "passwd:12: password of \"grace\": hash that is cut off or garbled",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}\n{expected}");
        }
    }

    #[test]
    fn not_more_errors_than_anyone_reads() {
        let errors = parse("x\n".repeat(1000).as_bytes()).unwrap_err();
        assert_eq!(errors.len(), MAX_ERRORS + 1);
        assert_eq!(errors[MAX_ERRORS], "passwd:100: and more errors: only the first 100 are told");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let errors = Table::load(Path::new("/nowhere/passwd")).unwrap_err();
        assert_eq!(errors.len(), 1);
        let error = errors[0].to_string();
        assert!(error.starts_with("/nowhere/passwd: cannot read the password file: No such file"), "{error}");
    }
}
