//! The arguments of the benches that are not criterion's.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use regex::Regex;

/// The arguments that all of them take. Those of criterion that mean nothing here are taken and passed over, since `cargo
/// bench -- …` gives the same ones to all benches.
#[derive(Clone, Debug, Parser)]
pub struct Common {
    /// Measure only what this regular expression finds in `group/what`
    pub filter: Option<Regex>,
    /// Roughly, in a minute or two
    #[arg(long)]
    pub quick: bool,
    /// Where tables and plots go [default: tmp/GROUP in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// That it is a bench: what cargo says. Without it all is only tried out
    #[arg(long, hide = true)]
    pub bench: bool,
    #[arg(long, hide = true)]
    test: bool,
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    verbose: bool,
    #[arg(long, hide = true)]
    noplot: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true, value_name = "…")]
    save_baseline: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    baseline: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    baseline_lenient: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    load_baseline: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    sample_size: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    warm_up_time: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    measurement_time: Option<String>,
    #[arg(long, hide = true, value_name = "…")]
    color: Option<String>,
}

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// As little as shows that it works.
    Trial,
    /// Roughly.
    Quick,
    /// As long as figures need.
    Full,
}

impl Common {
    /// How much to do.
    pub fn effort(&self) -> Effort {
        match self {
            Self { bench: false, .. } | Self { test: true, .. } => Effort::Trial,
            Self { quick: true, .. } => Effort::Quick,
            _ => Effort::Full,
        }
    }

    /// Whether this is to be measured. If only a list is asked for, it is printed, and is not.
    pub fn wants(&self, name: &str) -> bool {
        let wanted = match &self.filter {
            Some(filter) if self.exact => filter.as_str() == name,
            Some(filter) => filter.is_match(name),
            None => true,
        };
        if wanted && self.list {
            println!("{name}: benchmark");
        }
        wanted && !self.list
    }

    /// Where files go: below cargo's directory for them, or where the caller said.
    pub fn directory(&self, cargos: &str, group: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from(cargos).join(group))
    }
}

/// Tells what went wrong, if anything did.
pub fn end(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Common {
        Common::parse_from(["bench"].into_iter().chain(arguments.split_whitespace()))
    }

    #[test]
    fn criterions_arguments_mean_nothing() {
        let common = parse("--bench --save-baseline main --sample-size 10 p2p/.*/QoS");
        assert_eq!(common.effort(), Effort::Full);
        assert!(common.wants("p2p/1→1/QoS 1") && !common.wants("fan-out"));
        assert_eq!(parse("--bench --quick").effort(), Effort::Quick);
        assert_eq!(parse("").effort(), Effort::Trial);
        assert!(!parse("--bench --list").wants("p2p"));
    }

    #[test]
    fn files_go_where_the_caller_says() {
        assert_eq!(parse("").directory("/target/tmp", "growth"), PathBuf::from("/target/tmp/growth"));
        assert_eq!(parse("--out=/here").directory("/target/tmp", "growth"), PathBuf::from("/here"));
    }
}
