//! Every scenario can fail, and every fault is noticed: the scenarios are played through the fault injector.

// Helpers of tests are tests, which clippy.toml does not see outside `#[test]` functions.
#![allow(clippy::expect_used)]

mod bundled;

use std::path::Path;
use std::process::ExitCode;

use bundled::Bundled;
use conformance::Version;
use conformance::injector::{Options, self_test};
use conformance::probe::find_out;
use conformance::scenario::load;
use conformance::select::{Pattern, items, select};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = bundled::process::serve_if_told() {
        return code;
    }
    let test = || {
        every_scenario_can_fail_and_every_fault_is_noticed();
        Ok(())
    };
    let tests = vec![Trial::test("every_scenario_can_fail_and_every_fault_is_noticed", test)];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// `SELF_TEST=full` plays every pair that makes sense; `SELF_TEST=write` writes what was found into the table of faults.
/// `SELF_TEST_SHOW=name` prints how the scenarios fare with this fault. With `SELF_TEST_FAULTS=glob,glob` or
/// `SELF_TEST_SCENARIOS=pattern,pattern` there are only these, and what they leave open is no failure.
fn every_scenario_can_fail_and_every_fault_is_noticed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenarios = load(&directory.join("../scenarios")).unwrap_or_else(|error| panic!("{error}"));
    let (bundled, mut targets) = Bundled::start().unwrap_or_else(|error| panic!("{error}"));
    for target in &mut targets {
        find_out(target).unwrap_or_else(|error| panic!("{error}")).apply(target);
    }
    let versions: Vec<Version> = targets.iter().flat_map(|target| target.versions.clone()).collect();

    let (shown, mode) = (word("SELF_TEST_SHOW"), word("SELF_TEST"));
    let mut options = Options { full: mode == "full", ..Options::default() };
    let globs: Vec<_> =
        words("SELF_TEST_FAULTS").iter().map(|text| glob::Pattern::new(text).expect("a glob")).collect();
    options.faults.retain(|fault| globs.is_empty() || globs.iter().any(|glob| glob.matches(fault.name)));
    let patterns: Vec<Pattern> =
        words("SELF_TEST_SCENARIOS").iter().map(|text| text.parse().expect("a pattern")).collect();
    let all = items(scenarios, &versions);
    let items = select(&all, &patterns, &[]).expect("a scenario of this name");

    let report = self_test(&items, &targets, &options, |trial| {
        if trial.fault.is_some_and(|fault| fault.name == shown) {
            println!("{}", trial.verdict);
        }
    });
    bundled.stop();
    println!("{report}");
    let is_whole = globs.is_empty() && patterns.is_empty();
    if mode == "write" && is_whole {
        std::fs::write(directory.join("src/injector/faults.tsv"), report.table()).expect("written");
    }
    let disturbed: Vec<_> = report.disturbed().map(|trial| &trial.scenario).collect();
    assert!(disturbed.is_empty(), "fail without any fault: {disturbed:#?}");
    if !is_whole {
        return;
    }
    let uncaught = report.uncaught();
    let uncaught: Vec<_> =
        uncaught.iter().map(|(fault, version)| format!("{} {version}", fault.name)).collect();
    assert!(uncaught.is_empty(), "noticed by no scenario: {uncaught:#?}");
    assert!(report.unseen().is_empty(), "never seen failing: {:#?}", report.unseen());
    assert!(report.statements().missing.is_empty(), "never seen broken: {:#?}", report.statements().missing);
}

fn word(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}

fn words(variable: &str) -> Vec<String> {
    word(variable).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
