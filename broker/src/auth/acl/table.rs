//! An ACL file: rules by user, and those for everybody.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::line::{Line, LineError, Permission};
use crate::topic::FilterBuf;

/// Largest ACL file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most rules of an ACL file.
pub const MAX_RULES: usize = 1_000_000;
/// Most of them that are patterns, for each client has those of its own.
pub const MAX_PATTERNS: usize = 1000;
/// Most errors told of one file; further ones are likely of the same kind.
const MAX_ERRORS: usize = 100;

/// What is wrong with an ACL file, and where.
#[derive(Debug)]
pub struct Error {
    /// The file.
    pub path: Arc<Path>,
    /// The line, counted from 1; none if it is the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.line {
            Some(line) => write!(f, "{path}:{line}: {}", self.problem),
            None => write!(f, "{path}: {}", self.problem),
        }
    }
}

impl std::error::Error for Error {}

/// What can be wrong with an ACL file.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Problem {
    #[error("cannot read the ACL file: {0}")]
    Read(io::Error),
    #[error("ACL file of more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("more than {MAX_RULES} rules")]
    TooManyRules,
    #[error(
        "more than {MAX_PATTERNS} patterns: each client has all of them, so write `topic` lines for users"
    )]
    TooManyPatterns,
    #[error("and more errors: only the first {MAX_ERRORS} are told")]
    MoreErrors,
    #[error("{0}")]
    Line(#[from] LineError),
}

/// What is said of the topics that a filter matches.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) permission: Permission,
    pub(super) filter: FilterBuf,
}

/// What an ACL file says.
#[derive(Default)]
pub struct Table {
    anonymous: Box<[Rule]>,
    users: HashMap<Box<str>, Box<[Rule]>, ahash::RandomState>,
    patterns: Box<[Rule]>,
}

impl Table {
    /// Reads an ACL file.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Vec<Error>> {
        let path: Arc<Path> = path.into();
        let whole = |problem| vec![Error { path: Arc::clone(&path), line: None, problem }];
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| whole(Problem::Read(error)))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(whole(Problem::TooLarge));
        }
        Self::parse(&path, &bytes)
    }

    /// Parses what a file holds. The path is for the errors.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn parse(path: &Arc<Path>, bytes: &[u8]) -> Result<Self, Vec<Error>> {
        let mut users = HashMap::<Box<str>, Vec<Rule>, ahash::RandomState>::default();
        let (mut anonymous, mut patterns) = (Vec::new(), Vec::new());
        let mut user = None::<&str>;
        let (mut rules, mut errors) = (0_usize, Vec::new());
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        for (number, line) in (1..).zip(bytes.split(|&c| c == b'\n')) {
            let problem = match Line::parse(line) {
                Ok(Line::Nothing) => continue,
                Ok(Line::User(name)) => {
                    user = Some(name);
                    continue;
                }
                Ok(_) if rules == MAX_RULES => {
                    errors.push((number, Problem::TooManyRules));
                    break;
                }
                Ok(Line::Pattern(..)) if patterns.len() == MAX_PATTERNS => {
                    errors.push((number, Problem::TooManyPatterns));
                    break;
                }
                Ok(Line::Pattern(permission, filter)) => {
                    rules += 1;
                    patterns.push(Rule { permission, filter: filter.into() });
                    continue;
                }
                Ok(Line::Topic(permission, filter)) => {
                    rules += 1;
                    let rule = Rule { permission, filter: filter.into() };
                    match user {
                        None => anonymous.push(rule),
                        Some(user) => match users.get_mut(user) {
                            Some(known) => known.push(rule),
                            None => _ = users.insert(user.into(), vec![rule]),
                        },
                    }
                    continue;
                }
                Err(error) => Problem::Line(error),
            };
            errors.push((number, problem));
            if errors.len() == MAX_ERRORS {
                errors.push((number, Problem::MoreErrors));
                break;
            }
        }
        if !errors.is_empty() {
            let error = |(line, problem)| Error { path: Arc::clone(path), line: Some(line), problem };
            return Err(errors.into_iter().map(error).collect());
        }
        let users = users.into_iter().map(|(user, rules)| (user, in_order(rules)));
        Ok(Self { anonymous: in_order(anonymous), users: users.collect(), patterns: in_order(patterns) })
    }

    /// The rules of a user, or of all clients without a user name.
    pub(super) fn of(&self, user: Option<&str>) -> &[Rule] {
        match user {
            None => &self.anonymous,
            Some(user) => self.users.get(user).map_or(&[], |rules| rules),
        }
    }

    /// The rules for everybody.
    pub(super) fn patterns(&self) -> &[Rule] {
        &self.patterns
    }

    pub(super) fn names_users(&self) -> bool {
        let names_user = |rule: &Rule| rule.filter.as_filter().as_str().contains("%u");
        !self.users.is_empty() || self.patterns.iter().any(names_user)
    }
}

/// Those that deny come first: the first that matches decides.
fn in_order(mut rules: Vec<Rule>) -> Box<[Rule]> {
    rules.sort_by_key(|rule| rule.permission != Permission::Deny);
    rules.into()
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} users, {} patterns)", self.users.len(), self.patterns.len())
    }
}
