//! One test a scenario and version: `cargo test -p conformance`, filtered by name as usual.
//!
//! Against the bundled broker, or with `BROKER_URL=mqtt://host:port` against that one. The bundled broker runs most of them
//! over WebSocket too, marked `[ws]` and `[wss]`.

mod bundled;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bundled::Bundled;
use conformance::instance::PATIENCE;
use conformance::probe::find_out;
use conformance::scenario::{Duty, Scenario, load};
use conformance::target::Target;
use conformance::transport::{Endpoint, Trust};
use conformance::verdict::{Outcome, Verdict};
use conformance::{Version, run};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Scenarios mostly wait, so more of them run at once than there are processors.
const THREADS: usize = 16;

fn main() -> ExitCode {
    if let Some(code) = bundled::process::serve_if_told() {
        return code;
    }
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
    let conclusion = libtest_mimic::run(&arguments, trials(scenarios, &tested.targets));
    if let Some(bundled) = tested.bundled {
        bundled.stop();
    }
    Ok(conclusion.exit_code())
}

/// Whom the scenarios run against.
struct Tested {
    /// The first is for every scenario that it does not skip.
    targets: Vec<Arc<Target>>,
    /// The broker of this repository, in this process.
    bundled: Option<Bundled>,
}

impl Tested {
    /// The broker at `BROKER_URL`, or else the bundled one. Found out once, so that a broker which is not there is one
    /// error and not one for each scenario.
    fn start() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).ok();
        let (targets, bundled, name) = match variable("BROKER_URL") {
            Some(url) => {
                let target = Target::from_url(&url, &Trust::configured(variable));
                let target = target.map_err(|error| format!("BROKER_URL: {error}"))?;
                let target = match variable("BROKER_COMMAND") {
                    Some(command) => target.started(&command, PATIENCE),
                    None => Ok(target),
                };
                let target = target.map_err(|error| format!("BROKER_COMMAND: {error}"))?;
                (vec![target], None, format!("BROKER_URL={}", Target::shown(&url)))
            }
            None => {
                let (bundled, targets) = Bundled::start()?;
                (targets, Some(bundled), "the bundled broker".to_owned())
            }
        };
        // `BROKER_…` tell of the broker at `BROKER_URL`.
        let told = |name: &str| variable(name).filter(|_| bundled.is_none() || !name.starts_with("BROKER_"));
        let ready = |target: Target| {
            let mut target = target.configured(told).map_err(|error| error.to_string())?;
            let found = find_out(&mut target).map_err(|error| error.to_string())?;
            found.apply(&mut target);
            // What is said of the broker goes before what was found.
            target.configured(told).map(Arc::new).map_err(|error| error.to_string())
        };
        let targets: Result<_, String> = targets.into_iter().map(ready).collect();
        Ok(Tested { targets: targets.map_err(|error| format!("{name}: {error}"))?, bundled })
    }

    /// For `--list`, which needs no broker.
    fn nobody() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Tested { targets: vec![Arc::new(Target::new(nowhere))], bundled: None }
    }
}

fn trials(scenarios: Vec<Scenario>, targets: &[Arc<Target>]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for scenario in scenarios.into_iter().map(Arc::new) {
        for version in Version::ALL {
            if !scenario.versions().any(|found| found == version) {
                continue;
            }
            let mut fitting =
                targets.iter().filter(|target| run::skipped(&scenario, version, target).is_none());
            let Some(first) = fitting.next().or(targets.first()) else { continue };
            for target in std::iter::once(first).chain(fitting.filter(|target| !carrier(target).is_empty())) {
                let name = run::name(&scenario, version);
                let kind = carrier(target);
                let (scenario, target) = (scenario.clone(), target.clone());
                let run = move || judge(&run::run(&scenario, version, &target));
                trials.push(Trial::ignorable_test(name, run).with_kind(kind));
            }
        }
    }
    // One carrier after the other: those that take most are not to meet each other.
    trials.sort_by(|one, other| one.kind().cmp(other.kind()));
    trials
}

/// What carries MQTT, if it is WebSocket.
fn carrier(target: &Target) -> &'static str {
    match &target.endpoint {
        Endpoint::WebSocket(below, _) if matches!(**below, Endpoint::Tls(..)) => "wss",
        Endpoint::WebSocket(..) => "ws",
        _ => "",
    }
}

/// Failures fail the test, with the whole report; warnings and notes are printed beside it; what is skipped says why.
fn judge(verdict: &Verdict) -> Result<Completion, Failed> {
    match &verdict.outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(Duty::Must, _) | Outcome::Inconclusive(_) => Err(verdict.to_string().into()),
        Outcome::Failed(Duty::Should | Duty::May, _) => {
            eprintln!("{verdict}");
            Ok(Completion::Completed)
        }
    }
}
