//! A trace as a sequence chart, in SVG.
//!
//! ```text
//!            sub      pub                        broker
//!     0.1 ms  │────────│────── CONNECT ────────────▶│
//!             │        │    client_id="…"           │
//! ```

use maud::{Markup, html};

use super::{Case, Line, Way};

/// How many entries are drawn; a chart that is longer shows nothing any more.
const MAX_ROWS: usize = 60;
/// Sizes in units of the drawing, which a phone shows about one to one.
const WIDTH: usize = 410;
const BROKER_X: usize = WIDTH - 34;
const FIRST_X: usize = 58;
const HEAD: usize = 30;
const ROW: usize = 34;
/// The room for labels between the last actor and the broker, at least, and the width of a character.
const LABEL_ROOM: usize = 170;
const CHARACTER: usize = 6;

/// The chart of a scenario's trace.
pub(super) fn chart(case: &Case) -> Markup {
    let actors = actors(&case.trace);
    let shown = shown(case);
    let missing = case.failure.as_ref().filter(|failure| failure.here.is_none());
    let height = HEAD + (shown.len() + usize::from(missing.is_some())) * ROW + 14;
    let here = case.failure.as_ref().and_then(|failure| failure.here);
    let token = token(&case.trace);
    html! {
        svg class="chart" viewBox={ "0 0 " (WIDTH) " " (height) } role="img"
            aria-label={ "sequence chart of " (case.name) } {
            @for (place, name) in actors.iter().enumerate() {
                (lane(lane_x(place, actors.len()), height, name))
            }
            (lane(BROKER_X, height, "broker"))
            @for (row, line) in shown.iter().enumerate() {
                @let actor = actors.iter().position(|name| *name == line.actor).unwrap_or(0);
                (entry(line, lane_x(actor, actors.len()), HEAD + row * ROW, here == Some(line.place), token))
            }
            @if let Some(failure) = missing {
                @let y = HEAD + shown.len() * ROW;
                rect class="here" x="2" y=(y) width=(WIDTH - 4) height=(ROW) rx="4" {}
                text class="fields" x="12" y=(y + ROW / 2 + 3) { (cut(&format!("expected {}", failure.expected), (WIDTH - 24) / CHARACTER)) }
            }
        }
        @if shown.len() < case.trace.len() {
            p class="more" { (case.trace.len() - shown.len()) " more entries are not drawn" }
        }
    }
}

/// The entries that are drawn: the first, or if a failure shows later, the last ones up to it.
fn shown(case: &Case) -> &[Line] {
    let failure = case.failure.as_ref();
    let here = failure.and_then(|failure| failure.here);
    let place = here.and_then(|here| case.trace.iter().position(|line| line.place == here));
    let end = match (failure, place) {
        (Some(_), Some(place)) => (place + 1).max(MAX_ROWS),
        (Some(_), None) => case.trace.len(),
        (None, _) => MAX_ROWS,
    }
    .min(case.trace.len());
    case.trace.get(end.saturating_sub(MAX_ROWS)..end).unwrap_or_default()
}

/// What makes the names of this run its own: the start of most client identifiers, whose end is the actor's name.
fn token(trace: &[Line]) -> Option<&str> {
    trace.iter().find_map(|line| {
        let (id, _) = line.what.strip_prefix("CONNECT ")?.split_once("client_id=\"")?.1.split_once('"')?;
        id.strip_suffix(line.actor.as_str()).filter(|token| token.len() == 8)
    })
}

/// The packet as the scenario would write it.
fn shorten(what: &str, token: Option<&str>) -> String {
    let short = what.replace(" dup=0", "").replace(" retain=0", "");
    let Some(token) = token else { return short };
    short.replace(&format!("\"{token}/"), "\"").replace(&format!("\"{token}"), "\"")
}

/// In the order in which they appear.
fn actors(trace: &[Line]) -> Vec<&str> {
    let mut actors: Vec<&str> = Vec::new();
    for line in trace {
        if !actors.contains(&line.actor.as_str()) {
            actors.push(&line.actor);
        }
    }
    actors
}

fn lane_x(place: usize, actors: usize) -> usize {
    let room = BROKER_X - LABEL_ROOM - FIRST_X;
    FIRST_X + place * (room / actors.saturating_sub(1).max(1)).min(78)
}

fn lane(x: usize, height: usize, name: &str) -> Markup {
    html! {
        text class="who" x=(x) y="16" text-anchor="middle" { (name) }
        line class="lane" x1=(x) y1="22" x2=(x) y2=(height) {}
    }
}

fn entry(line: &Line, x: usize, top: usize, here: bool, token: Option<&str>) -> Markup {
    let y = top + ROW / 2;
    let middle = x.midpoint(BROKER_X);
    let fits = (BROKER_X - x) / CHARACTER;
    let short = shorten(&line.what, token);
    let (kind, fields) = short.split_once(' ').unwrap_or((&short, ""));
    html! {
        g {
            title { (format!("{:.1} ms  {}", line.ms, line.what)) }
            @if here { rect class="here" x="2" y=(top) width=(WIDTH - 4) height=(ROW) rx="4" {} }
            text class="time" x="36" y=(y + 3) text-anchor="end" { (format!("{:.1}", line.ms)) }
            @match line.way {
                Way::Note => {
                    circle class="remark" cx=(x) cy=(y) r="3" {}
                    text class="fields" x=(x + 8) y=(y + 3) { (cut(&line.what, fits)) }
                }
                way => {
                    line class=(class(way)) x1=(x) y1=(y) x2=(BROKER_X) y2=(y) {}
                    path class=(class(way)) d=(head(way, x, y)) {}
                    text class="kind" x=(middle) y=(y - 4) text-anchor="middle" { (cut(kind, fits)) }
                    text class="fields" x=(middle) y=(y + 11) text-anchor="middle" { (cut(fields, fits)) }
                }
            }
        }
    }
}

fn class(way: Way) -> &'static str {
    if way == Way::Sent { "sent" } else { "came" }
}

/// The point of the arrow.
fn head(way: Way, x: usize, y: usize) -> String {
    let (tip, back) = if way == Way::Sent { (BROKER_X, BROKER_X - 7) } else { (x, x + 7) };
    format!("M{tip} {y} L{back} {} L{back} {} Z", y - 4, y + 4)
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}
