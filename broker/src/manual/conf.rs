//! sol.conf(5), from the table of keys that the parser has and from the text of the reference page.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use sol::config::{KEYS, Key};

/// What the pages are of.
pub(super) const SOURCE: &str = concat!("sol ", env!("CARGO_PKG_VERSION"));

const PREFACE: &str = include_str!("../config/reference.md");

pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["sol.conf", "5", "", SOURCE, "Sol"])
        .control("SH", ["NAME"])
        .text([roman("sol.conf - configuration of the MQTT broker sol")])
        .control("SH", ["DESCRIPTION"]);
    preface(&mut page);
    page.control("SH", ["KEYS"]);
    for Key { name, scope, kind, default, meaning, .. } in KEYS {
        page.control("TP", []).text([bold(*name), roman(" "), italic(kind.to_string())]);
        page.text(inline(meaning));
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        page.control("br", []).text(inline(&format!("Default: {default}. Of: {scope}.")));
    }
    page.control("SH", ["SEE ALSO"]).text([bold("sol"), roman("(1), "), bold("sol-passwd"), roman("(1)")]);
    page.to_roff()
}

/// The head of the reference page: paragraphs, lists of one level, headings and examples.
fn preface(page: &mut Roff) {
    let (mut paragraph, mut is_example) = (String::new(), false);
    // An empty line ends the last one.
    for line in PREFACE.lines().chain([""]) {
        if line == "```" {
            is_example = !is_example;
            page.control(if is_example { "nf" } else { "fi" }, []);
            continue;
        }
        if is_example {
            page.text([roman(line)]);
            continue;
        }
        // The page has a title of its own, and a section for the keys.
        if line.starts_with("# ") || line == "## The keys" {
            continue;
        }
        if let Some(heading) = line.strip_prefix("## ") {
            page.control("SS", [heading]);
            continue;
        }
        let item = line.strip_prefix("- ");
        if (line.is_empty() || item.is_some()) && !paragraph.is_empty() {
            page.text(inline(&std::mem::take(&mut paragraph)));
        }
        if line.is_empty() {
            page.control("PP", []);
        } else if item.is_some() {
            page.control("IP", ["\\(bu", "2"]);
        }
        if !paragraph.is_empty() {
            paragraph.push(' ');
        }
        paragraph.push_str(item.unwrap_or(line).trim());
    }
}

/// Code and what is strong in bold, of links the text.
fn inline(markdown: &str) -> Vec<Inline> {
    let mut parts = Vec::new();
    for (number, part) in markdown.split('`').enumerate() {
        if number % 2 == 1 {
            parts.push(bold(part));
            continue;
        }
        for (number, part) in without_links(part).split("**").enumerate() {
            parts.push(if number % 2 == 1 { bold(part) } else { roman(part) });
        }
    }
    parts
}

fn without_links(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('[') {
        out.push_str(before);
        match behind.split_once("](").and_then(|(name, behind)| Some((name, behind.split_once(')')?.1))) {
            Some((name, behind)) => {
                out.push_str(name);
                rest = behind;
            }
            None => {
                out.push('[');
                rest = behind;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_told_of_and_nothing_is_left_of_markdown() {
        let page = page();
        for key in KEYS {
            assert!(page.contains(&format!(".TP\n\\fB{}\\fR ", key.name)), "{}", key.name);
        }
        assert!(!page.contains(['`', '\t']) && !page.contains("**") && !page.contains("]("), "{page}");
        assert!(!page.contains("##") && page.contains(".nf\n"), "{page}");
        assert!(page.contains("\ntopic read news/#\n"), "an example keeps its lines: {page}");
    }
}
