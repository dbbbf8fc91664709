//! The lines of the log in their three forms.
//!
//! A record is a line for people; those that tell of connections and packets have the facts beside it, by name, which the
//! other forms are made from.

use std::fmt::Display;
use std::io;
use std::sync::LazyLock;

use flexi_logger::DeferredNow;
use flexi_logger::filter::{LogLineFilter, LogLineWriter};
use log::kv::{Key, Value};
use log::{Level, Record};
use parking_lot::RwLock;
use sol::config::{LogFormat, LogLines};
use sol::hub::{CONNECTIONS, TRACE};

use super::{json, mosquitto};

/// How they are at present: the logger knows a plain function only.
static LINES: LazyLock<RwLock<LogLines>> = LazyLock::new(RwLock::default);

/// From now on, they are like that.
pub(super) fn set(lines: &LogLines) {
    LINES.write().clone_from(lines);
}

/// Writes a line, without its end.
pub(super) fn write(to: &mut dyn io::Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    let lines = LINES.read();
    let time = lines.has_time.then(|| time(&lines, now));
    let level = level(&lines, record);
    match lines.format {
        LogFormat::Text => {
            // `2026-01-31T12:00:00.000Z INFO  what happened`
            time.iter().try_for_each(|time| write!(to, "{time} "))?;
            write!(to, "{level:<5} {}", record.args())
        }
        LogFormat::Json => json::write(to, time.as_deref(), level, record),
        LogFormat::Mosquitto => {
            time.iter().try_for_each(|time| write!(to, "{time}: "))?;
            mosquitto::write(to, record)
        }
    }
}

fn time(lines: &LogLines, now: &mut DeferredNow) -> String {
    match (&lines.time_format, lines.format) {
        (Some(format), _) => now.format(format).to_string(),
        (None, LogFormat::Mosquitto) => now.now().timestamp().to_string(),
        (None, _) => now.now_utc_owned().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    }
}

/// As it is shown: what was asked for by another key than `log_level` has another level to get past it.
fn level(lines: &LogLines, record: &Record<'_>) -> Level {
    match record.target() {
        TRACE => Level::Trace,
        CONNECTIONS if lines.tells_of_connections() => record.level().min(Level::Info),
        _ => record.level(),
    }
}

/// Leaves out what mosquitto does not tell of.
pub(super) struct Told;

impl LogLineFilter for Told {
    fn write(
        &self,
        now: &mut DeferredNow,
        record: &Record<'_>,
        writer: &dyn LogLineWriter,
    ) -> io::Result<()> {
        if LINES.read().format == LogFormat::Mosquitto && !mosquitto::tells(record) {
            return Ok(());
        }
        writer.write(now, record)
    }
}

/// What a record has of that name.
pub(super) fn fact<'r>(record: &'r Record<'_>, name: &'r str) -> Option<Value<'r>> {
    record.key_values().get(Key::from_str(name))
}

/// A text of a client's on one line.
pub(super) fn on_one_line(text: impl Display) -> String {
    let text = text.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_control() { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}
