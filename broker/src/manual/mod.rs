//! `sol completions` and `sol man`: what packages install beside the program.

mod conf;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::process;

/// Print what a shell needs to complete this command's options
///
/// For example: sol completions bash >/etc/bash_completion.d/sol
#[derive(Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

/// Write the manual pages sol(1), one for each subcommand, and sol.conf(5)
#[derive(Args)]
pub(crate) struct Pages {
    /// The directory to write them to; it is made if it is not there
    dir: PathBuf,
}

pub(crate) fn complete(Completions { shell }: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut process::Arguments::command(), "sol", &mut script);
    told(io::stdout().write_all(&script), "cannot print it")
}

pub(crate) fn write(Pages { dir }: &Pages) -> ExitCode {
    let written = fs::create_dir_all(dir).and_then(|()| {
        commands(process::Arguments::command(), dir)?;
        fs::write(dir.join("sol.conf.5"), conf::page())
    });
    told(written, &format!("cannot write to {}", dir.display()))
}

/// A page for a command and each below it.
fn commands(command: Command, dir: &Path) -> io::Result<()> {
    // Nobody looks for a page of `help`.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        Man::new(command).source(conf::SOURCE).manual("Sol").generate_to(dir)?;
    }
    Ok(())
}

fn told(done: io::Result<()>, what: &str) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sol: {what}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        commands(process::Arguments::command(), dir.path()).unwrap();
        for name in ["sol.1", "sol-passwd.1", "sol-store.1", "sol-store-check.1"] {
            let page = fs::read_to_string(dir.path().join(name)).unwrap();
            assert!(page.contains(".TH") && page.contains(".SH NAME"), "{page}");
        }
        assert!(!dir.path().join("sol-man.1").exists(), "it is hidden");
    }
}
