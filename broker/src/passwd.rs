//! `sol passwd`: makes and changes password files.
//!
//! The file is replaced as a whole, by renaming a new one over it: a broker that reads it finds the old or the new one.

use std::fs::{self, File};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use sol::auth::{self, Hash, Line, MAX_FILE_BYTES, MAX_PASSWORD_BYTES, Make, Table};
use tempfile::NamedTempFile;
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest user name that fits into a CONNECT.
const MAX_USER_BYTES: usize = 65_535;

/// Hash the passwords in a password file, or change a user's
///
/// With FILE alone, each line `user:password` becomes `user:hash`; lines that are hashed already, comments and
/// empty lines stay. With USER, that user is added or gets another password. The file is replaced in one step, can be
/// read by its owner alone, and is read again by a running broker on SIGHUP.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Make a new file
    #[arg(short, long, requires = "user")]
    create: bool,

    /// Take the password from the command line, where others see it in the list of processes
    #[arg(short, long, requires = "user", conflicts_with = "delete")]
    batch: bool,

    /// The form of the hashes
    #[arg(short = 'H', long, value_name = "FORM", default_value = "sha512-crypt", conflicts_with = "delete")]
    hash: Form,

    /// Delete the user
    #[arg(short = 'D', long, requires = "user", conflicts_with = "create")]
    delete: bool,

    /// The password file
    file: PathBuf,

    /// The user to add, change or delete
    user: Option<String>,

    /// With -b. Without it the password is asked for on a terminal, otherwise it is the first line of standard input
    #[arg(requires = "batch")]
    password: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// `$6$salt$hash` of crypt(3)
    Sha512Crypt,
    /// For clients that log in by SCRAM (MQTT 5.0), and for those that send the password
    #[value(name = "scram-sha-256")]
    Scram,
}

#[derive(Debug, Error)]
enum Failure {
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    #[error("{}: no such file: -c makes it", .0.display())]
    Missing(PathBuf),
    #[error("{} is there already: leave out -c to add a user to it", .0.display())]
    Exists(PathBuf),
    #[error("{}: file of more than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Table(Vec<auth::Error>),
    #[error("{}:{line}: password that cannot be hashed: {UNHASHABLE}", path.display())]
    Unhashable { path: PathBuf, line: usize },
    #[error("a password cannot be hashed: {UNHASHABLE}")]
    BadPassword,
    #[error("a password must not be empty")]
    EmptyPassword,
    #[error("the two passwords are not the same")]
    Different,
    #[error("cannot read the password: {0}")]
    NoPassword(io::Error),
    #[error(
        "bad user name {0:?}: it must have 1 to {MAX_USER_BYTES} bytes without colons and control characters, and not begin with #"
    )]
    BadUser(String),
    #[error("{}: there is no user {:?}", .0.display(), .1)]
    NoUser(PathBuf, String),
    #[error("the system has no random bytes: {0}")]
    Random(getrandom::Error),
}

const UNHASHABLE: &str = "it is longer than 511 bytes or has a NUL";
const _: () = assert!(MAX_PASSWORD_BYTES == 511);

/// Does what the arguments say, and tells on standard output what it did.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match change(arguments) {
        Ok(done) => {
            // Nobody may be there to hear it.
            _ = writeln!(io::stdout(), "{done}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("sol passwd: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn change(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { create, delete, file, user, password, .. } = arguments;
    let form = match arguments.hash {
        Form::Sha512Crypt => Make::Crypt,
        Form::Scram => Make::Scram,
    };
    let Some(user) = user else { return hash_all(&PasswordFile::open(file)?, form) };
    if *delete {
        let file = PasswordFile::open(file)?;
        let text = with_user(&file.text, user, "")
            .ok_or_else(|| Failure::NoUser(file.path.clone(), user.clone()))?;
        file.replace(&text)?;
        return Ok(format!("{user:?} is deleted"));
    }
    let is_fit = (1..=MAX_USER_BYTES).contains(&user.len()) && !user.starts_with('#');
    if !is_fit || user.contains(|c: char| c == ':' || c.is_control()) {
        return Err(Failure::BadUser(user.clone()));
    }
    // Before the file is locked: nobody should wait for somebody who types.
    let hash = match password {
        Some(password) => make(password.as_bytes(), form)?,
        None => make(&ask().map_err(Failure::NoPassword)??, form)?,
    };
    let file = if *create { PasswordFile::create(file)? } else { PasswordFile::open(file)? };
    let line = format!("{user}:{hash}\n");
    match with_user(&file.text, user, &line) {
        Some(text) => {
            file.replace(&text)?;
            Ok(format!("{user:?} has another password"))
        }
        None => {
            let mut text = file.text.clone();
            if text.last().is_some_and(|&last| last != b'\n') {
                text.push(b'\n');
            }
            text.extend_from_slice(line.as_bytes());
            file.replace(&text)?;
            Ok(format!("{user:?} is added"))
        }
    }
}

/// Hashes what is in plain text.
fn hash_all(file: &PasswordFile, form: Make) -> Result<String, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(file.text.len()));
    let mut hashed = 0;
    for (number, line) in (1..).zip(file.text.split_inclusive(|&c| c == b'\n')) {
        match Line::parse(line) {
            // A password that begins like a hash is more likely a broken hash, and an error below.
            Ok(Line::User { user, secret }) if !Hash::is_meant(secret) => {
                let hash = make(secret.as_bytes(), form).map_err(|failure| match failure {
                    Failure::BadPassword => Failure::Unhashable { path: file.path.clone(), line: number },
                    other => other,
                })?;
                let end = line.get(user.len() + 1 + secret.len()..).unwrap_or_default();
                text.extend_from_slice(format!("{user}:{hash}").as_bytes());
                text.extend_from_slice(end);
                hashed += 1;
            }
            _ => text.extend_from_slice(line),
        }
    }
    let table = Table::parse(&file.path.as_path().into(), &text).map_err(Failure::Table)?;
    file.replace(&text)?;
    Ok(format!("{hashed} passwords hashed, of {} users", table.len()))
}

/// The text with a user's line replaced, or without it; none if the user has none. Further lines of the same user go.
fn with_user(text: &[u8], user: &str, line: &str) -> Option<Zeroizing<Vec<u8>>> {
    let is_users = |line: &[u8]| {
        line.first() != Some(&b'#')
            && line.strip_prefix(user.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
    };
    let mut changed = Zeroizing::new(Vec::with_capacity(text.len() + line.len()));
    let mut found = false;
    for old in text.split_inclusive(|&c| c == b'\n') {
        if !is_users(old) {
            changed.extend_from_slice(old);
        } else if !std::mem::replace(&mut found, true) {
            changed.extend_from_slice(line.as_bytes());
        }
    }
    found.then_some(changed)
}

/// The hash of a password, with a fresh salt.
fn make(password: &[u8], form: Make) -> Result<String, Failure> {
    if password.is_empty() {
        return Err(Failure::EmptyPassword);
    }
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(Failure::Random)?;
    Hash::make(password, form, random).ok_or(Failure::BadPassword)
}

/// Asks for a password, twice and without showing it; or reads it if nobody is there to ask.
fn ask() -> io::Result<Result<Zeroizing<Vec<u8>>, Failure>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let mut line = Zeroizing::new(Vec::new());
        // One byte more than is taken, and the end of the line: a longer one is refused and not cut.
        stdin.lock().take(MAX_PASSWORD_BYTES as u64 + 3).read_until(b'\n', &mut line)?;
        let length =
            line.strip_suffix(b"\n").map_or(&line[..], |line| line.strip_suffix(b"\r").unwrap_or(line)).len();
        line.truncate(length);
        return Ok(Ok(line));
    }
    let first = Zeroizing::new(rpassword::prompt_password("Password: ")?);
    let second = Zeroizing::new(rpassword::prompt_password("The same again: ")?);
    if first != second {
        return Ok(Err(Failure::Different));
    }
    Ok(Ok(Zeroizing::new(first.as_bytes().to_vec())))
}

/// A password file that no other `sol passwd` changes as long as this lives.
struct PasswordFile {
    path: PathBuf,
    text: Zeroizing<Vec<u8>>,
    old: Option<fs::Metadata>,
    /// Locked: the file itself is replaced.
    directory: Directory,
}

impl PasswordFile {
    /// Reads the file.
    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Missing(path.to_owned()),
            _ => Failure::File(path.to_owned(), error),
        };
        // A symbolic link stays one.
        let target = path.canonicalize().map_err(failed)?;
        let directory = Directory::lock(&target)?;
        let file = File::open(&target).map_err(failed)?;
        let old = file.metadata().map_err(failed)?;
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(Failure::TooLarge(path.to_owned()));
        }
        Ok(Self { path: target, text, old: Some(old), directory })
    }

    /// A file that is not there yet.
    fn create(path: &Path) -> Result<Self, Failure> {
        let directory = Directory::lock(path)?;
        if path.symlink_metadata().is_ok() {
            return Err(Failure::Exists(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), text: Zeroizing::default(), old: None, directory })
    }

    /// Puts another file in its place, for its owner alone.
    fn replace(&self, text: &[u8]) -> Result<(), Failure> {
        if self.old.is_some() && text == self.text.as_slice() && !self.is_open_to_others() {
            return Ok(());
        }
        let replace = || -> io::Result<()> {
            let mut new = NamedTempFile::with_prefix_in(".passwd-", &self.directory.path)?;
            if let Some(old) = &self.old {
                keep_owner(new.as_file(), old)?;
            }
            new.write_all(text)?;
            new.as_file().sync_all()?;
            match self.old {
                Some(_) => new.persist(&self.path)?,
                None => new.persist_noclobber(&self.path)?,
            };
            self.directory.sync()
        };
        replace().map_err(|error| Failure::File(self.path.clone(), error))
    }

    #[cfg(unix)]
    fn is_open_to_others(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.old.as_ref().is_some_and(|old| old.mode() & 0o7777 & !OWNER != 0)
    }

    #[cfg(not(unix))]
    fn is_open_to_others(&self) -> bool {
        false
    }
}

/// What the owner of a password file may do with it.
#[cfg(unix)]
const OWNER: u32 = 0o600;

/// Gives the new file the owner of the old one, and no more permissions.
#[cfg(unix)]
fn keep_owner(new: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let made = new.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(fs::Permissions::from_mode(old.mode() & OWNER))
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// The directory of a password file.
struct Directory {
    path: PathBuf,
    #[cfg(unix)]
    file: File,
}

impl Directory {
    /// The one that the file is in, once no other `sol passwd` is at work in it.
    fn lock(file: &Path) -> Result<Self, Failure> {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let path = parent.unwrap_or(Path::new(".")).to_owned();
        #[cfg(unix)]
        {
            let open = || {
                let file = File::open(&path)?;
                rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
                Ok(file)
            };
            let file = open().map_err(|error| Failure::File(path.clone(), error))?;
            Ok(Self { path, file })
        }
        #[cfg(not(unix))]
        Ok(Self { path })
    }

    /// Writes the renaming to the disk.
    fn sync(&self) -> io::Result<()> {
        #[cfg(unix)]
        self.file.sync_all()?;
        Ok(())
    }
}
