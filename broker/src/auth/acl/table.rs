//! An ACL file: rules by user, and those for everybody.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::line::{Line, LineError, Permission};
use crate::auth::file::{self, FileError};
use crate::topic::{FilterBuf, Index, Name};

/// Largest ACL file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most rules of an ACL file.
pub const MAX_RULES: usize = 1_000_000;
/// Most of them that are patterns, for each client has those of its own.
pub const MAX_PATTERNS: usize = 1000;
/// Most errors told of one file; further ones are likely of the same kind.
const MAX_ERRORS: usize = 100;
/// With more rules, a user has an index of them.
const MAX_LOOKED_THROUGH: usize = 16;

/// What is wrong with an ACL file, and where.
pub type Error = FileError<Problem>;

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
    anonymous: Rules,
    users: HashMap<Box<str>, Rules, ahash::RandomState>,
    patterns: Box<[Rule]>,
    none: Rules,
}

/// The rules of one user.
#[derive(Default)]
pub(super) struct Rules {
    /// In the order in which they decide.
    all: Box<[Rule]>,
    /// By their filters, where they are many.
    index: Option<Index<usize, Permission>>,
}

impl Rules {
    fn new(rules: Vec<Rule>) -> Self {
        let all = in_order(rules);
        let index = (all.len() > MAX_LOOKED_THROUGH).then(|| {
            let mut index = Index::new();
            for (number, Rule { permission, filter }) in all.iter().enumerate() {
                index.insert(filter.as_filter(), number, *permission);
            }
            index
        });
        Self { all, index }
    }

    pub(super) fn all(&self) -> &[Rule] {
        &self.all
    }

    /// What they say of a topic: that a permission is granted, that it is denied, or nothing.
    pub(super) fn verdict(&self, topic: Name<'_>, grants: impl Fn(Permission) -> bool) -> Option<bool> {
        let Some(index) = &self.index else { return verdict(&self.all, topic, grants) };
        let (mut is_granted, mut is_denied) = (false, false);
        index.visit(topic, |_, permission| {
            is_granted |= grants(*permission);
            is_denied |= *permission == Permission::Deny;
        });
        (is_granted || is_denied).then_some(!is_denied)
    }
}

/// The same of a few rules, in the order in which they decide.
pub(super) fn verdict(rules: &[Rule], topic: Name<'_>, grants: impl Fn(Permission) -> bool) -> Option<bool> {
    let speaks = |rule: &&Rule| {
        (rule.permission == Permission::Deny || grants(rule.permission))
            && rule.filter.as_filter().matches(topic)
    };
    rules.iter().find(speaks).map(|rule| rule.permission != Permission::Deny)
}

impl Table {
    /// Reads an ACL file.
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
        file::checked(path, errors)?;
        let users = users.into_iter().map(|(user, rules)| (user, Rules::new(rules)));
        Ok(Self {
            anonymous: Rules::new(anonymous),
            users: users.collect(),
            patterns: in_order(patterns),
            none: Rules::default(),
        })
    }

    /// The rules of a user, or of all clients without a user name.
    pub(super) fn of(&self, user: Option<&str>) -> &Rules {
        match user {
            None => &self.anonymous,
            Some(user) => self.users.get(user).unwrap_or(&self.none),
        }
    }

    /// The rules for everybody.
    pub(super) fn patterns(&self) -> &[Rule] {
        &self.patterns
    }

    /// Whether some lines depend on the user name that a client has.
    pub fn names_users(&self) -> bool {
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
