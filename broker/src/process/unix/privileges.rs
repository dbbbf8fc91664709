//! Becoming somebody with fewer rights.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, setgid, setuid};
use rustix::fs::OFlags;
use sol::config::Process;

/// Whom the process is to become.
pub(crate) struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} ({}, group {})", self.name, self.uid, self.gid)
    }
}

impl Identity {
    /// Whom the settings name, if they name anybody.
    ///
    /// # Errors
    ///
    /// The key whose value the system does not know, and what to do.
    pub(crate) fn find(settings: &Process) -> Result<Option<Self>, (&'static str, String)> {
        let Some(name) = &settings.user else { return Ok(None) };
        let missing = |kind: &str, name: &str| {
            format!("this system has no {kind} `{name}`: create it, or name another")
        };
        let user = match User::from_name(name) {
            Ok(Some(user)) => user,
            Ok(None) => return Err(("user", missing("user", name))),
            Err(error) => return Err(("user", format!("cannot look up `{name}`: {error}"))),
        };
        let gid = match &settings.group {
            None => user.gid,
            Some(group) => match Group::from_name(group) {
                Ok(Some(group)) => group.gid,
                Ok(None) => return Err(("group", missing("group", group))),
                Err(error) => return Err(("group", format!("cannot look up `{group}`: {error}"))),
            },
        };
        Ok(Some(Self { name: user.name, uid: user.uid, gid }))
    }

    /// Gives a file to it. Not through a link, which might lead to a file of somebody else.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().append(true).custom_flags(flags).open(path)?;
        fchown(file, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// Gives a directory and the files in it to it, if that is ours to do.
    pub(crate) fn own_directory(&self, path: &Path) -> io::Result<()> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        // First: the broker serves already, and what it makes from now on has the owner of the directory.
        fchown(directory, Some(self.uid.as_raw()), Some(self.gid.as_raw()))?;
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            match self.own(&entry.path()) {
                // It removes what it needs no more.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether this process may become it, or is it.
    pub(crate) fn is_within_reach(&self) -> bool {
        Uid::effective().is_root() || self.is_assumed()
    }

    fn is_assumed(&self) -> bool {
        (Uid::current(), Uid::effective()) == (self.uid, self.uid) && Gid::effective() == self.gid
    }

    /// Becomes it, with all threads and for good: its groups, its group, then the user, after which there is no way
    /// back.
    ///
    /// # Errors
    ///
    /// What to say. The process may have given up a part of its rights then, and must end.
    pub(crate) fn assume(&self) -> Result<(), String> {
        if self.is_assumed() {
            return Ok(());
        }
        let failed = |error| format!("cannot become {self}: {error}");
        self.assume_groups().map_err(failed)?;
        setgid(self.gid).and_then(|()| setuid(self.uid)).map_err(|error| failed(error.into()))?;
        if !self.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
            return Err(format!("could become root again after becoming {self}"));
        }
        Ok(())
    }

    #[cfg(not(target_vendor = "apple"))]
    fn assume_groups(&self) -> io::Result<()> {
        let name = std::ffi::CString::new(self.name.as_str())?;
        Ok(nix::unistd::initgroups(&name, self.gid)?)
    }

    /// There the directory service has its own idea of a process's groups.
    #[cfg(target_vendor = "apple")]
    fn assume_groups(&self) -> io::Result<()> {
        Err(io::Error::other("root's other groups cannot be given up on this system: start as that user"))
    }
}
