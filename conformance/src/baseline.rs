//! Expected failures, so that a gate can be closed before everything is mended.
//!
//! ```text
//! # a comment
//! 2-format/pingreq-with-flags-closes          # ignores the flags of PINGREQ
//! 3.1.1/3.3-publish/dup-with-qos0-closes      # in this version only
//! ?3.1-connect/keep-alive-ends-a-silent-connection   # in most runs
//! ```
//!
//! The reason stands behind `#` or a tab. `?` in front: it may fail or pass.

use std::fmt::Write as _;

use crate::select::Item;

/// The expected failures of one broker.
#[derive(Clone, Debug, Default)]
pub struct Baseline(Vec<Expected>);

/// One expected failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The scenario, with or without its version in front.
    pub name: String,
    /// Why it fails.
    pub reason: String,
    /// Whether it sometimes passes.
    pub sometimes: bool,
}

impl Baseline {
    /// Reads the lines of a file that is called `file` in errors. Every name must be one of `known`.
    ///
    /// # Errors
    /// Each line that has no reason or a name that is no scenario's.
    pub fn parse(file: &str, text: &str, known: &[Item]) -> Result<Self, String> {
        let (mut expected, mut errors) = (Vec::<Expected>::new(), String::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut wrong = |what: &str| {
                let _ = writeln!(errors, "{file}:{}: {what}", number + 1);
            };
            let (name, reason) = line.split_once(['#', '\t']).unwrap_or((line, ""));
            let reason = reason.trim().trim_start_matches('#').trim();
            let (name, sometimes) = match name.trim().strip_prefix('?') {
                Some(name) => (name.trim(), true),
                None => (name.trim(), false),
            };
            if !known.iter().any(|item| is_named(item, name)) {
                wrong(&format!("{name} is no scenario; `conformance list` names them all"));
            } else if reason.is_empty() {
                wrong(&format!("{name} needs a reason behind `#`"));
            } else if expected.iter().any(|earlier| earlier.name == name) {
                wrong(&format!("{name} stands here twice"));
            }
            expected.push(Expected { name: name.to_owned(), reason: reason.to_owned(), sometimes });
        }
        if errors.is_empty() { Ok(Baseline(expected)) } else { Err(errors.trim_end().to_owned()) }
    }

    /// What is expected of this scenario, if it is expected to fail. A line with the version goes before one without.
    pub fn get(&self, item: &Item) -> Option<&Expected> {
        let exact = self.0.iter().find(|expected| expected.name == item.name());
        exact.or_else(|| self.0.iter().find(|expected| is_named(item, &expected.name)))
    }
}

fn is_named(item: &Item, name: &str) -> bool {
    item.scenario.name == name || item.name() == name
}

/// The text of a file with these expected failures.
pub fn write(head: &str, expected: &[Expected]) -> String {
    let mut text = format!("# {head}\n");
    let name =
        |expected: &Expected| format!("{}{}", if expected.sometimes { "?" } else { "" }, expected.name);
    let width = expected.iter().map(|expected| name(expected).len()).max().unwrap_or(0);
    for line in expected {
        let reason = line.reason.replace(['\n', '\r'], " ");
        let _ = writeln!(text, "{:<width$}  # {reason}", name(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;
    use crate::scenario::parse;
    use crate::select::items;

    fn known() -> Vec<Item> {
        let text = "# x\nproves 3.1.1 [MQTT-4.3.3-2]\nproves 5.0 [MQTT-4.3.3-10]\nraw a\na < close\n";
        items(["a/one", "a/two"].map(|name| parse(name, name, text).expect("good")).into(), &Version::ALL)
    }

    #[test]
    fn reads_what_it_writes() {
        let lines =
            "\n# head\na/one # a reason # and more\n5.0/a/one\tonly there\n?3.1.1/a/two   # now and then\n";
        let baseline = Baseline::parse("b.txt", lines, &known()).expect("good");
        let again = Baseline::parse("b.txt", &write("head", &baseline.0), &known()).expect("good");
        assert_eq!(baseline.0, again.0);
        let reasons =
            known().iter().map(|item| baseline.get(item).map(|e| e.reason.clone())).collect::<Vec<_>>();
        let reason = |text: &str| Some(text.to_owned());
        assert_eq!(
            reasons,
            [reason("a reason # and more"), reason("now and then"), reason("only there"), None]
        );
        assert!(baseline.0[2].sometimes);
    }

    #[test]
    fn says_what_is_wrong_where() {
        let error = Baseline::parse("b.txt", "a/one\na/three # x\na/two # x\na/two # y\n", &known());
        let error = error.expect_err("bad");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[0], "b.txt:1: a/one needs a reason behind `#`");
        assert!(lines[1].starts_with("b.txt:2: a/three is no scenario"));
        assert_eq!(lines[2], "b.txt:4: a/two stands here twice");
    }
}
