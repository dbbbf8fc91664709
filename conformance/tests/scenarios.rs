//! One test a scenario and version: `cargo test -p conformance`, filtered by name as usual.
//!
//! Against the bundled broker, or with `BROKER_URL=mqtt://host:port` against that one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use conformance::scenario::{Duty, Scenario, load};
use conformance::target::Target;
use conformance::verdict::{Outcome, Verdict};
use conformance::{Version, run};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Scenarios mostly wait, so more of them run at once than there are processors.
const THREADS: usize = 16;

fn main() -> ExitCode {
    match tests() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn tests() -> Result<ExitCode, String> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let scenarios =
        load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")).map_err(|e| e.to_string())?;

    let tested = if arguments.list { Tested::nobody() } else { Tested::start()? };
    let conclusion = libtest_mimic::run(&arguments, trials(scenarios, &Arc::new(tested.target)));
    if let Some(broker) = tested.bundled {
        broker.stop();
    }
    Ok(conclusion.exit_code())
}

/// Whom the scenarios run against.
struct Tested {
    target: Target,
    /// The broker of this repository, in this process.
    bundled: Option<sol::Broker>,
}

impl Tested {
    /// The broker at `BROKER_URL`, or else the bundled one. Found out once, so that a broker which is not there is one
    /// error and not one for each scenario.
    fn start() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).ok();
        let (target, bundled, name) = match variable("BROKER_URL") {
            Some(url) => {
                let target = Target::from_url(&url).map_err(|error| format!("BROKER_URL: {error}"))?;
                (target, None, format!("BROKER_URL={url}"))
            }
            None => {
                // Room for the scenarios that need `large-packets`.
                let limits = sol::Limits { max_packet_bytes: 4 << 20, ..sol::Limits::default() };
                let broker = sol::Broker::start(sol::Config {
                    limits,
                    ..sol::Config::on((Ipv4Addr::LOCALHOST, 0).into())
                })
                .map_err(|error| format!("the bundled broker does not start: {error}"))?;
                let target = Target { promises: true, ..Target::new(broker.local_addr()) };
                (target, Some(broker), "the bundled broker".to_owned())
            }
        };
        let target = target.configured(variable);
        target.probe().map_err(|error| format!("{name}: {error}"))?;
        Ok(Tested { target, bundled })
    }

    /// For `--list`, which needs no broker.
    fn nobody() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Tested { target: Target::new(nowhere), bundled: None }
    }
}

fn trials(scenarios: Vec<Scenario>, target: &Arc<Target>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for scenario in scenarios.into_iter().map(Arc::new) {
        let versions = Version::ALL.into_iter().filter(|version| version.is_spoken());
        for version in
            versions.filter(|version| scenario.proves.iter().any(|proof| proof.version == *version))
        {
            let (scenario, target) = (scenario.clone(), target.clone());
            let name = run::name(&scenario, version);
            trials.push(Trial::ignorable_test(name, move || judge(&run::run(&scenario, version, &target))));
        }
    }
    trials
}

/// Failures fail the test, with the whole report; warnings and notes are printed beside it; what is skipped says why.
fn judge(verdict: &Verdict) -> Result<Completion, Failed> {
    match &verdict.outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(Duty::Must, _) => Err(verdict.to_string().into()),
        Outcome::Failed(Duty::Should | Duty::May, _) => {
            eprintln!("{verdict}");
            Ok(Completion::Completed)
        }
    }
}
