//! Values as a file writes them: from text and to text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::format::StrftimeItems;
use ipnet::IpNet;
use log::LevelFilter;

use super::{BridgeTopic, Endpoint, LogFormat, RemoteAddress, SyncPolicy, TlsVersions, line};
use crate::codec::Version;

/// The longest interval between syncs, in seconds.
const MAX_SYNC_INTERVAL: u64 = 3600;
/// Of what the client identifiers begin with that are made up, as in mosquitto.
const MAX_PREFIX_BYTES: usize = 50;
/// The longest wait between attempts to connect, in seconds.
const MAX_PAUSE: u64 = 3600;
/// Of the time in each line of the log.
const MAX_TIME_FORMAT_BYTES: usize = 100;
/// So that a packet has room for it beside others.
const MAX_TEXT_BYTES: usize = 1024;

/// What may wait in the store for one client at most.
pub(super) const MOST_STORED_MESSAGES: usize = 1_000_000_000;
pub(super) const MOST_STORED_BYTES: usize = 1 << 50;

/// The carrier that is not the default.
pub(super) const WEBSOCKETS: &str = "websockets";

/// What a value looks like. Written out, it says what to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IP address.
    Address,
    /// A TCP port.
    Port,
    /// An IP address with a port.
    SocketAddress,
    /// A port and maybe an address.
    Listener,
    /// An IP address or `localhost`.
    Host,
    /// A version of IP.
    Domain,
    /// A file's name.
    Path,
    /// A directory's name.
    Directory,
    /// A directory's name, whose files are read.
    Include,
    /// What is logged.
    Level,
    /// What is logged, as mosquitto says it.
    LogType,
    /// Where the log goes. It may be two words.
    LogDest,
    /// How a line of the log is.
    LogFormat,
    /// How a time is written, as strftime has it. It may be two words.
    TimeFormat,
    /// Bytes.
    Size {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Whole seconds.
    Time {
        /// The most, in seconds.
        max: u64,
    },
    /// Whole seconds, and longer units.
    Age {
        /// The most, in seconds.
        max: u64,
    },
    /// A number of things, or -1 for any.
    Limit {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number of things.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// When to wait for stable storage. It may be two words.
    Sync,
    /// Yes or no.
    Truth,
    /// Permissions of a file.
    Mode,
    /// Versions of TLS.
    Protocols,
    /// The oldest version of TLS.
    OldestTls,
    /// A name that the system knows.
    Name,
    /// What a packet carries.
    Text,
    /// What a client identifier begins with.
    Prefix,
    /// What carries MQTT.
    Carrier,
    /// Of a URL.
    UrlPath,
    /// Where a browser's page comes from.
    Origin,
    /// What names may begin with.
    Prefixes,
    /// Addresses of IP.
    Network,
    /// Other brokers.
    Addresses,
    /// What goes over a bridge.
    BridgeTopic,
    /// How long to wait before the next attempt: one time, or the first and the longest.
    Pauses,
    /// What another broker is told, which mosquitto does not quote.
    Words,
    /// When a bridge connects.
    Start,
    /// A version of MQTT.
    Version,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address => f.write_str("an IP address such as 127.0.0.1 or ::1"),
            Self::Port => f.write_str("a port from 0 to 65535"),
            Self::SocketAddress => {
                f.write_str("an IP address and a port such as 127.0.0.1:9883 or [::1]:9883")
            }
            Self::Listener => {
                f.write_str("a port and maybe an IP address, or 0 and the path of a UNIX socket")
            }
            Self::Host => f.write_str("an IP address or localhost"),
            Self::Domain => f.write_str("ipv4 or ipv6"),
            Self::Path => f.write_str("the path of a file"),
            Self::Directory | Self::Include => f.write_str("the path of a directory"),
            Self::Level => f.write_str("DEBUG, INFO, WARNING or ERROR"),
            Self::LogType => f.write_str("error, warning, notice, information, debug or all"),
            Self::LogDest => f.write_str("stderr, stdout, none, or file and its path"),
            Self::LogFormat => f.write_str("text, json or mosquitto"),
            Self::TimeFormat => f.write_str("a time as strftime has it, such as %Y-%m-%dT%H:%M:%S"),
            Self::Size { min, max } => {
                write!(f, "a size from {} to {}, in B, KB, MB or GB", Size(min), Size(max))
            }
            Self::Time { max } => write!(f, "a time from 0 to {}, in s, m, h or d", Time(max)),
            Self::Age { max } => write!(f, "a time from 0 to {}, in s, h, d, w or y", Age(max)),
            Self::Limit { min, max } => write!(f, "a number from {min} to {max}, or -1 for any"),
            Self::Count { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Sync => {
                write!(f, "always, os, or interval and a time from 1s to {}", Time(MAX_SYNC_INTERVAL))
            }
            Self::Truth => f.write_str("true or false"),
            Self::Mode => f.write_str("octal permissions such as 0660"),
            Self::Protocols => f.write_str("tlsv1_2, tlsv1_3 or both with a comma between"),
            Self::OldestTls => f.write_str("tlsv1.2 or tlsv1.3"),
            Self::Name => f.write_str("a name"),
            Self::Prefix => write!(f, "a text of at most {MAX_PREFIX_BYTES} bytes"),
            Self::Text | Self::Words => write!(f, "a text of at most {MAX_TEXT_BYTES} bytes"),
            Self::Carrier => f.write_str("mqtt or websockets"),
            Self::UrlPath => f.write_str("the path of a URL such as /mqtt"),
            Self::Network => f.write_str("an IP address or a network such as 10.0.0.0/8"),
            Self::Origin => f.write_str("an origin such as https://example.org"),
            Self::Prefixes => f.write_str("the begin of a name"),
            Self::Addresses => {
                f.write_str("names or IP addresses, each with :port or without, with spaces between")
            }
            Self::BridgeTopic => {
                f.write_str("a topic filter, maybe out, in or both, a QoS, the local and the remote prefix")
            }
            Self::Pauses => {
                write!(f, "a time from 1s to {0}, or two: the first and the longest", Time(MAX_PAUSE))
            }
            Self::Start => f.write_str("automatic, once or lazy"),
            Self::Version => f.write_str("mqttv31, mqttv311 or mqttv50"),
        }
    }
}

impl Kind {
    /// Whether its key may be given more than once.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Origin
                | Self::SocketAddress
                | Self::Prefixes
                | Self::Network
                | Self::LogType
                | Self::LogDest
                | Self::BridgeTopic
        )
    }

    /// How many words a value may have.
    pub(super) fn words(self) -> usize {
        match self {
            Self::Listener | Self::Sync | Self::LogDest | Self::TimeFormat | Self::Pauses => 2,
            Self::Addresses | Self::BridgeTopic | Self::Words => usize::MAX,
            _ => 1,
        }
    }

    /// Whether its words are kept apart, so that one of them may be empty or have spaces.
    pub(super) fn is_quoted(self) -> bool {
        self == Self::BridgeTopic
    }

    /// Whether a value is of the kind; if not, what to do.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let advice = || format!("give {self}");
        if self == Self::BridgeTopic {
            return topic(text).map(drop);
        }
        let valid = match self {
            Self::Address => text.parse::<IpAddr>().is_ok(),
            Self::Port => text.parse::<u16>().is_ok(),
            Self::SocketAddress => text.parse::<SocketAddr>().is_ok(),
            Self::Listener => endpoint(text).is_some(),
            Self::Host => host(text).is_some(),
            Self::Domain => ["ipv4", "ipv6"].contains(&text),
            Self::Path | Self::Directory | Self::Include | Self::Name => {
                !text.is_empty() && !text.contains('\0')
            }
            Self::Prefix => {
                !text.is_empty() && text.len() <= MAX_PREFIX_BYTES && !text.contains(char::is_control)
            }
            Self::Text | Self::Words => {
                !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.contains(char::is_control)
            }
            Self::Level => level(text).is_some(),
            Self::LogType if text == "none" => return Err("give `log_dest none`".to_owned()),
            Self::LogType => log_type(text).is_some(),
            Self::LogDest => match text {
                "syslog" => {
                    let what = "systemd takes standard error into its journal, so give `log_dest stderr`";
                    return Err(what.to_owned());
                }
                "topic" | "dlt" => {
                    return Err(format!("the log is not written to it, {}", advice()));
                }
                _ => log_dest(text).is_some(),
            },
            Self::LogFormat => log_format(text).is_some(),
            Self::TimeFormat => is_time_format(text),
            Self::Size { min, max } => size(text).is_some_and(|bytes| (min..=max).contains(&bytes)),
            Self::Time { max } => time(text).is_some_and(|time| time <= Duration::from_secs(max)),
            Self::Age { max } => match age(text) {
                Some(time) => time <= Duration::from_secs(max),
                None if time(text).is_some() => {
                    return Err(
                        "that is a month to mosquitto and a minute elsewhere, so write days such as \
                                60d, or seconds"
                            .to_owned(),
                    );
                }
                None => false,
            },
            Self::Limit { min, max } => {
                text == "-1" || text.parse().is_ok_and(|count: u64| (min..=max).contains(&count))
            }
            Self::Count { min, max } => text.parse().is_ok_and(|count: u64| (min..=max).contains(&count)),
            Self::Sync => sync(text).is_some(),
            Self::Truth => truth(text).is_some(),
            Self::Mode => mode(text).is_some(),
            Self::Protocols => {
                if let Some(old) = text.split(',').map(str::trim).find(|v| ["tlsv1", "tlsv1_1"].contains(v)) {
                    return Err(format!("no safe implementation of {old} exists here, {}", advice()));
                }
                protocols(text).is_some()
            }
            Self::OldestTls => {
                if ["tlsv1", "tlsv1.0", "tlsv1.1"].contains(&text) {
                    return Err(format!("no safe implementation of it exists here, {}", advice()));
                }
                oldest_tls(text).is_some()
            }
            Self::Network => network(text).is_some(),
            Self::Carrier => ["mqtt", WEBSOCKETS].contains(&text),
            Self::Prefixes => !text.is_empty() && !text.contains(char::is_control),
            Self::UrlPath => text.starts_with('/') && is_visible(text) && !text.contains(['?', '#']),
            Self::Origin => {
                // As browsers write it: nothing behind the host and its port.
                let host = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
                is_visible(text) && host.is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'))
            }
            Self::Addresses => addresses(text).is_some(),
            Self::BridgeTopic => true,
            Self::Pauses => pauses(text).is_some(),
            Self::Start => ["automatic", "once", "lazy"].contains(&text),
            Self::Version => version(text).is_some(),
        };
        if valid { Ok(()) } else { Err(advice()) }
    }
}

/// A network, or an address, which is one of its own.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().map(|address: IpAddr| address.into()).ok())
}

/// ASCII that is seen, without spaces.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The port, and what stands behind it.
pub(super) fn endpoint(text: &str) -> Option<Endpoint> {
    let (port, place) = text.split_once(' ').unwrap_or((text, ""));
    let port = port.parse().ok()?;
    if place.is_empty() {
        return Some(Endpoint::Any(port));
    }
    if port == 0 && place.contains('/') && !place.contains('\0') {
        return Some(Endpoint::Unix { path: place.into(), mode: None });
    }
    Some(Endpoint::Tcp(SocketAddr::new(host(place)?, port)))
}

/// Names are not looked up: who can reach a listener must not depend on who answers.
pub(super) fn host(text: &str) -> Option<IpAddr> {
    if text == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { text.parse().ok() }
}

/// A port of all addresses, of both versions of IP or of one.
pub(super) fn any(port: u16, domain: Option<&str>) -> Endpoint {
    match domain {
        Some("ipv4") => Endpoint::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        Some(_) => Endpoint::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        None => Endpoint::Any(port),
    }
}

/// mosquitto takes numbers, too.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

pub(super) fn log_type(text: &str) -> Option<LevelFilter> {
    match text {
        "error" => Some(LevelFilter::Error),
        "warning" => Some(LevelFilter::Warn),
        "notice" | "information" => Some(LevelFilter::Info),
        "debug" | "subscribe" | "unsubscribe" | "websockets" | "internal" | "all" => Some(LevelFilter::Debug),
        _ => None,
    }
}

pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    [LogFormat::Text, LogFormat::Json, LogFormat::Mosquitto].into_iter().find(|format| format.name() == text)
}

fn is_time_format(text: &str) -> bool {
    let is_known = |item| !matches!(item, chrono::format::Item::Error);
    !text.is_empty()
        && text.len() <= MAX_TIME_FORMAT_BYTES
        && !text.contains(char::is_control)
        && StrftimeItems::new(text).all(is_known)
}

/// Where the log goes.
pub(super) enum Destination<'t> {
    Stderr,
    Stdout,
    Nowhere,
    File(&'t str),
}

pub(super) fn log_dest(text: &str) -> Option<Destination<'_>> {
    match text {
        "stderr" => Some(Destination::Stderr),
        "stdout" => Some(Destination::Stdout),
        "none" => Some(Destination::Nowhere),
        _ => {
            let path = text.strip_prefix("file ")?;
            (!path.is_empty() && !path.contains('\0')).then_some(Destination::File(path))
        }
    }
}

pub(super) fn oldest_tls(text: &str) -> Option<TlsVersions> {
    match text {
        "tlsv1.2" => Some(TlsVersions::V1_2AndV1_3),
        "tlsv1.3" => Some(TlsVersions::V1_3),
        _ => None,
    }
}

pub(super) fn level(text: &str) -> Option<LevelFilter> {
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" => Some(LevelFilter::Debug),
        "INFO" | "INFORMATION" => Some(LevelFilter::Info),
        "WARNING" => Some(LevelFilter::Warn),
        "ERROR" => Some(LevelFilter::Error),
        _ => None,
    }
}

pub(super) fn level_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::Off | LevelFilter::Error => "ERROR",
        LevelFilter::Warn => "WARNING",
        LevelFilter::Info => "INFO",
        LevelFilter::Debug | LevelFilter::Trace => "DEBUG",
    }
}

const SIZES: [(&str, u64); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];
/// A month is missing: its `m` is a minute elsewhere.
const AGES: [(&str, u64); 5] = [("y", 365 * 86_400), ("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("s", 1)];
const TIMES: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Bytes. The unit may be of any case, as in the original; without one it is bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    with_unit(text, &SIZES)
}

/// Without a unit it is seconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    with_unit(text, &TIMES).map(Duration::from_secs)
}

/// Without a unit it is seconds.
pub(super) fn age(text: &str) -> Option<Duration> {
    with_unit(text, &AGES).map(Duration::from_secs)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "" => 1,
        unit => units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    u64::from_str(number).ok()?.checked_mul(factor)
}

/// Other brokers.
pub(super) fn addresses(text: &str) -> Option<Vec<RemoteAddress>> {
    let addresses: Vec<_> = text.split_whitespace().map(RemoteAddress::parse).collect::<Option<_>>()?;
    (!addresses.is_empty()).then_some(addresses)
}

/// What goes over a bridge; otherwise what to do.
pub(super) fn topic(text: &str) -> Result<BridgeTopic, String> {
    let words = line::words(&format!("topic {text}")).map_err(|(_, what)| what.to_owned())?;
    BridgeTopic::parse(words.get(1..).unwrap_or_default())
}

/// As it is written behind its key.
pub(super) fn topic_words(topic: &BridgeTopic) -> String {
    let BridgeTopic { pattern, direction, qos, local_prefix, remote_prefix } = topic;
    let [pattern, local, remote] = [pattern, local_prefix, remote_prefix].map(|text| line::quote(text));
    format!("{pattern} {direction} {qos} {local} {remote}")
}

/// The first wait and the longest.
pub(super) fn pauses(text: &str) -> Option<(Duration, Duration)> {
    let range = Duration::from_secs(1)..=Duration::from_secs(MAX_PAUSE);
    let times: Vec<_> = text.split_whitespace().map(time).collect::<Option<_>>()?;
    let pauses = match times[..] {
        [both] => (both, both),
        [first, longest] if first <= longest => (first, longest),
        _ => return None,
    };
    (range.contains(&pauses.0) && range.contains(&pauses.1)).then_some(pauses)
}

/// Two times as they are written.
pub(super) fn pauses_words((first, longest): (Duration, Duration)) -> String {
    format!("{} {}", Time(first.as_secs()), Time(longest.as_secs()))
}

const VERSIONS: [(&str, Version); 3] =
    [("mqttv31", Version::V31), ("mqttv311", Version::V311), ("mqttv50", Version::V5)];

pub(super) fn version(text: &str) -> Option<Version> {
    VERSIONS.iter().find(|(name, _)| *name == text).map(|(_, version)| *version)
}

pub(super) fn version_name(version: Version) -> &'static str {
    VERSIONS.iter().find(|(_, other)| *other == version).map_or("mqttv311", |(name, _)| name)
}

pub(super) fn sync(text: &str) -> Option<SyncPolicy> {
    match text.split_once(' ') {
        None if text == "always" => Some(SyncPolicy::Always),
        None if text == "os" => Some(SyncPolicy::Os),
        Some(("interval", interval)) => {
            let range = Duration::from_secs(1)..=Duration::from_secs(MAX_SYNC_INTERVAL);
            time(interval).filter(|interval| range.contains(interval)).map(SyncPolicy::Interval)
        }
        _ => None,
    }
}

pub(super) fn sync_words(policy: SyncPolicy) -> String {
    match policy {
        SyncPolicy::Always => "always".to_owned(),
        SyncPolicy::Interval(time) => format!("interval {}", Time(time.as_secs())),
        SyncPolicy::Os => "os".to_owned(),
    }
}

/// Bytes, in the largest unit that says them exactly.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &SIZES, f)
    }
}

/// Seconds, in the largest unit that says them exactly.
pub(super) struct Time(pub(super) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &TIMES, f)
    }
}

/// Seconds, in the largest unit of an age that says them exactly.
pub(super) struct Age(pub(super) u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &AGES, f)
    }
}

fn write_with_unit(number: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, factor)| number != 0 && number.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", number / factor),
        None => write!(f, "{number}"),
    }
}

pub(super) fn mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777)
}

pub(super) fn protocols(text: &str) -> Option<TlsVersions> {
    let mut versions = text.split(',').map(str::trim).map(|version| match version {
        "tlsv1_2" | "tlsv1.2" => Some(TlsVersions::V1_2),
        "tlsv1_3" | "tlsv1.3" => Some(TlsVersions::V1_3),
        _ => None,
    });
    let first = versions.next()??;
    versions.try_fold(first, |all, one| Some(if all == one? { all } else { TlsVersions::V1_2AndV1_3 }))
}

pub(super) fn protocol_names(versions: TlsVersions) -> &'static str {
    match versions {
        TlsVersions::V1_2 => "tlsv1_2",
        TlsVersions::V1_3 => "tlsv1_3",
        TlsVersions::V1_2AndV1_3 => "tlsv1_2,tlsv1_3",
    }
}

/// A path as it must be written behind `listener 0`, where only a slash tells it from an address.
pub(super) fn with_slash(path: &Path) -> PathBuf {
    if path.as_os_str().to_string_lossy().contains('/') { path.to_owned() } else { Path::new(".").join(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_any_case() {
        for (text, bytes) in [
            ("7", Some(7)),
            ("7B", Some(7)),
            ("2kb", Some(2048)),
            ("2MB", Some(2 << 20)),
            ("1Gb", Some(1 << 30)),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
        for text in ["", "KB", "-1", "+1", "1 KB", "1.5MB", "1TB", "1K", "99999999999GB", "1KBé", "é"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn an_hour_has_its_full_length() {
        for (text, seconds) in [("7", 7), ("7s", 7), ("2m", 120), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(time("1w"), None);
    }

    #[test]
    fn an_age_has_no_months_and_its_minutes_are_no_minutes() {
        for (text, seconds) in [("7", 7), ("2h", 7200), ("2w", 14 * 86_400), ("1y", 365 * 86_400)] {
            assert_eq!(age(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        let advice = Kind::Age { max: u64::MAX }.check("2m").unwrap_err();
        assert!(advice.contains("a month to mosquitto"), "{advice}");
    }

    #[test]
    fn what_is_written_is_exact_and_short() {
        for (bytes, text) in
            [(0, "0"), (1, "1B"), (1023, "1023B"), (1536, "1536B"), (2048, "2KB"), (3 << 30, "3GB")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(Time(5400).to_string(), "90m");
    }

    #[test]
    fn a_sync_has_a_time_only_where_it_needs_one() {
        let seconds = |seconds| Some(SyncPolicy::Interval(Duration::from_secs(seconds)));
        for (text, policy) in [
            ("always", Some(SyncPolicy::Always)),
            ("os", Some(SyncPolicy::Os)),
            ("interval 5", seconds(5)),
            ("interval 1h", seconds(3600)),
        ] {
            assert_eq!(sync(text), policy, "{text}");
        }
        for text in ["", "never", "always 5", "interval", "interval 0", "interval 2h", "interval  5"] {
            assert_eq!(sync(text), None, "{text}");
        }
    }

    #[test]
    fn protocols_are_a_list_in_any_order() {
        assert_eq!(protocols("tlsv1_3"), Some(TlsVersions::V1_3));
        assert_eq!(protocols("tlsv1_3, tlsv1_2"), Some(TlsVersions::V1_2AndV1_3));
        assert_eq!(protocols("tlsv1_2,tlsv1_2"), Some(TlsVersions::V1_2));
        for text in ["", ",", "tlsv1_2,", "tlsv1_4", "tlsv1_2,sslv3"] {
            assert_eq!(protocols(text), None, "{text}");
        }
    }
}
