//! The scenarios as a whole: every file is one, and cites statements that there are.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use conformance::Version;
use conformance::baseline::Baseline;
use conformance::scenario::{Duty, LoadError, Scenario, load};
use conformance::select::items;
use conformance::statements::{Statements, unproven};

fn scenarios() -> Vec<Scenario> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    load(&directory).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_cited_id_is_one_of_its_version() {
    let mut cited = 0;
    for scenario in scenarios() {
        for proof in &scenario.proves {
            let statements = Statements::of(proof.version);
            for found in &proof.ids {
                assert!(
                    statements.get(&found.id).is_some(),
                    "{}:{}: {}",
                    scenario.file,
                    found.line,
                    found.id
                );
                cited += 1;
            }
        }
    }
    assert!(cited > 100, "{cited}");
}

/// Loading refuses what the test above looks for, so that a wrong id is found where it is written.
#[test]
fn an_id_that_is_not_there_is_refused_where_it_stands() {
    let directory = std::env::temp_dir().join(format!("conformance-catalogue-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("wrong.scenario");
    std::fs::write(&file, "proves 3.1.1 [MQTT-1.5.3-1]\n  [MQTT-9.9.9-9]\n").expect("written");
    let no_step = load(&directory).expect_err("must be refused").to_string();
    std::fs::write(&file, "proves 3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.4-1]\nraw a\na < close\n").expect("written");
    let wrong_version = load(&directory);
    std::fs::remove_dir_all(&directory).expect("removed");

    assert!(no_step.starts_with("scenarios/wrong.scenario:2:3: expected an actor"), "{no_step}");
    let Err(LoadError::Parse(errors)) = wrong_version else { panic!("must be refused") };
    assert_eq!((errors[0].line, errors[0].column), (1, 29));
    assert_eq!(errors[0].expected, "a statement of statements-3.1.1.tsv");
}

/// What `cargo install` installs is what stands in the directory.
#[test]
fn the_scenarios_are_embedded() {
    let embedded = conformance::scenario::embedded().unwrap_or_else(|error| panic!("{error}"));
    let texts =
        |scenarios: Vec<Scenario>| scenarios.into_iter().map(|s| (s.name, s.text)).collect::<Vec<_>>();
    assert!(texts(embedded) == texts(scenarios()), "the embedded scenarios are old");
}

#[test]
fn every_scenario_says_in_plain_words_what_it_shows() {
    for scenario in scenarios() {
        assert!(!scenario.about.is_empty(), "{}: a comment on top", scenario.file);
    }
}

#[test]
fn there_are_scenarios_for_every_chapter() {
    let scenarios = scenarios();
    let of_3_1_1 =
        |scenario: &&Scenario| scenario.proves.iter().any(|proof| proof.version == Version::V3_1_1);
    assert!(scenarios.iter().filter(of_3_1_1).count() >= 60);
    let chapters: HashSet<_> =
        scenarios.iter().filter_map(|scenario| scenario.name.split('/').next()).collect();
    for chapter in
        ["1.5", "2", "3.1", "3.3", "3.8", "3.10", "3.12", "3.14", "4.3", "4.4", "4.6", "4.7", "4.8", "6"]
    {
        let prefix = format!("{chapter}-");
        assert!(chapters.iter().any(|found| found.starts_with(&prefix)), "{chapter}");
    }
}

/// Every statement is proven by a scenario that can fail against any broker, or stands in `unproven-VERSION.tsv`.
#[test]
fn every_statement_has_a_scenario_or_a_reason() {
    let scenarios = scenarios();
    for version in Version::ALL {
        let binding = scenarios.iter().filter(|found| found.duty == Duty::Must && found.promises.is_empty());
        let proven: HashSet<_> = binding.flat_map(|scenario| scenario.cited(version)).collect();
        let reasons: HashMap<_, _> = unproven(version).collect();
        let statements = Statements::of(version);
        for (id, statement) in statements.iter() {
            assert!(
                proven.contains(id) != reasons.get(id).is_some_and(|reason| !reason.is_empty()),
                "{version}: {id} ({}) has neither a scenario nor a reason, or both",
                statement.paraphrase
            );
        }
        let shows =
            |id: &str| statements.get(id).is_some_and(|s| s.duty != "client" && s.observable == "yes");
        let open: Vec<_> = reasons.keys().filter(|id| shows(id)).collect();
        assert!(open.is_empty(), "{version}: bind a broker and show from outside: {open:?}");
        let unknown: Vec<_> = reasons.keys().filter(|id| statements.get(id).is_none()).collect();
        assert!(unknown.is_empty(), "{version}: {unknown:?}");
    }
}

/// A deviation of a scenario that was renamed or removed would explain nothing. A row is `| SECTION: `NAME`, `NAME`;
/// SECTION: `NAME` | STATEMENT, STATEMENT | what the broker does |`; it is of 3.1.1 unless it stands below
/// `### MQTT 5.0`.
#[test]
fn every_deviation_names_scenarios_and_a_statement_they_cite() {
    let scenarios = scenarios();
    let page = include_str!("../../scenarios/DEVIATIONS.md");
    let (mut version, mut seen) = (Version::V3_1_1, HashSet::new());
    for line in page.lines() {
        if line.starts_with("## ") || line == "### MQTT 3.1.1" {
            version = Version::V3_1_1;
        } else if line == "### MQTT 5.0" {
            version = Version::V5_0;
        } else if line.starts_with("| ") && line.contains("MQTT-") {
            seen.insert(version);
            let cells: Vec<_> = line.split(" | ").collect();
            let mut cited = HashSet::new();
            for section in cells[0].trim_start_matches("| ").split("; ") {
                let (directory, names) = section.split_once(": ").expect("a section and names");
                for name in names.split('`').skip(1).step_by(2) {
                    let name = format!("{directory}/{name}");
                    let scenario = scenarios.iter().find(|scenario| scenario.name == name);
                    let scenario = scenario.unwrap_or_else(|| panic!("{name} is no scenario: {line}"));
                    assert!(scenario.cited(version).next().is_some(), "{name} is none of {version}: {line}");
                    cited.extend(scenario.cited(version));
                }
            }
            assert!(cells[1].split(", ").any(|id| cited.contains(id)), "none cites this: {line}");
        }
    }
    assert_eq!(seen.len(), Version::ALL.len(), "{seen:?}");
}

#[test]
fn every_baseline_of_a_peer_names_scenarios() {
    let known = items(scenarios(), &Version::ALL);
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ci/baselines");
    let files: Vec<_> = std::fs::read_dir(directory).expect("baselines").collect();
    assert!(!files.is_empty());
    for file in files {
        let file = file.expect("a file").path();
        let text = std::fs::read_to_string(&file).expect("text");
        Baseline::parse(&file.to_string_lossy(), &text, &known).unwrap_or_else(|errors| panic!("{errors}"));
    }
}
