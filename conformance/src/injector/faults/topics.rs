//! Chapter 4.7: names, filters, and what matches what.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, down, fault, good, refuses, takes, up, wrong};
use crate::injector::topic::matches;

/// A way of matching: filter, name.
type Matching = fn(&[u8], &[u8]) -> bool;

/// What this way of matching finds is delivered too.
fn matches_also(also: Matching) -> Meddler {
    up(Kind::Publish, move |hand, packet| {
        let name = packet.text("topic");
        let stray =
            Packet::new(Kind::Publish).with("topic", name.clone()).with("payload", packet.text("payload"));
        hand.spread(
            |link| !link.wants(&name) && link.filters.iter().any(|(filter, _)| also(filter, &name)),
            &stray,
        );
        vec![packet]
    })
}

/// What only filters match of which this is true does not come.
fn misses(missed: Matching) -> Meddler {
    down(Kind::Publish, move |hand, packet| {
        let name = packet.text("topic");
        let comes = hand.link(|link| {
            let matching: Vec<_> = link.filters.iter().filter(|(filter, _)| matches(filter, &name)).collect();
            matching.is_empty() || matching.iter().any(|(filter, _)| !missed(filter, &name))
        });
        if comes { vec![packet] } else { vec![] }
    })
}

/// Delivered names are changed.
fn names(change: fn(&[u8]) -> Vec<u8>) -> Meddler {
    down(Kind::Publish, move |_, packet| vec![packet.map("topic", change)])
}

/// A SUBSCRIBE with such a filter is taken.
fn takes_filter(which: fn(&[u8]) -> bool) -> Meddler {
    takes(move |_, frame| {
        good(frame, Kind::Subscribe, |packet| {
            packet.all("topic").any(|value| matches!(value, Value::Bytes(filter) if which(filter)))
        })
    })
}

fn levels(text: &[u8]) -> Vec<&[u8]> {
    text.split(|byte| *byte == b'/').collect()
}

/// The same after a change to both.
fn alike(filter: &[u8], name: &[u8], change: fn(&[u8]) -> Vec<u8>) -> bool {
    matches(&change(filter), &change(name))
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.first() {
        match rest.strip_prefix(from) {
            Some(behind) => {
                out.extend(to);
                rest = behind;
            }
            None => {
                out.push(*first);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    out
}

const BOM: &[u8] = "\u{feff}".as_bytes();

fn composed(text: &[u8]) -> Vec<u8> {
    let text = replace(text, "E\u{301}".as_bytes(), "É".as_bytes());
    replace(&text, "e\u{301}".as_bytes(), "é".as_bytes())
}

fn lower(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).to_lowercase().into_bytes()
}

/// Whether `+` may stand for these many levels, in any one place.
fn plus_as(filter: &[u8], name: &[u8], instead: &[u8]) -> bool {
    let levels = levels(filter);
    levels.iter().enumerate().filter(|(_, level)| **level == b"+").any(|(place, _)| {
        let mut changed = levels.clone();
        if instead.is_empty() {
            changed.remove(place);
        } else if let Some(level) = changed.get_mut(place) {
            *level = instead;
        }
        matches(&changed.join(&b'/'), name)
    })
}

pub(super) const FAULTS: &[Fault] = &[
    // What is no name or filter
    fault("wildcard-in-a-name-taken", "It takes a topic name with a wildcard.", "3.3.2-2 4.7.1-1", || {
        takes(|_, frame| wrong(frame, "a wildcard in the topic name"))
    }),
    fault("hash-in-a-name-taken", "It takes a topic name with '#'.", "3.3.2-2 4.7.1-1", || {
        takes(|_, frame| wrong(frame, "a wildcard in the topic name") && frame.bytes.contains(&b'#'))
    }),
    fault("plus-in-a-name-taken", "It takes a topic name with '+'.", "3.3.2-2 4.7.1-1", || {
        takes(|_, frame| wrong(frame, "a wildcard in the topic name") && frame.bytes.contains(&b'+'))
    }),
    fault("empty-name-taken", "It takes an empty topic name.", "4.7.3-1", || {
        takes(|_, frame| wrong(frame, "an empty topic name"))
    }),
    fault("empty-filter-taken", "It takes an empty filter.", "4.7.3-1", || takes_filter(<[u8]>::is_empty)),
    fault("empty-filter-to-remove-taken", "It takes an empty filter in UNSUBSCRIBE.", "4.7.3-1", || {
        takes(|_, frame| {
            good(frame, Kind::Unsubscribe, |packet| {
                packet.all("topic").any(|value| matches!(value, Value::Bytes(filter) if filter.is_empty()))
            })
        })
    }),
    fault("hash-before-the-end-taken", "It takes '#' before the last level of a filter.", "4.7.1-2", || {
        takes_filter(|filter| {
            levels(filter).split_last().is_some_and(|(_, before)| before.contains(&b"#".as_slice()))
        })
    }),
    fault("hash-within-a-level-taken", "It takes '#' within a level of a filter.", "4.7.1-2", || {
        takes_filter(|filter| levels(filter).iter().any(|level| level.len() > 1 && level.contains(&b'#')))
    }),
    fault("plus-within-a-level-taken", "It takes '+' within a level of a filter.", "4.7.1-3", || {
        takes_filter(|filter| levels(filter).iter().any(|level| level.len() > 1 && level.contains(&b'+')))
    }),
    fault("plus-beside-text-taken", "It takes '+' at the end of a level of a filter.", "4.7.1-3", || {
        takes_filter(|filter| levels(filter).iter().any(|level| level.len() > 1 && level.ends_with(b"+")))
    }),
    fault("names-over-1000-refused", "It closes on topic names of more than 1,000 bytes.", "4.7.3-3", || {
        refuses(|_, packet| packet.text("topic").len() > 1_000)
    }),
    fault("names-cut-at-32767", "It cuts topic names at 32,767 bytes.", "4.7.3-3 4.7.3-4", || {
        names(|name| name.get(..32_767).unwrap_or(name).to_vec())
    }),
    // Wildcards
    fault("hash-misses-the-parent", "\"a/#\" does not match \"a\".", "4.7.1-2", || {
        misses(|filter, name| filter.strip_suffix(b"/#").is_some_and(|parent| matches(parent, name)))
    }),
    fault("hash-misses-the-deeper", "'#' matches one level only.", "4.7.1-2", || {
        misses(|filter, name| filter.ends_with(b"#") && levels(name).len() > levels(filter).len())
    }),
    fault("hash-misses-empty-levels", "'#' does not match empty levels.", "4.7.1-2 4.7.3-4", || {
        misses(|filter, name| filter.ends_with(b"#") && name.ends_with(b"/"))
    }),
    fault("hash-matches-beginnings", "\"a/#\" matches \"ab\".", "4.7.1-2 3.3.2-3", || {
        matches_also(|filter, name| filter.strip_suffix(b"/#").is_some_and(|start| name.starts_with(start)))
    }),
    fault("hash-matches-anywhere", "\"a/#\" matches \"b/a/c\".", "4.7.1-2 3.3.2-3", || {
        matches_also(|filter, name| {
            let (filter, name) = (levels(filter), levels(name));
            filter.ends_with(&[b"#"])
                && filter.get(1..filter.len() - 1).is_some_and(|middle| {
                    !middle.is_empty() && name.windows(middle.len()).any(|part| part == middle)
                })
        })
    }),
    fault("plus-matches-two-levels", "'+' matches two levels.", "4.7.1-3 3.3.2-3", || {
        matches_also(|filter, name| plus_as(filter, name, b"+/+"))
    }),
    fault("plus-matches-no-level", "'+' matches no level at all.", "4.7.1-3 3.3.2-3", || {
        matches_also(|filter, name| plus_as(filter, name, b""))
    }),
    fault("plus-matches-the-rest", "'+' matches all that follows.", "4.7.1-3 3.3.2-3", || {
        matches_also(|filter, name| {
            filter
                .iter()
                .position(|byte| *byte == b'+')
                .is_some_and(|place| matches(&[filter.get(..place).unwrap_or_default(), b"#"].concat(), name))
        })
    }),
    fault("filters-match-deeper-names", "A filter matches the levels below too.", "3.3.2-3 4.7.1-3", || {
        matches_also(|filter, name| matches(&[filter, b"/#".as_slice()].concat(), name))
    }),
    fault("plus-misses-empty-levels", "'+' does not match an empty level.", "4.7.1-3", || {
        misses(|filter, name| {
            let pairs = levels(filter).into_iter().zip(levels(name));
            pairs.filter(|(level, _)| *level == b"+").any(|(_, name)| name.is_empty())
        })
    }),
    fault("plus-misses-everything", "'+' is an ordinary character.", "4.7.1-3", || {
        misses(|filter, _| filter.contains(&b'+'))
    }),
    fault("hash-misses-everything", "'#' is an ordinary character.", "4.7.1-2", || {
        misses(|filter, _| filter.contains(&b'#'))
    }),
    fault("wildcard-at-the-end-only", "'+' works at the end of a filter only.", "4.7.1-3", || {
        misses(|filter, _| {
            levels(filter).split_last().is_some_and(|(_, before)| before.contains(&b"+".as_slice()))
        })
    }),
    fault("hash-matches-dollar", "\"#\" matches topics that begin with $.", "4.7.2-1", || {
        matches_also(|filter, name| filter == b"#" && name.starts_with(b"$"))
    }),
    fault("plus-matches-dollar", "\"+/…\" matches topics that begin with $.", "4.7.2-1", || {
        matches_also(|filter, name| filter.starts_with(b"+") && matches(filter, &replace(name, b"$", b"")))
    }),
    fault("dollar-within-hidden", "Wildcards do not match a $ within a topic.", "4.7.2-1 4.5.0-1", || {
        misses(|filter, name| {
            filter.contains(&b'#') && name.get(1..).is_some_and(|rest| rest.contains(&b'$'))
        })
    }),
    // Nothing is normalised
    fault("case-folded", "It matches without regard to case.", "4.7.3-4 3.3.2-3", || {
        matches_also(|filter, name| alike(filter, name, lower))
    }),
    fault("case-folded-names", "It delivers topic names in small letters.", "4.7.3-4", || names(lower)),
    fault("blanks-trimmed", "It ignores blanks at the end of topics.", "4.7.3-4", || {
        matches_also(|filter, name| alike(filter, name, |text| text.trim_ascii_end().to_vec()))
    }),
    fault("blanks-ignored", "It ignores blanks in topics.", "4.7.3-4", || {
        matches_also(|filter, name| alike(filter, name, |text| replace(text, b" ", b"")))
    }),
    fault("characters-composed", "It composes characters.", "4.7.3-4", || {
        matches_also(|filter, name| alike(filter, name, composed))
    }),
    fault("byte-order-mark-stripped", "It strips a byte order mark off topics.", "1.5.3-3 4.7.3-4", || {
        names(|name| replace(name, BOM, b""))
    }),
    fault(
        "byte-order-mark-ignored",
        "It ignores byte order marks when it matches.",
        "1.5.3-3 4.7.3-4",
        || matches_also(|filter, name| alike(filter, name, |text| replace(text, BOM, b""))),
    ),
    fault("byte-order-mark-refused", "It closes on a byte order mark in a topic.", "1.5.3-3", || {
        refuses(|_, packet| packet.text("topic").windows(3).any(|three| three == BOM))
    }),
    fault("non-ascii-refused", "It closes on a topic that is not ASCII.", "1.5.3-1 4.7.3-4", || {
        refuses(|_, packet| !packet.text("topic").is_ascii())
    }),
    fault("leading-slash-stripped", "It ignores a slash in front of topics.", "4.7.3-4 4.7.1-3", || {
        matches_also(|filter, name| {
            alike(filter, name, |text| text.strip_prefix(b"/").unwrap_or(text).to_vec())
        })
    }),
    fault("trailing-slash-stripped", "It ignores a slash behind topics.", "4.7.3-4 4.7.1-3", || {
        matches_also(|filter, name| {
            alike(filter, name, |text| text.strip_suffix(b"/").unwrap_or(text).to_vec())
        })
    }),
    fault("empty-levels-dropped", "It drops empty levels.", "4.7.3-4 4.7.1-3", || {
        names(|name| replace(name, b"//", b"/"))
    }),
    fault("leading-slash-lost", "It delivers without the slash in front.", "4.7.3-4", || {
        names(|name| name.strip_prefix(b"/").unwrap_or(name).to_vec())
    }),
    fault(
        "plus-and-hash-do-not-mix",
        "A filter with '+' and '#' matches nothing.",
        "4.7.1-2 4.7.1-3",
        || misses(|filter, _| filter.contains(&b'+') && filter.contains(&b'#')),
    ),
    fault("two-plus-do-not-mix", "A filter with two '+' matches nothing.", "4.7.1-3", || {
        misses(|filter, _| filter.iter().filter(|byte| **byte == b'+').count() > 1)
    }),
];
