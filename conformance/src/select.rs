//! Which scenarios run: patterns for sections, statements and names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::scenario::Scenario;
use crate::{Version, run};

/// A scenario in one version.
#[derive(Clone, Debug)]
pub struct Item {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// The version to run it in.
    pub version: Version,
}

impl Item {
    /// `3.1.1/4.3-qos/qos1-is-acknowledged`
    pub fn name(&self) -> String {
        run::name(&self.scenario, self.version)
    }
}

/// Every scenario in each of its versions that is among `versions`, by version and name.
pub fn items(scenarios: Vec<Scenario>, versions: &[Version]) -> Vec<Item> {
    let scenarios: Vec<_> = scenarios.into_iter().map(Arc::new).collect();
    let of = |version: Version| {
        let its = scenarios.iter().filter(move |scenario| scenario.versions().any(|found| found == version));
        its.map(move |scenario| Item { scenario: scenario.clone(), version })
    };
    Version::ALL.into_iter().filter(|version| versions.contains(version)).flat_map(of).collect()
}

/// What a user may write to pick scenarios.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// `4.3`: the directory of this section or of one below it, and what cites a statement of it.
    Section(String),
    /// `MQTT-4.3.3-2`
    Statement(String),
    /// `4.3-qos`, `qos2-several-at-once`, with `*`, `?` and `[…]`: the name, with or without version and directory.
    Name(glob::Pattern),
}

impl Pattern {
    /// Whether it picks this scenario in this version.
    pub fn picks(&self, Item { scenario, version }: &Item) -> bool {
        match &self.what {
            What::Section(section) => {
                let directory = scenario.directory().split('-').next().unwrap_or_default();
                is_within(directory, section)
                    || scenario.cited(*version).any(|id| is_within(section_of(id), section))
            }
            What::Statement(id) => scenario.cited(*version).any(|cited| cited == id),
            What::Name(pattern) => {
                let bare = scenario.name.rsplit('/').next().unwrap_or_default();
                let whole = run::name(scenario, *version);
                [scenario.name.as_str(), bare, &whole, scenario.directory()]
                    .iter()
                    .any(|n| pattern.matches(n))
            }
        }
    }
}

impl Pattern {
    /// Whether it picks this statement, by its id or its section.
    pub fn names_statement(&self, id: &str) -> bool {
        match &self.what {
            What::Section(section) => is_within(section_of(id), section),
            What::Statement(found) => found == id,
            What::Name(pattern) => pattern.matches(id),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_section = text.contains(|c: char| c.is_ascii_digit())
            && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        let what = if is_section {
            What::Section(text.to_owned())
        } else if let Some(id) = statement_id(text) {
            What::Statement(id)
        } else {
            let glob = glob::Pattern::new(text);
            What::Name(glob.map_err(|error| format!("{error}: not a section, a statement or a name"))?)
        };
        Ok(Pattern { text: text.to_owned(), what })
    }
}

/// `MQTT-4.3.3-2`, however it is written: `[mqtt-4.3.3-2]`, `4.3.3-2`.
pub fn statement_id(text: &str) -> Option<String> {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']').to_ascii_uppercase();
    let (section, number) = bare.strip_prefix("MQTT-").unwrap_or(&bare).rsplit_once('-')?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let good = section.contains('.') && section.split('.').all(is_number) && is_number(number);
    good.then(|| format!("MQTT-{section}-{number}"))
}

/// The section of a statement: `4.3.3` of `MQTT-4.3.3-2`.
pub fn section_of(id: &str) -> &str {
    let bare = id.strip_prefix("MQTT-").unwrap_or(id);
    bare.rsplit_once('-').map_or(bare, |(section, _)| section)
}

/// Whether `section` is `outer` or below it.
fn is_within(section: &str, outer: &str) -> bool {
    section.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What `picked` picks (nothing written: everything) without what `skipped` picks.
///
/// # Errors
/// A pattern of `picked` that picks nothing, with what may have been meant.
pub fn select(items: &[Item], picked: &[Pattern], skipped: &[Pattern]) -> Result<Vec<Item>, String> {
    for pattern in picked.iter().chain(skipped) {
        if !items.iter().any(|item| pattern.picks(item)) {
            return Err(picks_nothing(items, pattern));
        }
    }
    let wanted = |item: &&Item| picked.is_empty() || picked.iter().any(|pattern| pattern.picks(item));
    let unwanted = |item: &&Item| skipped.iter().any(|pattern| pattern.picks(item));
    Ok(items.iter().filter(wanted).filter(|item| !unwanted(item)).cloned().collect())
}

fn picks_nothing(items: &[Item], pattern: &Pattern) -> String {
    let contains = |item: &&Item| item.name().contains(&pattern.text);
    let like = items.iter().filter(contains).count();
    match (&pattern.what, like) {
        (What::Name(_), 1..) => format!("no scenario is called {pattern}; `*{pattern}*` would pick {like}"),
        (What::Statement(_), _) => {
            format!("no scenario cites {pattern}; `conformance explain {pattern}` says why")
        }
        _ => format!("{pattern} picks no scenario; `conformance list` names them all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;

    fn all() -> Vec<Item> {
        let scenario = |name: &str, proves: &str| {
            parse(name, name, &format!("# x\n{proves}\nraw a\na < close\n")).expect("good")
        };
        let scenarios = vec![
            scenario("2-format/flags", "proves 3.1.1 [MQTT-2.2.2-1]"),
            scenario("4.3-qos/qos2-once", "proves 3.1.1 [MQTT-4.3.3-2]\nproves 5.0 [MQTT-4.3.3-10]"),
            scenario("4.7-topics/hash", "proves 3.1.1 [MQTT-4.7.1-2]"),
        ];
        items(scenarios, &Version::ALL)
    }

    fn picked(patterns: &[&str], skipped: &[&str]) -> Result<Vec<String>, String> {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("good")).collect::<Vec<_>>();
        let picked = select(&all(), &read(patterns), &read(skipped))?;
        Ok(picked.iter().map(Item::name).collect())
    }

    #[test]
    fn picks_by_section_statement_name_and_glob() {
        let qos = ["3.1.1/4.3-qos/qos2-once", "5.0/4.3-qos/qos2-once"];
        for pattern in ["4.3", "4.3.3", "4.3-qos", "qos2-once", "4.3-qos/qos2-once", "*qos2*", "4.3-qos/*"] {
            assert_eq!(picked(&[pattern], &[]).expect(pattern), qos, "{pattern}");
        }
        for pattern in ["MQTT-4.3.3-2", "[mqtt-4.3.3-2]", "4.3.3-2", "3.1.1/*once", "3.1.1/4.3-qos/qos2-once"]
        {
            assert_eq!(picked(&[pattern], &[]).expect(pattern), qos[..1], "{pattern}");
        }
        assert_eq!(picked(&["4"], &[]).expect("good").len(), 3);
        assert_eq!(picked(&[], &[]).expect("good").len(), 4);
        assert_eq!(picked(&[], &["4"]).expect("good"), ["3.1.1/2-format/flags"]);
        assert_eq!(picked(&["4", "2"], &["qos2-once"]).expect("good").len(), 2);
    }

    #[test]
    fn says_what_picks_nothing() {
        assert_eq!(
            picked(&["qos2"], &[]).expect_err("bad"),
            "no scenario is called qos2; `*qos2*` would pick 2"
        );
        let unknown = picked(&["9.9"], &[]).expect_err("bad");
        assert!(unknown.starts_with("9.9 picks no scenario"), "{unknown}");
        assert!(picked(&[], &["MQTT-9.9.9-9"]).expect_err("bad").starts_with("no scenario cites"));
        assert!("[".parse::<Pattern>().is_err());
    }
}
