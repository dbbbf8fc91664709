//! One page that holds everything and needs nothing else: no network, no other file. It shows one broker, or several
//! side by side.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::chart;
use super::summary::{trace_text, verdict_line};
use super::{Case, Report, Row, Section, statement_key};
use crate::verdict::Grade;

/// The page on these brokers.
pub fn page(reports: &[Report]) -> String {
    let title = match reports {
        [report] => format!("MQTT conformance of {}", report.broker.url),
        _ => format!("MQTT conformance of {} brokers", reports.len()),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body class=[(reports.len() > 1).then_some("several")] {
                header { h1 { (title) } div class="brokers" { @for (n, report) in reports.iter().enumerate() { (broker(report, label(reports, n))) } } }
                nav { a href="#sections" { "Sections" } a href="#statements" { "Statements" } a href="#scenarios" { "Scenarios" } }
                main {
                    (sections(reports))
                    (statements(reports))
                    (scenarios(reports))
                }
                footer { "Made by " (reports.first().map_or(super::KIT, |report| &report.kit)) ". A pass says that no scenario refuted the statement, and no more than that." }
                script { (PreEscaped(include_str!("page.js"))) }
            }
        }
    };
    page.into_string()
}

/// The letter of a broker, where there are several.
fn label(reports: &[Report], place: usize) -> Option<char> {
    (reports.len() > 1).then(|| letter(place))
}

/// What stands for the first, second, … of several brokers: A, B, …
pub fn letter(place: usize) -> char {
    u8::try_from(place).ok().filter(|place| *place < 26).map_or('*', |place| char::from(b'A' + place))
}

fn chip(grade: Option<Grade>, label: Option<char>) -> Markup {
    let (class, word) = grade.map_or(("none", "–"), |grade| (grade.word(), grade.word()));
    html! { span class={ "chip " (class) } { @if let Some(label) = label { b { (label) } " " } (word) } }
}

fn broker(report: &Report, label: Option<char>) -> Markup {
    let found = &report.broker.found;
    html! {
        section class="broker" {
            h2 { @if let Some(label) = label { span class="letter" { (label) } " " } (report.broker.url) }
            p class="result" { (verdict_line(report)) }
            ul class="counts" {
                @for grade in Grade::ALL {
                    @if report.count(grade) > 0 {
                        li class=(grade.word()) { b { (report.count(grade)) } " " (grade.word()) }
                    }
                }
            }
            dl {
                dt { "found" } dd { (found.to_string()) }
                dt { "taken to have" } dd { (report.broker.capabilities.iter().cloned().collect::<Vec<_>>().join(", ")) }
                dt { "run" } dd { (report.date) ", " (format!("{:.1}", report.seconds)) " s, " (report.kit) }
            }
        }
    }
}

fn sections(reports: &[Report]) -> Markup {
    let places: BTreeSet<Section<'_>> =
        reports.iter().flat_map(|report| &report.scenarios).map(Case::place).collect();
    let with_version = are_several(&places);
    html! {
        section id="sections" {
            h2 { "Sections" }
            div class="wide" {
                table class="matrix" {
                    thead { tr { th { "section" } @for (n, report) in reports.iter().enumerate() {
                        th { @match label(reports, n) { Some(label) => (label), None => (report.broker.url) } }
                    } } }
                    tbody { @for place in &places { tr {
                        th scope="row" { a href={ "#" (section_anchor(place)) } { (place.label(with_version)) } }
                        @for report in reports { td { (bar(report, place)) } }
                    } } }
                }
            }
        }
    }
}

/// Whether they are of several versions.
fn are_several(places: &BTreeSet<Section<'_>>) -> bool {
    places.iter().map(|place| place.version).collect::<BTreeSet<_>>().len() > 1
}

fn section_anchor(section: &Section<'_>) -> String {
    format!("s-{}-{}", section.version, section.name)
}

/// Where a statement of this version stands: the versions have other statements under the same numbers.
fn statement_anchor(version: &str, id: &str) -> String {
    format!("{version}-{id}")
}

/// One section of one broker: a bar of verdicts, and its figures.
fn bar(report: &Report, section: &Section<'_>) -> Markup {
    let cases: Vec<&Case> = report.scenarios.iter().filter(|case| case.place() == *section).collect();
    let count = |grade: Grade| cases.iter().filter(|case| case.verdict == grade).count();
    html! {
        @if cases.is_empty() { "–" } @else {
            div class="bar" aria-hidden="true" { @for grade in Grade::ALL { @if count(grade) > 0 {
                i class=(grade.word()) style={ "flex-grow:" (count(grade)) } {}
            } } }
            span class="figures" { @for grade in Grade::ALL { @if count(grade) > 0 {
                span class=(grade.word()) { (count(grade)) " " (grade.word()) } " "
            } } }
        }
    }
}

fn statements(reports: &[Report]) -> Markup {
    let mut rows: BTreeMap<_, Vec<(usize, &Row)>> = BTreeMap::new();
    for (place, report) in reports.iter().enumerate() {
        for row in &report.statements {
            rows.entry((&row.version, statement_key(&row.id))).or_default().push((place, row));
        }
    }
    html! {
        section id="statements" {
            h2 { "Statements " small { (rows.len()) } }
            @let shown = rows.values().flatten().map(|(_, row)| row.verdict);
            (filter("statement", shown))
            @for found in rows.values() { @if let Some((_, first)) = found.first() {
                div class={ "statement " (worst(found.iter().map(|(_, row)| row.verdict))) } id=(statement_anchor(&first.version, &first.id)) {
                    div class="id" { a href={ "#" (statement_anchor(&first.version, &first.id)) } { (first.id) } small { (first.version) ", " (first.statement.duty) } }
                    div class="words" {
                        (first.statement.paraphrase)
                        @if let Some(reason) = &first.reason { small class="reason" { "Not looked at: " (reason) } }
                        @if !first.scenarios.is_empty() { small class="links" { @for name in &first.scenarios {
                            a href={ "#" (name) } { (bare(name)) } " "
                        } } }
                    }
                    div class="chips" { @for (place, row) in found { (chip(row.verdict, label(reports, *place))) " " } }
                }
            } }
        }
    }
}

/// The class of what is shown of several brokers.
fn worst(grades: impl Iterator<Item = Option<Grade>>) -> &'static str {
    grades.flatten().max().map_or("none", Grade::word)
}

/// A field and a box for each verdict there is, which the script brings to life.
fn filter(of: &str, shown: impl Iterator<Item = Option<Grade>>) -> Markup {
    let shown: BTreeSet<Option<Grade>> = shown.collect();
    html! {
        form class="filter" data-of=(of) hidden {
            input type="search" placeholder={ "find a " (of) } aria-label={ "find a " (of) };
            @for grade in shown.into_iter().rev() {
                label { input type="checkbox" value=(grade.map_or("none", Grade::word)) checked; (chip(grade, None)) }
            }
        }
    }
}

fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A scenario's name, and what each broker made of it: its place, its report, its case.
type Named<'a> = BTreeMap<&'a str, Vec<(usize, &'a Report, &'a Case)>>;

fn scenarios(reports: &[Report]) -> Markup {
    let mut sections: BTreeMap<Section<'_>, Named<'_>> = BTreeMap::new();
    for (place, report) in reports.iter().enumerate() {
        for case in &report.scenarios {
            let section = sections.entry(case.place()).or_default();
            section.entry(&case.name).or_default().push((place, report, case));
        }
    }
    html! {
        section id="scenarios" {
            h2 { "Scenarios " small { (sections.values().map(BTreeMap::len).sum::<usize>()) } }
            @let shown = reports.iter().flat_map(|report| &report.scenarios).map(|case| Some(case.verdict));
            (filter("scenario", shown))
            @let with_version = are_several(&sections.keys().cloned().collect());
            @for (section, cases) in &sections {
                h3 id=(section_anchor(section)) { (section.label(with_version)) }
                @for (name, found) in cases { (scenario(reports, name, found)) }
            }
        }
    }
}

fn scenario(reports: &[Report], name: &str, found: &[(usize, &Report, &Case)]) -> Markup {
    let alone = reports.len() == 1;
    let open = alone && found.iter().any(|(_, report, case)| report.is_failing(case));
    html! {
        details class={ "scenario " (worst(found.iter().map(|(_, _, case)| Some(case.verdict)))) } id=(name) open[open] {
            summary {
                span class="name" { (bare(name)) }
                span class="chips" { @for (place, _, case) in found { (chip(Some(case.verdict), label(reports, *place))) " " } }
            }
            @if let Some((_, _, first)) = found.first() {
                p { (first.about) }
                p class="links" { (first.version) " " @for id in &first.statements { a href={ "#" (statement_anchor(&first.version, id)) } { (id) } " " } }
            }
            @if alone {
                @for (_, _, case) in found { (conversation(case)) }
            } @else {
                @for (place, report, case) in found {
                    details class="of" open[report.is_failing(case)] {
                        summary { (chip(Some(case.verdict), label(reports, *place))) " " (report.broker.url) }
                        (conversation(case))
                    }
                }
            }
        }
    }
}

/// What one broker did in one scenario.
fn conversation(case: &Case) -> Markup {
    html! {
        @if let Some(reason) = &case.reason { p class="reason" { (reason) } }
        @if let Some(known) = &case.baseline { p class="reason" { "Expected to fail: " (known.reason) } }
        @if let Some(failure) = &case.failure {
            dl class="failure" {
                div class="at" { (failure.file) ":" (failure.line) }
                dt { "step" } dd { code { (failure.step) } }
                dt { "expected" } dd { code { (failure.expected) } }
                dt { "but" } dd { code { (failure.actual) } }
            }
        }
        @if !case.trace.is_empty() {
            (chart(case))
            details class="trace" { summary { "trace" } pre { (trace_text(&case.trace, case.failure.as_ref().and_then(|failure| failure.here))) } }
        }
    }
}
