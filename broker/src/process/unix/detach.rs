//! Going to the background.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::{ExitCode, exit};

use log::warn;
use nix::unistd::{ForkResult, fork};
use rustix::fs::Mode;
use rustix::process::{setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Whoever started the process: a service manager or a shell, or the process that stays in the foreground until this
/// one is ready.
pub(crate) struct Starter {
    waiting: Option<PipeWriter>,
}

impl Starter {
    /// Nobody waits.
    pub(crate) fn foreground() -> Self {
        Self { waiting: None }
    }

    /// Goes to the background: a session of its own without a terminal, `/` as directory, and nothing that it
    /// creates is for everybody. Returns there alone; the process before ends when this one is ready or fails.
    ///
    /// Standard error stays as it is until then.
    pub(crate) fn detach() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        if is_parent()? {
            drop(writer);
            exit(wait(reader).into());
        }
        drop(reader);
        setsid()?;
        // No longer the session's leader, so that no terminal it opens can become its own.
        if is_parent()? {
            exit(0);
        }
        umask(Mode::from_raw_mode(0o027));
        std::env::set_current_dir("/")?;
        Ok(Self { waiting: Some(writer) })
    }

    /// Clients can connect.
    pub(crate) fn ready(&mut self) {
        if let Some(mut waiting) = self.waiting.take() {
            if let Err(error) = null_stdio() {
                warn!("cannot leave the terminal: {error}");
            }
            // One that was killed does not wait any more.
            _ = waiting.write_all(&[0]);
        }
    }

    /// There will be no broker. Gives the exit code back.
    pub(crate) fn failed(&mut self, code: u8) -> ExitCode {
        if let Some(mut waiting) = self.waiting.take() {
            _ = waiting.write_all(&[code]);
        }
        code.into()
    }
}

/// The exit code that the background process says. One that died without a word has failed.
fn wait(mut background: PipeReader) -> u8 {
    let mut code = [0];
    match background.read_exact(&mut code) {
        Ok(()) => u8::from_be_bytes(code),
        Err(_) => {
            eprintln!("sol: the background process died at its start");
            1
        }
    }
}

#[expect(unsafe_code, reason = "std has no fork")]
fn is_parent() -> io::Result<bool> {
    // SAFETY: the new process may do everything only if no other thread could have held a lock at this moment.
    // `main` calls it before anything that starts a thread, and there is nothing behind it in the old process but
    // waiting and `exit`.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(true),
        ForkResult::Child => Ok(false),
    }
}

fn null_stdio() -> io::Result<()> {
    let null: File = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
