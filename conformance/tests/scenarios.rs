//! One test a scenario and version: `cargo test -p conformance`, filtered by name as usual.
//!
//! Against the bundled broker, or with `BROKER_URL=mqtt://host:port` against that one.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use conformance::scenario::{Duty, Scenario, load};
use conformance::target::Target;
use conformance::verdict::{Outcome, Verdict};
use conformance::{Version, run};
use libtest_mimic::{Arguments, Failed, Trial};

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

    let url = std::env::var("BROKER_URL").map_err(|_| "set BROKER_URL=mqtt://host:port".to_owned())?;
    let target = Target::from_url(&url).map_err(|error| format!("BROKER_URL: {error}"))?;
    let target = target.configured(|name| std::env::var(name).ok());
    if !arguments.list {
        target.probe().map_err(|error| format!("BROKER_URL={url}: {error}"))?;
    }
    Ok(libtest_mimic::run(&arguments, trials(scenarios, &Arc::new(target))).exit_code())
}

fn trials(scenarios: Vec<Scenario>, target: &Arc<Target>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for scenario in scenarios.into_iter().map(Arc::new) {
        let versions = Version::ALL.into_iter().filter(|version| version.is_spoken());
        for version in
            versions.filter(|version| scenario.proves.iter().any(|proof| proof.version == *version))
        {
            let (scenario, target) = (scenario.clone(), target.clone());
            let skipped = run::skipped(&scenario, &target).is_some();
            let name = run::name(&scenario, version);
            let trial = Trial::test(name, move || judge(&run::run(&scenario, version, &target)));
            trials.push(trial.with_ignored_flag(skipped));
        }
    }
    trials
}

/// Failures fail the test; warnings and notes are printed beside it.
fn judge(verdict: &Verdict) -> Result<(), Failed> {
    match &verdict.outcome {
        Outcome::Passed | Outcome::Skipped(_) => Ok(()),
        Outcome::Failed(Duty::Must, _) => Err(verdict.to_string().into()),
        Outcome::Failed(Duty::Should | Duty::May, _) => {
            eprintln!("{verdict}");
            Ok(())
        }
    }
}
