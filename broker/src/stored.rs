//! `sol store`: looks into the directory in which a broker keeps what must survive, while no broker runs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use sol::store::files::{Directory, DirectoryError};
use sol::store::{self, Log, OpenError, Survey};
use thiserror::Error;

use crate::process;

/// Check, show or repair what a broker keeps on the disk
///
/// The broker must not run meanwhile. Exit codes: 0 if the store is whole, 1 if something is lost or for any error.
#[derive(Args)]
#[command(subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read everything, and say what is broken; nothing is changed
    Check {
        /// The directory of the store
        dir: PathBuf,
    },
    /// Print everything, one record a line; nothing is changed
    Dump {
        /// The directory of the store
        dir: PathBuf,
    },
    /// Make a store of all that is good in a broken one
    ///
    /// The new store takes the place of the broken one, which is kept as DIR.broken.
    Repair {
        /// Do it, rather than only say what is lost
        #[arg(long)]
        yes: bool,

        /// The directory of the store
        dir: PathBuf,
    },
}

#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Directory(#[from] DirectoryError),
    #[error("the store in {}: {}", .0.display(), .1)]
    Open(PathBuf, OpenError),
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    #[error("{} is there already: remove it if it is not needed", .0.display())]
    Exists(PathBuf),
    #[error("nothing was changed: --yes makes a store without what is lost, and keeps this one as {}", .0.display())]
    NotAsked(PathBuf),
}

/// Does it, and says what came of it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    // Each file of the store is open meanwhile.
    process::raise_open_files();
    let whole = match &arguments.command {
        Command::Check { dir } => check(dir),
        Command::Dump { dir } => dump(dir),
        Command::Repair { dir, yes } => repair(dir, *yes),
    };
    match whole {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("sol store: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing is lost.
fn check(dir: &Path) -> Result<bool, Failure> {
    let mut records = 0_u64;
    let survey = survey(dir, &mut |_| records += 1)?;
    let bytes: u64 = survey.segments.iter().map(|(_, bytes)| bytes).sum();
    println!(
        "{} segments of {bytes} bytes, {} frames with {records} records",
        survey.segments.len(),
        survey.frames
    );
    tell(&survey);
    Ok(survey.lost.is_empty())
}

fn dump(dir: &Path) -> Result<bool, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let survey = survey(dir, &mut |line| {
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    })?;
    match written.and_then(|()| out.flush()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(true),
        written => written.map_err(|error| Failure::File("standard output".into(), error))?,
    }
    survey.lost.iter().for_each(|defect| eprintln!("lost: {defect}"));
    Ok(survey.lost.is_empty())
}

/// Walks through a store, with a line for each record.
fn survey(dir: &Path, line: &mut dyn FnMut(&str)) -> Result<Survey, Failure> {
    let files = Arc::new(Directory::open_existing(dir)?);
    let survey = Log::survey(files, &mut |place, frame| {
        let at = format!("{:010}.log {}", place.segment, place.offset);
        store::describe(frame, &mut |record| line(&format!("{at} {record}")))
            .map_err(|error| store::CorruptPayload(error.to_string()))
    });
    survey.map_err(|error| Failure::Open(dir.to_owned(), error))
}

fn tell(survey: &Survey) {
    for cut in &survey.cuts {
        println!(
            "not whole, and never acknowledged: {}: {} bytes, which the broker cuts off",
            cut.defect, cut.bytes
        );
    }
    for defect in &survey.lost {
        println!("lost: {defect}");
    }
    if survey.lost.is_empty() {
        println!("nothing is lost");
    }
}

/// Whether there is a whole store now.
fn repair(dir: &Path, is_asked: bool) -> Result<bool, Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::File(path, error)
    };
    // Where a link leads to; it stays.
    let dir = &dir.canonicalize().map_err(failed(dir))?;
    let found = survey(dir, &mut |_| ())?;
    tell(&found);
    if found.lost.is_empty() {
        return Ok(true);
    }
    let (repaired, broken) = (beside(dir, ".repaired"), beside(dir, ".broken"));
    if !is_asked {
        return Err(Failure::NotAsked(broken));
    }
    if let Some(path) = [&repaired, &broken].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Failure::Exists(path.clone()));
    }
    // Both stay locked to the end.
    let from = Arc::new(Directory::open_existing(dir)?);
    let to = Arc::new(Directory::open(&repaired)?);
    store::repair(from.clone(), to.clone()).map_err(|error| Failure::Open(repaired.clone(), error))?;
    keep_owner(&repaired, dir).map_err(failed(&repaired))?;
    fs::rename(dir, &broken).map_err(failed(dir))?;
    fs::rename(&repaired, dir).map_err(failed(&repaired))?;
    sync_parent(dir).map_err(failed(dir))?;
    println!("{} holds what is good, and {} all that there was", dir.display(), broken.display());
    Ok(true)
}

/// The same path with more at its end.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut path = dir.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Gives a directory and what is in it the owner of another one: the broker's user, if this one is root.
#[cfg(unix)]
fn keep_owner(new: &Path, old: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown};

    let (made, owner) = (new.metadata()?, old.metadata()?);
    if (made.uid(), made.gid()) != (owner.uid(), owner.gid()) {
        for entry in fs::read_dir(new)? {
            lchown(entry?.path(), Some(owner.uid()), Some(owner.gid()))?;
        }
        lchown(new, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

/// So that the new names last.
#[cfg(unix)]
fn sync_parent(dir: &Path) -> io::Result<()> {
    dir.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

#[cfg(not(unix))]
fn sync_parent(_: &Path) -> io::Result<()> {
    Ok(())
}
