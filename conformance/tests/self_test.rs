//! Every scenario can fail, and every fault is noticed: the scenarios are played through the fault injector.

// Helpers of tests are tests, which clippy.toml does not see outside `#[test]` functions.
#![allow(clippy::expect_used)]

mod bundled;

use std::path::Path;

use bundled::Bundled;
use conformance::injector::{Options, self_test};
use conformance::probe::find_out;
use conformance::scenario::load;

/// `SELF_TEST=full` plays every pair that makes sense; `SELF_TEST=write` does, and writes the table anew.
/// `SELF_TEST_SHOW=name` prints how the scenarios fare with this fault.
#[test]
fn every_scenario_can_fail_and_every_fault_is_noticed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenarios = load(&directory.join("../scenarios")).unwrap_or_else(|error| panic!("{error}"));
    let (bundled, mut targets) = Bundled::start().unwrap_or_else(|error| panic!("{error}"));
    // The open listener first: looking at passwords takes time.
    targets.swap(0, 1);
    for target in &mut targets {
        find_out(target).unwrap_or_else(|error| panic!("{error}")).apply(target);
    }

    let shown = std::env::var("SELF_TEST_SHOW").unwrap_or_default();
    let mode = std::env::var("SELF_TEST").unwrap_or_default();
    let options = Options { full: !mode.is_empty(), ..Options::default() };
    let report = self_test(&scenarios, &targets, options, |trial| {
        if trial.fault.is_some_and(|fault| fault.name == shown) {
            println!("{}", trial.verdict);
        }
    });
    bundled.stop();
    println!("{report}");
    if mode == "write" {
        std::fs::write(directory.join("src/injector/faults.tsv"), report.table()).expect("written");
    }
    let disturbed: Vec<_> = report.disturbed().map(|trial| &trial.scenario).collect();
    let uncaught: Vec<_> = report.uncaught().iter().map(|fault| fault.name).collect();
    assert!(disturbed.is_empty(), "fail without any fault: {disturbed:#?}");
    assert!(uncaught.is_empty(), "noticed by no scenario: {uncaught:#?}");
    assert!(report.unseen().is_empty(), "never seen failing: {:#?}", report.unseen());
    assert!(report.statements().missing.is_empty(), "never seen broken: {:#?}", report.statements().missing);
}
