//! What a broker can do, found out before any scenario, so that nobody has to write it down.
//!
//! Only what a broker says in so many words is believed to be missing: a refused filter, a connection closed on a large
//! packet. What merely goes wrong here is for the scenarios to judge, and must not make them be skipped.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::Version;
use crate::actor::Plain;
use crate::frame::{Kind, Packet, pattern};
use crate::run::token;
use crate::target::{Target, TargetError};

/// What was found out. Serves the head of each report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The versions it takes a CONNECT of: `3.1`, `3.1.1`, `5.0`.
    pub versions: Vec<String>,
    /// The highest QoS it grants.
    pub maximum_qos: u64,
    /// Whether it takes filters with wildcards.
    pub wildcards: bool,
    /// Whether it takes messages with RETAIN.
    pub retain: bool,
    /// The largest payload in bytes that came through, of those tried.
    pub largest_payload: usize,
    /// Whether it takes clients without an identifier.
    pub empty_client_id: bool,
    /// Whether it lets in who has no credentials.
    pub anonymous: bool,
    /// Whether anything is published below `$SYS/`.
    pub sys: bool,
    /// What it says of itself in 5.0.
    #[serde(default)]
    pub announced: Option<Announced>,
}

/// What CONNACK of 5.0 says of the broker; what it leaves out has the value that the standard gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Maximum QoS.
    pub maximum_qos: u64,
    /// Retain Available.
    pub retain: bool,
    /// Wildcard Subscription Available.
    pub wildcards: bool,
    /// Subscription Identifiers Available.
    pub subscription_ids: bool,
    /// Shared Subscription Available.
    pub shared: bool,
    /// Receive Maximum.
    pub receive_maximum: u64,
    /// Maximum Packet Size in bytes.
    pub maximum_packet_size: Option<u64>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: u64,
    /// Server Keep Alive in seconds, for a client that asks for the longest.
    pub server_keep_alive: Option<u64>,
    /// Whether it gives Response Information.
    pub response_information: bool,
    /// Whether it begins an authentication by SCRAM-SHA-256.
    pub scram: bool,
    /// Whether it refuses a payload that is said to be UTF-8 and is not.
    #[serde(default)]
    pub checks_payloads: bool,
}

impl Announced {
    fn of(connack: &Packet, scram: bool, checks_payloads: bool) -> Self {
        let number = |name: &str, default| connack.number(name).unwrap_or(default);
        let has = |name: &str| number(name, 1) == 1;
        Announced {
            maximum_qos: number("maximum_qos", 2),
            retain: has("retain_available"),
            wildcards: has("wildcard_available"),
            subscription_ids: has("subscription_id_available"),
            shared: has("shared_available"),
            receive_maximum: number("receive_maximum", u16::MAX.into()),
            maximum_packet_size: connack.number("maximum_packet_size"),
            topic_alias_maximum: number("topic_alias_maximum", 0),
            server_keep_alive: connack.number("server_keep_alive"),
            response_information: connack.bytes("response_information").is_some(),
            scram,
            checks_payloads,
        }
    }

    /// The words of `needs`, and whether they hold.
    fn words(&self) -> Vec<(&'static str, bool)> {
        let has = [
            ("shared", self.shared),
            ("subscription-ids", self.subscription_ids),
            ("topic-alias", self.topic_alias_maximum > 0),
            ("receive-maximum", self.receive_maximum <= 1000),
            ("maximum-packet-size", self.maximum_packet_size.is_some_and(|bytes| bytes <= 4 << 20)),
            ("server-keep-alive", self.server_keep_alive.is_some_and(|time| time <= 10)),
            ("response-information", self.response_information),
            ("scram", self.scram),
            ("payload-check", self.checks_payloads),
            ("no-qos1", self.maximum_qos < 1),
            ("no-qos2", self.maximum_qos < 2),
            ("no-retain", !self.retain),
            ("no-wildcards", !self.wildcards),
            ("no-shared", !self.shared),
            ("no-subscription-ids", !self.subscription_ids),
            ("no-topic-alias", self.topic_alias_maximum == 0),
        ];
        let below = |size| self.maximum_packet_size.is_some_and(|maximum| maximum < size);
        let lacks = [
            ("silence-5s", self.server_keep_alive.is_some_and(|time| time <= 5)),
            ("packets-4k", below(4 << 10)),
            ("packets-20k", below(20 << 10)),
            ("packets-70k", below(70 << 10)),
            ("window-100", self.receive_maximum < 100),
            ("window-65535", self.receive_maximum < u16::MAX.into()),
            ("qos1", self.maximum_qos < 1),
            ("qos2", self.maximum_qos < 2),
            ("retain", !self.retain),
            ("wildcards", !self.wildcards),
        ];
        let lacks = lacks.into_iter().filter(|(_, lacks)| *lacks).map(|(word, _)| (word, false));
        has.into_iter().chain(lacks).collect()
    }
}

impl fmt::Display for Announced {
    /// What is not as a client takes it to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacks = [
            (self.retain, "no retained messages"),
            (self.wildcards, "no wildcards"),
            (self.subscription_ids, "no subscription identifiers"),
            (self.shared, "no shared subscriptions"),
        ];
        let mut said: Vec<String> = Vec::new();
        if self.maximum_qos < 2 {
            said.push(format!("Maximum QoS {}", self.maximum_qos));
        }
        said.extend(lacks.into_iter().filter(|(has, _)| !has).map(|(_, what)| what.to_owned()));
        if self.receive_maximum < u16::MAX.into() {
            said.push(format!("Receive Maximum {}", self.receive_maximum));
        }
        said.extend(self.maximum_packet_size.map(|bytes| format!("Maximum Packet Size {bytes}")));
        said.push(format!("Topic Alias Maximum {}", self.topic_alias_maximum));
        said.extend(self.server_keep_alive.map(|time| format!("Server Keep Alive {time} s")));
        said.extend(self.response_information.then(|| "Response Information".to_owned()));
        said.extend(self.scram.then(|| "SCRAM-SHA-256".to_owned()));
        said.extend(self.checks_payloads.then(|| "checks of payloads".to_owned()));
        write!(f, "in 5.0 {}", said.join(", "))
    }
}

/// Why there is nothing to test, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody is there, or nobody who takes us in.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// HTTP.
    #[error("{0} is a web server, not an MQTT broker")]
    WebServer(String),
}

/// The payloads tried: just above the 256 KiB that every target is taken to have, and `large-packets`.
const PAYLOADS: [usize; 2] = [256 * 1024 + 1, 4_000_000];

/// Asks for everything.
///
/// # Errors
/// There is no broker, or it does not take us in.
pub fn find_out(target: &mut Target) -> Result<Findings, ProbeError> {
    target.probe().map_err(|error| explain(target, error))?;
    let target = &*target;
    let version = target.versions.first().copied().unwrap_or(Version::V3_1_1);
    let probe = Probe { target, version, token: token() };
    let mut versions: Vec<String> = target.versions.iter().map(ToString::to_string).collect();
    let connect = || Packet::new(Kind::Connect).with("client_id", probe.id().as_str());
    if probe.takes_connect(Version::V3_1_1, connect().with("protocol", "MQIsdp").with("level", 3u64)) {
        versions.insert(0, "3.1".to_owned());
    }
    let arrives = |size: &usize| probe.arrives(*size);
    Ok(Findings {
        versions,
        maximum_qos: probe.highest_grant(),
        wildcards: probe.grants("probe/#", 0).is_some_and(|code| code < REFUSED)
            && probe.grants("+/probe", 0).is_some_and(|code| code < REFUSED),
        retain: probe.takes_retained(),
        largest_payload: PAYLOADS.into_iter().take_while(arrives).last().unwrap_or(0),
        empty_client_id: probe.takes_connect(version, Packet::new(Kind::Connect).with("client_id", "")),
        anonymous: !target.capabilities.contains("closed"),
        sys: probe.publishes_sys(),
        announced: target.versions.contains(&Version::V5_0).then(|| probe.announced()).flatten(),
    })
}

/// SUBACK: from here on the filter is refused.
const REFUSED: u64 = 0x80;

impl Findings {
    /// Gives the target the capabilities found, and takes away those missing.
    pub fn apply(&self, target: &mut Target) {
        let found = [
            ("grants-qos1", self.maximum_qos >= 1),
            ("grants-qos2", self.maximum_qos >= 2),
            ("wildcards", self.wildcards),
            ("retain", self.retain),
            ("large-packets", self.largest_payload >= 4_000_000),
            ("sys", self.sys),
        ];
        let announced = self.announced.as_ref().map(Announced::words).unwrap_or_default();
        for (word, has) in found.into_iter().chain(announced) {
            if has {
                target.capabilities.insert(word.to_owned());
            } else {
                target.capabilities.remove(word);
            }
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = match self.versions.as_slice() {
            [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
            other => other.concat(),
        };
        let payload = match self.largest_payload {
            0 => format!("payloads below {} KiB", PAYLOADS.first().map_or(0, |size| size / 1024)),
            size if size >= 1_000_000 => format!("payloads of {} MB", size / 1_000_000),
            size => format!("payloads of {} KiB", size / 1024),
        };
        write!(f, "speaks {versions}; grants QoS {}; {payload}", self.maximum_qos)?;
        let has = [
            ("wildcards", self.wildcards),
            ("retained messages", self.retain),
            ("empty client identifiers", self.empty_client_id),
            ("clients without credentials", self.anonymous),
            ("$SYS", self.sys),
        ];
        has.into_iter().try_for_each(|(what, has)| write!(f, "; {}{what}", if has { "" } else { "no " }))?;
        self.announced.iter().try_for_each(|announced| write!(f, "; {announced}"))
    }
}

/// Says more of somebody who does not answer as a broker, where that is possible.
fn explain(target: &Target, error: TargetError) -> ProbeError {
    match error {
        TargetError::NotMqtt { .. } if is_web_server(target) => {
            ProbeError::WebServer(target.endpoint.to_string())
        }
        error => error.into(),
    }
}

fn is_web_server(target: &Target) -> bool {
    let ask = || {
        let transport = target.endpoint.connect(target.deadline)?;
        transport.set_read_timeout(Some(target.deadline))?;
        transport.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = [0; 64];
        let length = transport.read(&mut answer)?;
        Ok::<_, std::io::Error>(answer.get(..length).is_some_and(|answer| answer.starts_with(b"HTTP/")))
    };
    ask().unwrap_or(false)
}

struct Probe<'a> {
    target: &'a Target,
    /// One that it speaks.
    version: Version,
    /// Makes the topics and client identifiers ours.
    token: String,
}

impl Probe<'_> {
    fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.token)
    }

    fn id(&self) -> String {
        format!("{}probe", self.token)
    }

    fn connected(&self) -> Option<Plain> {
        // To be slow is not to refuse.
        let patient = Target { deadline: self.target.deadline * 4, ..self.target.clone() };
        Plain::connect(&patient, self.version, self.id().as_bytes()).ok()
    }

    /// The answer to a CONNECT, which comes with the target's credentials.
    fn answer(&self, version: Version, mut connect: Packet) -> Option<Packet> {
        if let Some(credentials) = &self.target.credentials {
            credentials.sign(&mut connect);
        }
        let transport = self.target.endpoint.connect(self.target.deadline).ok()?;
        let mut plain = Plain::over(transport, version, self.target.deadline).ok()?;
        plain.send(&connect).ok()?;
        plain.receive().ok()
    }

    fn takes_connect(&self, version: Version, connect: Packet) -> bool {
        self.answer(version, connect)
            .is_some_and(|answer| answer.kind == Kind::Connack && answer.number("reason") == Some(0))
    }

    /// What it says of itself.
    fn announced(&self) -> Option<Announced> {
        let connect = || Packet::new(Kind::Connect).with("client_id", self.id().as_str());
        let asking = connect().with("keep_alive", 0xffffu64).with("request_response_information", 1u64);
        let connack = self.answer(Version::V5_0, asking)?;
        let username = self.target.credentials.as_ref().map_or("nobody", |known| known.username.as_str());
        let scram = connect()
            .with("authentication_method", "SCRAM-SHA-256")
            .with("authentication_data", format!("n,,n={username},r={}", self.token).as_str());
        let begun = self.answer(Version::V5_0, scram).is_some_and(|answer| answer.kind == Kind::Auth);
        Some(Announced::of(&connack, begun, self.checks_payloads() == Some(true)))
    }

    /// What PUBACK has to say to a payload that is not what it is said to be.
    fn checks_payloads(&self) -> Option<bool> {
        let mut plain = Plain::connect(self.target, Version::V5_0, self.id().as_bytes()).ok()?;
        let message = Packet::new(Kind::Publish).with("topic", self.topic("text").as_str());
        let message = message.with("payload_format", 1u64).with("payload", vec![0xff]);
        plain.send(&message.with("qos", 1u64).with("id", 1u64)).ok()?;
        Some(plain.await_kind(Kind::Puback).ok()?.number("reason") == Some(0x99))
    }

    /// The code that SUBACK has for this filter. `None`: no SUBACK.
    fn grants(&self, filter: &str, qos: u64) -> Option<u64> {
        let mut plain = self.connected()?;
        plain.send(&self.subscribe(filter, qos)).ok()?;
        plain.await_kind(Kind::Suback).ok()?.number("reason")
    }

    /// The highest QoS that it grants, unless it talks nonsense.
    fn highest_grant(&self) -> u64 {
        let granted = |asked| match self.grants("probe", asked) {
            Some(REFUSED..) => None,
            Some(less) if less < asked => Some(less),
            _ => Some(asked),
        };
        [2, 1].into_iter().find_map(granted).unwrap_or(0)
    }

    fn subscribe(&self, filter: &str, qos: u64) -> Packet {
        let packet = Packet::new(Kind::Subscribe).with("id", 1u64);
        packet.with("topic", self.topic(filter).as_str()).with("qos", qos)
    }

    /// Whether a message of this size finds its way, or at least breaks no connection.
    fn arrives(&self, size: usize) -> bool {
        let Some(mut plain) = self.connected() else { return false };
        let message = Packet::new(Kind::Publish).with("topic", self.topic("large").as_str());
        let mut send = || {
            plain.send(&self.subscribe("large", 0))?;
            plain.await_kind(Kind::Suback)?;
            plain.send(&message.clone().with("payload", pattern(size)))?;
            plain.send(&Packet::new(Kind::Pingreq))?;
            plain.receive()
        };
        send().is_ok()
    }

    fn takes_retained(&self) -> bool {
        let Some(mut plain) = self.connected() else { return false };
        let message =
            Packet::new(Kind::Publish).with("topic", self.topic("retained").as_str()).with("retain", 1u64);
        let mut send = || {
            plain.send(&message.clone().with("payload", "kept"))?;
            plain.send(&message)?;
            plain.send(&Packet::new(Kind::Pingreq))?;
            plain.receive()
        };
        send().is_ok()
    }

    fn publishes_sys(&self) -> bool {
        let Some(mut plain) = self.connected() else { return false };
        let packet = Packet::new(Kind::Subscribe).with("id", 1u64).with("topic", "$SYS/#");
        let mut ask = || {
            plain.send(&packet)?;
            plain.await_kind(Kind::Suback)?;
            plain.send(&Packet::new(Kind::Pingreq))?;
            plain.receive()
        };
        ask().is_ok_and(|answer| answer.kind == Kind::Publish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_well() {
        let mut found = Findings {
            versions: vec!["3.1".into(), "3.1.1".into(), "5.0".into()],
            maximum_qos: 2,
            wildcards: true,
            retain: false,
            largest_payload: 4_000_000,
            empty_client_id: true,
            anonymous: true,
            sys: false,
            announced: None,
        };
        assert_eq!(
            found.to_string(),
            "speaks 3.1, 3.1.1 and 5.0; grants QoS 2; payloads of 4 MB; wildcards; no retained messages; \
             empty client identifiers; clients without credentials; no $SYS"
        );
        found.versions = vec!["3.1.1".into()];
        found.largest_payload = 0;
        assert!(
            found.to_string().starts_with("speaks 3.1.1; grants QoS 2; payloads below 256 KiB;"),
            "{found}"
        );

        let mut target = Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        found.apply(&mut target);
        let has = |word: &str| target.capabilities.contains(word);
        assert!(has("open") && has("qos2") && has("grants-qos2") && has("wildcards"));
        assert!(!has("retain") && !has("large-packets") && !has("sys"));
        found.maximum_qos = 1;
        found.apply(&mut target);
        assert!(target.capabilities.contains("grants-qos1") && !target.capabilities.contains("grants-qos2"));

        let connack = Packet::new(Kind::Connack).with("maximum_qos", 1u64).with("receive_maximum", 20u64);
        let connack = connack.with("shared_available", 0u64).with("maximum_packet_size", 32_768u64);
        found.announced = Some(Announced::of(&connack, true, false));
        assert!(
            found.to_string().ends_with(
                "in 5.0 Maximum QoS 1, no shared subscriptions, Receive Maximum 20, Maximum Packet Size 32768, \
                 Topic Alias Maximum 0, SCRAM-SHA-256"
            ),
            "{found}"
        );
        found.apply(&mut target);
        let has = |word: &str| target.capabilities.contains(word);
        assert!(has("no-qos2") && has("qos1") && has("receive-maximum") && has("no-shared") && has("scram"));
        assert!(!has("qos2") && !has("no-qos1") && !has("shared") && !has("topic-alias"));
        assert!(has("packets-20k") && !has("packets-70k"));
    }
}
