//! The file of a UNIX socket: made, with its permissions, and removed again. The one place that asks what system it is.

use std::io;
use std::path::Path;

use socket2::Socket;

/// A listening UNIX socket's file, removed when this is dropped.
pub(super) struct SocketFile {
    #[cfg(unix)]
    path: std::path::PathBuf,
    #[cfg(unix)]
    identity: (u64, u64),
}

/// Listens on a UNIX socket. A file that an ended process left there is replaced; a socket that is served, and any
/// other file, is not touched.
#[cfg(unix)]
pub(super) fn listen(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<(Socket, SocketFile)> {
    use socket2::{Domain, SockAddr, Type};

    // A daemon changes its directory.
    let path = std::path::absolute(path)?;
    remove_stale(&path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&path)?)?;
    let identity = identity(&path)?;
    let file = SocketFile { path, identity };
    // Nobody can connect before `listen`, whatever the permissions are until then.
    if let Some(mode) = mode {
        set_mode(&file.path, mode)?;
    }
    socket.listen(backlog)?;
    Ok((socket, file))
}

/// The socket's file gets those permissions.
#[cfg(unix)]
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// There is none.
#[cfg(not(unix))]
pub(super) fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::fs;
    use std::os::unix::fs::FileTypeExt;

    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let reason = "there is a file that is no socket: remove it, or choose another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        Ok(_) => {}
    }
    if is_served(path)? {
        let reason = "another process serves this socket: stop it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
    }
    match fs::remove_file(path) {
        // Another process did.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether a process accepts connections there.
#[cfg(unix)]
fn is_served(path: &Path) -> io::Result<bool> {
    use socket2::{Domain, SockAddr, Type};

    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that is too busy to accept must not hold up the start.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            // As many wait already as may.
            io::ErrorKind::WouldBlock => Ok(true),
            _ => Err(error),
        },
    }
}

/// What tells a file from all others, as long as it is there or open.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else's may be there by now.
        if identity(&self.path).is_ok_and(|there| there == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Refuses: there are none here.
#[cfg(not(unix))]
pub(super) fn listen(_: &Path, _: Option<u32>, _: i32) -> io::Result<(Socket, SocketFile)> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no UNIX sockets for this broker"))
}
