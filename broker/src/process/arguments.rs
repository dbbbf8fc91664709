//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{ctl, importing, manual, passwd, stored};

/// An MQTT broker: MQTT 3.1, 3.1.1 and 5.0.
///
/// Exit codes: 0 after a stop in order, 2 for a wrong command line, 78 for a wrong configuration,
/// 1 for anything else.
#[derive(Parser)]
#[command(name = "sol", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// Address to listen on; 0.0.0.0 lets other machines in [default: 127.0.0.1]
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) address: Option<IpAddr>,

    /// Port to listen on; 0 takes a free one [default: 1883]
    #[arg(short, long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    /// Configuration file; what is given here wins over it [default: /etc/sol/sol.conf, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Log every connection as it comes and goes
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Log warnings and errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Run in the background; return when clients can connect
    #[arg(short, long)]
    pub(crate) daemon: bool,

    /// Read the configuration and all files it names, say "ok" or everything that is wrong, and end
    #[arg(short, long)]
    pub(crate) test_config: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What `sol` does beside being a broker.
#[derive(Subcommand)]
pub(crate) enum Command {
    Ctl(ctl::Arguments),
    Passwd(passwd::Arguments),
    Store(stored::Arguments),
    ImportMosquitto(importing::Arguments),
    Completions(manual::Completions),
    // For whoever makes packages.
    #[command(hide = true)]
    Man(manual::Pages),
}
