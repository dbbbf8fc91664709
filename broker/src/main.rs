//! The command `sol`: a broker until it is told to stop.

mod passwd;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use async_signal::{Signal, Signals};
use clap::{Parser, Subcommand};
use flexi_logger::{DeferredNow, Logger};
use log::{LevelFilter, Record, error, info};
use smol::stream::StreamExt;
use sol::config::DEFAULT_PORT;
use sol::{Broker, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An MQTT broker: MQTT 3.1 and 3.1.1 over TCP.
#[derive(Parser)]
#[command(name = "sol", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(short, long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(short, long, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    port: u16,

    /// Log every connection as it comes and goes
    #[arg(short, long)]
    verbose: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Passwd(passwd::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Passwd(arguments)) = &arguments.command {
        return passwd::run(arguments);
    }
    let level = if arguments.verbose { LevelFilter::Debug } else { LevelFilter::Info };
    // Held until the end: dropping it flushes the log.
    let _log = match Logger::with(level).format(line).log_to_stderr().start() {
        Ok(log) => log,
        Err(error) => {
            eprintln!("sol: cannot log to standard error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    raise_open_files();
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let config = Config::on(SocketAddr::new(arguments.address, arguments.port));
    let threads = config.threads;
    let broker = Broker::start(config)?;
    for address in broker.local_addrs() {
        let reach = if address.ip().is_loopback() {
            "only this machine can reach it"
        } else {
            "anyone who can reach this address can connect"
        };
        info!(
            "sol {} listens on {address} with {threads} threads over {}: {reach}",
            env!("CARGO_PKG_VERSION"),
            broker.back_end()
        );
    }
    if let Some(signal) = smol::block_on(signals.next()) {
        info!("stops on {:?}", signal?);
    }
    broker.stop();
    info!("stopped");
    Ok(())
}

/// Each connection is an open file, and the usual limit of a thousand is meant for other programs.
#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("cannot raise the limit of open files from {:?}: {error}", limit.current);
    }
}

#[cfg(not(unix))]
fn raise_open_files() {}

/// `2026-01-31T12:00:00.000Z INFO  what happened`
fn line(to: &mut dyn std::io::Write, now: &mut DeferredNow, record: &Record<'_>) -> std::io::Result<()> {
    write!(
        to,
        "{} {:<5} {}",
        now.now_utc_owned().format("%Y-%m-%dT%H:%M:%S%.3fZ"),
        record.level(),
        record.args()
    )
}
