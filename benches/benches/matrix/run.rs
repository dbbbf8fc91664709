//! Which brokers, how, in which order.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use benches::load::{Naps, Terms};
use benches::options::{self, Common, Effort};
use benches::peers::{Broker, Identity, Kind, Setting, allow_many_sockets};
use clap::Parser;
use sol::codec::Version;

use super::cells::{self, Cell};
use super::report::Report;

/// Sol beside its peers over loopback.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Runs of each broker in each cell [default: 5; 1 if quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each run publishes, in seconds [default: 2; 0.25 if quick]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Which brokers, of sol, mosquitto, rumqttd and nats-server
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    brokers: Vec<String>,
    /// MQTT 5
    #[arg(long)]
    v5: bool,
    /// Over TLS
    #[arg(long)]
    tls: bool,
    /// Brokers store what is to outlive them, and the clients' sessions are to
    #[arg(long)]
    persistence: bool,
    /// How long the client naps between two looks at its sockets, in µs; 0 for not at all [default: as it sees fit]
    #[arg(long, value_name = "US")]
    coalesce: Option<u64>,
}

pub(crate) fn main() -> ExitCode {
    options::end(run(&Options::parse()))
}

fn run(options: &Options) -> io::Result<()> {
    let effort = options.common.effort();
    let cells: Vec<_> =
        cells::all(effort).into_iter().filter(|cell| options.common.wants(&cell.name)).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let is_unknown = |name: &&String| Kind::ALL.iter().all(|kind| kind.name() != *name);
    if let Some(name) = options.brokers.iter().find(is_unknown) {
        let names = Kind::ALL.map(Kind::name).join(", ");
        return Err(io::Error::other(format!("no broker is called {name}; there are {names}")));
    }
    allow_many_sockets()?;
    let setting = options.setting()?;
    let mut brokers = Vec::new();
    let mut missing = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| options.asks_for(*kind, effort)) {
        match Broker::find(kind, Path::new(env!("CARGO_BIN_EXE_serve")), &setting) {
            Ok(broker) => brokers.push(broker),
            Err(why) => missing.push(why),
        }
    }
    let labels = brokers.iter().map(|broker| broker.label().to_owned()).collect();
    let mut report = Report::new(options.title(effort), labels);
    for why in missing {
        eprintln!("{why}");
        report.note(why);
    }
    let mut failures_of_ours = 0;
    for cell in &cells {
        for round in 0..options.rounds(effort) {
            // All brokers beside one another; each is the first of them in turn.
            let order = (0..brokers.len()).map(|place| (place + round) % brokers.len());
            for (number, broker) in order.filter_map(|number| Some((number, brokers.get(number)?))) {
                match one(cell, broker, &setting, options, effort) {
                    Ok(values) => report.add(&cell.name, number, round, values),
                    Err(error) => {
                        eprintln!("{} failed in {}: {error}", broker.label(), cell.name);
                        report.fail(&cell.name, broker.label(), &error);
                        failures_of_ours += usize::from(broker.kind() == Kind::Sol);
                    }
                }
            }
        }
        eprint!("{}", report.last());
    }
    let directory = options.common.directory(env!("CARGO_TARGET_TMPDIR"), "matrix");
    report.write(&directory)?;
    println!("{}\nAlso in {}/matrix.md, .svg and .csv\n", report.table(), directory.display());
    if failures_of_ours > 0 {
        return Err(io::Error::other(format!("sol failed in {failures_of_ours} runs")));
    }
    Ok(())
}

/// A run against a broker that is started for it.
fn one(
    cell: &Cell,
    broker: &Broker,
    setting: &Setting,
    options: &Options,
    effort: Effort,
) -> io::Result<Vec<cells::Value>> {
    let peer = broker.start(setting)?;
    cell.run(&peer, setting, options.time(effort), options.naps())
}

impl Options {
    fn setting(&self) -> io::Result<Setting> {
        let (identity, tls) = if self.tls { Some(Identity::new()?) } else { None }.unzip();
        let version = if self.v5 { Version::V5 } else { Version::V311 };
        Ok(Setting {
            terms: Terms { version, kept: self.persistence, tls },
            identity: identity.map(Arc::new),
            persistence: self.persistence,
            sol: String::new(),
        })
    }

    fn asks_for(&self, kind: Kind, effort: Effort) -> bool {
        match self.brokers.as_slice() {
            [] => effort != Effort::Trial || kind == Kind::Sol,
            named => named.iter().any(|name| name == kind.name()),
        }
    }

    fn rounds(&self, effort: Effort) -> usize {
        self.rounds.unwrap_or(if effort == Effort::Full { 5 } else { 1 })
    }

    fn time(&self, effort: Effort) -> Duration {
        match (self.seconds, effort) {
            (Some(seconds), _) => Duration::from_secs_f64(seconds.clamp(0.0, 3600.0)),
            (None, Effort::Full) => Duration::from_secs(2),
            (None, Effort::Quick) => Duration::from_millis(250),
            (None, Effort::Trial) => Duration::from_millis(20),
        }
    }

    fn naps(&self) -> Naps {
        match self.coalesce {
            None => Naps::Auto,
            Some(0) => Naps::None,
            Some(microseconds) => Naps::Fixed(Duration::from_micros(microseconds)),
        }
    }

    /// `MQTT 5, TLS, persistence true, no naps · 5 rounds of 2 s`
    fn title(&self, effort: Effort) -> String {
        let version = if self.v5 { "MQTT 5" } else { "MQTT 3.1.1" };
        let mut title = version.to_owned();
        for (is_so, what) in [(self.tls, ", TLS"), (self.persistence, ", persistence true")] {
            title.push_str(if is_so { what } else { "" });
        }
        match self.naps() {
            Naps::Auto => {}
            Naps::None => title.push_str(", no naps"),
            Naps::Fixed(nap) => title.push_str(&format!(", naps of {nap:?}")),
        }
        format!("{title} · {} rounds of {:?}", self.rounds(effort), self.time(effort))
    }
}
