//! Another broker, and what goes between it and this one. The keys are mosquitto's.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{DEFAULT_PORT, TlsVersions};
use crate::codec::{QoS, Version};
use crate::topic::{Filter, FilterError, SharedFilter};

/// The port registered for MQTT over TLS.
const TLS_PORT: u16 = 8883;

/// A bridge: this broker is the other one's client, and hands messages on both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// What it is called: in the log, and in the identifiers it has where they are not given.
    pub name: String,
    /// Where the other broker is, or others that may stand for it: at least one.
    pub addresses: Vec<RemoteAddress>,
    /// Whether to go on to the next address at each attempt; otherwise the first is tried first.
    pub round_robin: bool,
    /// Where to connect from; none leaves it to the system.
    pub bind_address: Option<IpAddr>,
    /// What goes where: at least one.
    pub topics: Vec<BridgeTopic>,
    /// The client identifier of its session here; none is `bridge.` and the name.
    pub local_client_id: Option<String>,
    /// The client identifier it has there; none is this host's name, a dot and the name.
    pub remote_client_id: Option<String>,
    /// Who it is there.
    pub user_name: Option<String>,
    /// Its password there.
    pub password: Option<Secret>,
    /// What the other broker is spoken to in.
    pub version: Version,
    /// Whether the other broker is told that this is a bridge, as mosquitto does it: by a bit in the protocol level, which
    /// a broker that does not know it refuses; it is then asked again without. In 5.0 subscriptions say all there is to say.
    pub tells: bool,
    /// Whether the session there ends with the connection.
    pub clean_session: bool,
    /// Whether the session here does, and so nothing is kept while there is no connection.
    pub local_clean_session: bool,
    /// The longest silence, in seconds.
    pub keep_alive: u16,
    /// How long to wait for the next attempt to connect: at first, and at most. Between, it doubles.
    pub restart: (Duration, Duration),
    /// When to connect.
    pub start: BridgeStart,
    /// Where it is told whether it is connected; none is not told at all.
    pub notifications: Option<Notifications>,
    /// Whether messages that were published with RETAIN go out with it.
    pub keeps_retain: bool,
    /// Whether the other broker is asked, in an old session, for nothing of what only goes out.
    pub unsubscribes: bool,
    /// The largest packet to take from there and to send, in bytes; none leaves it to the brokers.
    pub max_packet_bytes: Option<u32>,
    /// TLS; none is plain MQTT.
    pub tls: Option<BridgeTls>,
}

impl Bridge {
    /// To that address, with these topics, and the defaults for the rest.
    pub fn new(name: impl Into<String>, address: RemoteAddress, topics: Vec<BridgeTopic>) -> Self {
        Self {
            name: name.into(),
            addresses: vec![address],
            round_robin: false,
            bind_address: None,
            topics,
            local_client_id: None,
            remote_client_id: None,
            user_name: None,
            password: None,
            version: Version::V311,
            tells: true,
            clean_session: false,
            local_clean_session: false,
            keep_alive: 60,
            restart: (Duration::from_secs(5), Duration::from_secs(30)),
            start: BridgeStart::Automatic,
            notifications: Some(Notifications::default()),
            keeps_retain: true,
            unsubscribes: true,
            max_packet_bytes: None,
            tls: None,
        }
    }

    /// The client identifier of its session here.
    pub fn local_client_id(&self) -> String {
        self.local_client_id.clone().unwrap_or_else(|| format!("bridge.{}", self.name))
    }
}

/// When a bridge connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeStart {
    /// At the start of the broker, and again whenever the connection is lost.
    Automatic,
    /// At the start of the broker, and not again once a connection is lost.
    Once,
    /// When so many messages wait, until nothing has gone either way for so long.
    Lazy {
        /// Messages.
        threshold: u32,
        /// The time.
        idle: Duration,
    },
}

/// Where it is told whether a bridge is connected: 1 or 0, retained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// The topic; none is `$SYS/broker/connection/CLIENT/state`, with the client identifier it has there.
    pub topic: Option<String>,
    /// Only here, and not on the other broker.
    pub is_local: bool,
}

/// Where another broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Its name or IP address.
    pub host: String,
    /// Its port; none is the one registered for MQTT, with TLS or without.
    pub port: Option<u16>,
}

impl RemoteAddress {
    /// The port to connect to.
    pub fn port(&self, with_tls: bool) -> u16 {
        self.port.unwrap_or(if with_tls { TLS_PORT } else { DEFAULT_PORT })
    }

    /// Reads `host`, `host:port`, an IP address, or one of IPv6 in brackets with a port.
    pub fn parse(text: &str) -> Option<Self> {
        let of = |host: &str, port: Option<u16>| {
            let valid = !host.is_empty() && !host.contains(|char: char| char.is_whitespace() || char == '/');
            valid.then(|| Self { host: host.to_owned(), port })
        };
        if text.parse::<IpAddr>().is_ok() {
            return of(text, None);
        }
        if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            host.parse::<IpAddr>().ok()?;
            return match rest.strip_prefix(':') {
                Some(port) => of(host, Some(port.parse().ok().filter(|port| *port > 0)?)),
                None if rest.is_empty() => of(host, None),
                None => None,
            };
        }
        match text.split_once(':') {
            Some((host, port)) => of(host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => of(text, None),
        }
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (None, _) => f.write_str(&self.host),
        }
    }
}

/// Topics that go over a bridge: which, which way, and what they are called on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeTopic {
    /// What both sides have in common: a topic filter, or nothing where the prefixes are whole topics.
    pub pattern: String,
    /// Which way.
    pub direction: Direction,
    /// At most with that QoS.
    pub qos: QoS,
    /// What stands before it here.
    pub local_prefix: String,
    /// What stands before it there.
    pub remote_prefix: String,
}

impl BridgeTopic {
    /// Without prefixes.
    pub fn new(pattern: impl Into<String>, direction: Direction, qos: QoS) -> Self {
        Self {
            pattern: pattern.into(),
            direction,
            qos,
            local_prefix: String::new(),
            remote_prefix: String::new(),
        }
    }

    /// The topic filter here.
    pub fn local(&self) -> String {
        format!("{}{}", self.local_prefix, self.pattern)
    }

    /// The topic filter there.
    pub fn remote(&self) -> String {
        format!("{}{}", self.remote_prefix, self.pattern)
    }

    /// Reads `PATTERN [out|in|both [QOS [LOCAL [REMOTE]]]]`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut words = words.iter().map(String::as_str);
        let mut topic = Self::new(words.next().unwrap_or_default(), Direction::Out, QoS::AtMostOnce);
        if let Some(word) = words.next() {
            topic.direction = match word {
                "out" => Direction::Out,
                "in" => Direction::In,
                "both" => Direction::Both,
                _ => return Err(format!("`{word}` for a direction: give out, in or both")),
            };
        }
        if let Some(word) = words.next() {
            let qos = word.parse::<u8>().ok().and_then(|qos| QoS::try_from(qos).ok());
            topic.qos = qos.ok_or_else(|| format!("`{word}` for a QoS: give 0, 1 or 2"))?;
        }
        words.next().unwrap_or_default().clone_into(&mut topic.local_prefix);
        words.next().unwrap_or_default().clone_into(&mut topic.remote_prefix);
        if let Some(word) = words.next() {
            return Err(format!("`{word}` behind the remote prefix: leave it out, or quote what has spaces"));
        }
        for prefix in [&topic.local_prefix, &topic.remote_prefix] {
            if prefix.contains(['+', '#']) {
                return Err(format!("a wildcard in the prefix `{prefix}`: put it into the pattern"));
            }
        }
        for filter in [topic.local(), topic.remote()] {
            let valid = Filter::new(&filter).map_err(|error: FilterError| {
                format!("`{filter}` is no topic filter: {error}: give another pattern or prefix")
            })?;
            if !matches!(SharedFilter::parse(valid), Ok(None)) {
                return Err(format!("`{filter}` is a shared subscription: give a topic filter"));
            }
        }
        Ok(topic)
    }
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From here to there.
    Out,
    /// From there to here.
    In,
    /// Both.
    Both,
}

impl Direction {
    /// From here to there, alone or beside the other.
    pub fn goes_out(self) -> bool {
        self != Self::In
    }

    /// From there to here, alone or beside the other.
    pub fn comes_in(self) -> bool {
        self != Self::Out
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        })
    }
}

/// How TLS is spoken with another broker. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeTls {
    /// The authorities that sign its certificate.
    pub cafile: PathBuf,
    /// The certificate shown to it, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether its certificate may be for another name than the one in the address.
    pub is_insecure: bool,
    /// The versions spoken.
    pub versions: TlsVersions,
    /// The protocol that it is asked for (ALPN).
    pub alpn: Option<String>,
}

/// Text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, host, port) in [
            ("broker.example.org", "broker.example.org", None),
            ("broker:1884", "broker", Some(1884)),
            ("10.0.0.1:1884", "10.0.0.1", Some(1884)),
            ("::1", "::1", None),
            ("[::1]:1884", "::1", Some(1884)),
        ] {
            let address = RemoteAddress::parse(text).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.to_string(), text);
        }
        for text in ["", ":1", "a:", "a:0", "a:x", "[a]:1", "[::1]1", "a/b", "a:70000"] {
            assert_eq!(RemoteAddress::parse(text), None, "{text}");
        }
    }
}
