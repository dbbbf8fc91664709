//! Which curves, and how far.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use benches::options::{self, Common, Effort};
use benches::peers::{Broker, Peer, Setting, allow_many_sockets};
use clap::Parser;

use super::measure::{self, Numbers};
use super::report::{self, Curve};

/// How Sol grows.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Runs of each point [default: 3; 1 if quick]
    #[arg(long)]
    rounds: Option<usize>,
}

type Measure = fn(&Peer, usize, Duration) -> io::Result<Numbers>;

/// A curve before it is measured.
struct Plan {
    name: &'static str,
    what: &'static str,
    sizes: Vec<usize>,
    measure: Measure,
}

pub(crate) fn main() -> ExitCode {
    options::end(run(&Options::parse()))
}

fn run(options: &Options) -> io::Result<()> {
    let effort = options.common.effort();
    let (rounds, time) = match effort {
        Effort::Trial => (1, Duration::from_millis(20)),
        Effort::Quick => (1, Duration::from_millis(250)),
        Effort::Full => (3, Duration::from_secs(2)),
    };
    allow_many_sockets()?;
    let broker = Broker::sol(Path::new(env!("CARGO_BIN_EXE_serve")));
    let mut curves = Vec::new();
    for Plan { name, what, sizes, measure } in plans(effort) {
        let name = format!("growth/{name}");
        if !options.common.wants(&name) {
            continue;
        }
        let mut curve = Curve::new(name.clone(), what);
        for _ in 0..options.rounds.unwrap_or(rounds) {
            for size in &sizes {
                let mut setting = Setting::default();
                if name.ends_with("threads") {
                    setting.sol = format!("threads {size}\n");
                }
                let peer = broker.start(&setting)?;
                let numbers = measure(&peer, *size, time)
                    .map_err(|error| io::Error::new(error.kind(), format!("{name} {size}: {error}")))?;
                eprintln!("{name} {size}: {}", report::describe(&numbers));
                curve.add(*size, numbers);
            }
        }
        println!("{name}\n\n{}", curve.table());
        curves.push(curve);
    }
    if !curves.is_empty() {
        let directory = options.common.directory(env!("CARGO_TARGET_TMPDIR"), "growth");
        report::write(&curves, &directory)?;
        println!("Also in {}, with plots\n", directory.display());
    }
    Ok(())
}

fn plans(effort: Effort) -> Vec<Plan> {
    let sizes = |trial: &[usize], quick: &[usize], full: &[usize]| match effort {
        Effort::Trial => trial.to_vec(),
        Effort::Quick => quick.to_vec(),
        Effort::Full => full.to_vec(),
    };
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let threads: Vec<_> = [1, 2, 4, 8, 16].into_iter().filter(|threads| *threads <= cores.max(2)).collect();
    vec![
        Plan {
            name: "connections",
            what: "idle connections",
            // The last is all that 20,000 descriptors allow.
            sizes: sizes(&[10, 100], &[10, 1_000, 10_000], &[10, 100, 1_000, 10_000, 19_000]),
            measure: measure::connections,
        },
        Plan {
            name: "subscriptions",
            what: "subscriptions",
            sizes: sizes(&[10, 1_000], &[1_000, 100_000], &[1_000, 10_000, 100_000, 1_000_000]),
            measure: measure::subscriptions,
        },
        Plan {
            name: "topics",
            what: "topics",
            sizes: sizes(&[1, 100], &[1, 1_000, 100_000], &[1, 10, 100, 1_000, 10_000, 100_000, 999_999]),
            measure: measure::topics,
        },
        Plan {
            name: "retained",
            what: "retained messages",
            sizes: sizes(&[10, 1_000], &[1_000, 100_000], &[1_000, 10_000, 100_000, 1_000_000]),
            measure: measure::retained,
        },
        Plan {
            name: "fan-out",
            what: "subscribers of a topic",
            sizes: sizes(&[1, 10], &[1, 100, 10_000], &[1, 10, 100, 1_000, 10_000]),
            measure: measure::fan_out,
        },
        Plan { name: "threads", what: "threads", sizes: threads, measure: measure::threads },
    ]
}
