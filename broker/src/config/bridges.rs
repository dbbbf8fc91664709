//! From `connection` sections to bridges.

use super::parse::{Parser, Section};
use super::{Bridge, BridgeStart, BridgeTls, Notifications, Secret, TlsVersions, value};
use crate::topic::Name;

/// The shortest keep alive, in seconds: as mosquitto has it.
const MIN_KEEP_ALIVE: u16 = 5;

impl Parser {
    pub(super) fn bridges(&mut self, sections: &[Section]) -> Vec<Bridge> {
        let mut bridges = Vec::<Bridge>::new();
        for section in sections {
            let Some(bridge) = self.bridge(section) else { continue };
            let line = section.opening.as_ref().map(|opening| opening.place);
            if bridges.iter().any(|other| other.name == bridge.name) {
                let what =
                    format!("a second `connection {}`: give each bridge a name of its own", bridge.name);
                self.problem(line, None, what);
            } else if bridges.iter().any(|other| other.local_client_id() == bridge.local_client_id()) {
                let what = format!(
                    "a second bridge with the client identifier `{}` here: give one another `local_clientid`",
                    bridge.local_client_id()
                );
                self.problem(line, None, what);
            }
            bridges.push(bridge);
        }
        bridges
    }

    fn bridge(&mut self, section: &Section) -> Option<Bridge> {
        // A wrong opening line has been told of already.
        let (name, place) = section.title()?;
        for (key, what) in [("address", "say where the other broker is"), ("topic", "say what goes over it")]
        {
            if section.line(key).is_none() {
                let what = format!("`connection {name}` without `{key}`: {what}");
                self.problem(place, None, what);
            }
        }
        let text = |key| section.text(key).map(str::to_owned);
        let truth = |key, default| section.truth(key).unwrap_or(default);
        let clean_session = truth("cleansession", false);
        let topics = section.list("topic");
        let mut bridge = Bridge {
            name: name.to_owned(),
            addresses: section.text("address").and_then(value::addresses).unwrap_or_default(),
            round_robin: truth("round_robin", false),
            bind_address: section.text("bridge_bind_address").and_then(|text| text.parse().ok()),
            topics: topics.filter_map(|topic| value::topic(topic).ok()).collect(),
            local_client_id: text("local_clientid"),
            remote_client_id: text("remote_clientid"),
            user_name: text("remote_username"),
            password: text("remote_password").map(Secret),
            clean_session,
            local_clean_session: truth("local_cleansession", clean_session),
            tells: truth("try_private", true),
            keeps_retain: truth("bridge_outgoing_retain", true),
            unsubscribes: truth("bridge_attempt_unsubscribe", true),
            max_packet_bytes: section
                .text("bridge_max_packet_size")
                .and_then(value::size)
                .and_then(|bytes| u32::try_from(bytes).ok()),
            notifications: truth("notifications", true).then(|| Notifications {
                topic: text("notification_topic"),
                is_local: truth("notifications_local_only", false),
            }),
            tls: self.bridge_tls(section),
            ..Bridge::new("", super::RemoteAddress { host: String::new(), port: None }, Vec::new())
        };
        if let Some(version) = section.text("bridge_protocol_version").and_then(value::version) {
            bridge.version = version;
        }
        if let Some(pauses) = section.text("restart_timeout").and_then(value::pauses) {
            bridge.restart = pauses;
        }
        if let Some(time) = section.text("keepalive_interval").and_then(value::time) {
            bridge.keep_alive = u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
            if bridge.keep_alive < MIN_KEEP_ALIVE {
                let what = format!("`keepalive_interval` below {MIN_KEEP_ALIVE}s: give that or more");
                self.problem(section.line("keepalive_interval"), None, what);
            }
        }
        bridge.start = match section.text("start_type") {
            Some("once") => BridgeStart::Once,
            Some("lazy") => BridgeStart::Lazy {
                threshold: section.text("threshold").and_then(|text| text.parse().ok()).unwrap_or(10),
                idle: section.text("idle_timeout").and_then(value::time).unwrap_or(IDLE),
            },
            _ => BridgeStart::Automatic,
        };
        if bridge.password.is_some() && bridge.user_name.is_none() {
            let what = "`remote_password` without `remote_username`: say whose it is".to_owned();
            self.problem(section.line("remote_password"), None, what);
        }
        let topic = section.text("notification_topic");
        if let Some(error) = topic.and_then(|topic| Name::new(topic).err()) {
            let what = format!("`notification_topic` is no topic name: {error}: give another");
            self.problem(section.line("notification_topic"), None, what);
        }
        Some(bridge)
    }

    fn bridge_tls(&mut self, section: &Section) -> Option<BridgeTls> {
        let [cafile, certfile, keyfile] = ["bridge_cafile", "bridge_certfile", "bridge_keyfile"];
        if section.line(cafile).is_none() {
            for key in [certfile, keyfile, "bridge_alpn"] {
                if let Some(line) = section.line(key) {
                    let what =
                        format!("`{key}` without `{cafile}`: TLS needs to know whom to trust, give it");
                    self.problem(line, None, what);
                }
            }
            if section.truth("bridge_insecure") == Some(true) {
                let what = format!("`bridge_insecure` without `{cafile}`: no TLS is spoken, leave it out");
                self.problem(section.line("bridge_insecure"), None, what);
            }
        }
        self.refuse_half(section, certfile, keyfile);
        let versions = section.text("bridge_tls_version").and_then(value::protocols);
        Some(BridgeTls {
            cafile: section.path(cafile)?,
            identity: section.path(certfile).zip(section.path(keyfile)),
            is_insecure: section.truth("bridge_insecure").unwrap_or(false),
            versions: versions.unwrap_or(TlsVersions::V1_2AndV1_3),
            alpn: section.text("bridge_alpn").map(str::to_owned),
        })
    }
}

/// The default of `idle_timeout`.
const IDLE: std::time::Duration = std::time::Duration::from_secs(60);
