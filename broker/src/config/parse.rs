//! From a file to [`Settings`], or to everything that is wrong in it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::keys::{self, Key, Scope};
use super::settings::Sources;
use super::{
    CertificateName, Config, DEFAULT_PORT, Endpoint, Kind, Listener, Problem, Settings, Tls, TlsVersions,
    WebSocket, line, value,
};
use crate::codec::QoS;

/// What the command line says of the plain listener. It wins over the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// In place of `ip_address`.
    pub address: Option<IpAddr>,
    /// In place of `ip_port`.
    pub port: Option<u16>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// All that is wrong, in the order of the lines.
    pub fn read(path: &Path, overrides: Overrides) -> Result<Self, Vec<Problem>> {
        let file = Some(Arc::from(path));
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let what = format!("cannot read the configuration file: {error}");
                return Err(vec![Problem { file, line: None, column: None, what }]);
            }
        };
        match str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, Some(path), overrides),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = Some(1 + before.iter().filter(|byte| **byte == b'\n').count());
                let what = "this is not UTF-8: save the file as UTF-8".to_owned();
                Err(vec![Problem { file, line, column: None, what }])
            }
        }
    }

    /// Reads a file's text. The file is named in what is wrong.
    ///
    /// # Errors
    ///
    /// All that is wrong, in the order of the lines.
    pub fn parse(text: &str, file: Option<&Path>, overrides: Overrides) -> Result<Self, Vec<Problem>> {
        let mut parser = Parser { file: file.map(Arc::from), problems: Vec::new() };
        let sections = parser.sections(text);
        let settings = parser.settings(&sections, overrides);
        let mut problems = parser.problems;
        if problems.is_empty() {
            return Ok(settings);
        }
        // What concerns several listeners is found for each.
        problems.sort();
        problems.dedup();
        Err(problems)
    }
}

/// A value that is of its key's kind, or all values of a list with spaces between.
struct Given {
    text: String,
    line: usize,
}

/// What stands above the first `listener` line, or under one.
#[derive(Default)]
struct Section {
    /// The `listener` line.
    opening: Option<Given>,
    given: BTreeMap<&'static str, Given>,
    /// Keys that were given a value that cannot be taken; they count as given.
    spoilt: BTreeMap<&'static str, usize>,
}

impl Section {
    fn line(&self, key: &str) -> Option<usize> {
        self.given.get(key).map(|given| given.line).or_else(|| self.spoilt.get(key).copied())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(|given| given.text.as_str())
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn truth(&self, key: &str) -> Option<bool> {
        self.text(key)?.parse().ok()
    }
}

struct Parser {
    file: Option<Arc<Path>>,
    problems: Vec<Problem>,
}

impl Parser {
    fn problem(&mut self, line: impl Into<Option<usize>>, column: Option<usize>, what: String) {
        let line = line.into();
        self.problems.push(Problem {
            file: self.file.clone().filter(|_| line.is_some()),
            line,
            column,
            what,
        });
    }

    /// The part above the first `listener` line, which also has the broker's keys, and the listeners' parts.
    fn sections(&mut self, text: &str) -> (Section, Vec<Section>) {
        let (mut plain, mut listeners) = (Section::default(), Vec::<Section>::new());
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let mut words = match line::words(line) {
                Ok(words) => words.into_iter(),
                Err((column, what)) => {
                    self.problem(number, Some(column), what.to_owned());
                    continue;
                }
            };
            let Some(name) = words.next() else { continue };
            let Some(key) = keys::key(&name) else {
                self.problem(number, None, unknown(&name));
                continue;
            };
            let text = self.value(key, words, number);
            if key.scope == Scope::Opening {
                // Even a wrong one, so that what stands under it is not taken for another's.
                let opening = text.map(|text| Given { text, line: number });
                listeners.push(Section { opening, ..Section::default() });
                continue;
            }
            let section = match (key.scope, listeners.last_mut()) {
                (Scope::Plain, Some(_)) => {
                    let what = format!(
                        "`{name}` under a `listener` line: put it above the first one, or say it in the `listener` line"
                    );
                    self.problem(number, None, what);
                    continue;
                }
                (Scope::Listener | Scope::Inherited, Some(listener)) => listener,
                _ => &mut plain,
            };
            if key.kind.is_list()
                && let Some(given) = section.given.get_mut(key.name)
            {
                given.text.extend(text.iter().flat_map(|text| [" ", text]));
                continue;
            }
            if let Some(first) = section.line(key.name).filter(|_| !key.kind.is_list()) {
                let what = format!("`{name}` is given twice, on line {first} already: keep one of them");
                self.problem(number, None, what);
                continue;
            }
            match text {
                Some(text) => _ = section.given.insert(key.name, Given { text, line: number }),
                None => _ = section.spoilt.insert(key.name, number),
            }
        }
        (plain, listeners)
    }

    /// The value behind a key, if it is of the key's kind.
    fn value(&mut self, key: &Key, mut words: impl Iterator<Item = String>, line: usize) -> Option<String> {
        let Some(mut text) = words.next() else {
            self.problem(line, None, format!("`{}` without a value: give {}", key.name, key.kind));
            return None;
        };
        if (key.scope == Scope::Opening || key.kind == Kind::Sync)
            && let Some(place) = words.next()
        {
            text = format!("{text} {place}");
        }
        if let Err(advice) = key.kind.check(&text) {
            self.problem(line, None, format!("`{}` cannot be `{text}`: {advice}", key.name));
            return None;
        }
        if let Some(word) = words.next() {
            let what = format!(
                "`{word}` behind the value of `{}`: give one value, in double quotes if it has spaces",
                key.name
            );
            self.problem(line, None, what);
            return None;
        }
        Some(text)
    }

    fn settings(&mut self, (plain, others): &(Section, Vec<Section>), overrides: Overrides) -> Settings {
        let mut settings = Settings::default();
        let mut sources = Sources { file: self.file.clone(), lines: Vec::new() };
        for key in keys::KEYS.iter().filter(|key| key.scope == Scope::Broker) {
            sources.lines.push((None, key.name, plain.line(key.name)));
            if let Some(text) = plain.text(key.name) {
                set(&mut settings, key.name, text);
            }
        }
        if settings.broker.limits.max_packet_bytes >= settings.broker.limits.max_memory_bytes {
            let line = plain.line("max_request_size").max(plain.line("max_memory"));
            self.problem(line, None, "`max_request_size` must be less than `max_memory`".to_owned());
        }
        if plain.line("persistence").is_none() {
            for key in ["persistence_location", "persistence_sync", "max_persistence_backlog_bytes"] {
                if let Some(line) = plain.line(key) {
                    let what = format!("`{key}` without `persistence`: say `persistence true`, or false");
                    self.problem(line, None, what);
                }
            }
        }
        if plain.line("group").is_some() && plain.line("user").is_none() {
            let what = "`group` without `user`: say whom to become".to_owned();
            self.problem(plain.line("group"), None, what);
        }
        if plain.truth("server_moved") == Some(true) && plain.line("server_reference").is_none() {
            let what = "`server_moved true` without `server_reference`: say where to".to_owned();
            self.problem(plain.line("server_moved"), None, what);
        }
        let mut listeners = self.plain_listeners(plain, others.is_empty(), overrides);
        for section in others {
            listeners.extend(self.listener(section, plain));
        }
        self.refuse_same_addresses(&listeners);
        for (number, (_, section, line)) in listeners.iter().enumerate() {
            sources.lines.push((Some(number), "listener", *line));
            for key in keys::KEYS {
                let line = section.line(key.name).or_else(|| plain.line(key.name));
                sources.lines.push((Some(number), key.name, line));
            }
        }
        settings.broker.listeners = listeners.into_iter().map(|(listener, ..)| listener).collect();
        settings.sources = sources;
        settings
    }

    /// What the plain form describes: TCP, a UNIX socket, both or nothing. Each with the line that asks for it.
    fn plain_listeners<'s>(
        &mut self,
        plain: &'s Section,
        is_alone: bool,
        overrides: Overrides,
    ) -> Vec<(Listener, &'s Section, Option<usize>)> {
        let mut listeners = Vec::new();
        let common = self.common(plain, plain);
        let unix_line = plain.line("unix_socket");
        let tcp_line = plain.line("ip_port").or_else(|| plain.line("ip_address"));
        let is_overridden = overrides.address.is_some() || overrides.port.is_some();
        if tcp_line.is_some() || is_overridden || (unix_line.is_none() && is_alone) {
            let address = plain.text("ip_address").and_then(|text| text.parse().ok());
            let port = plain.text("ip_port").and_then(|text| text.parse().ok());
            let address = SocketAddr::new(
                overrides.address.or(address).unwrap_or(Ipv4Addr::LOCALHOST.into()),
                overrides.port.or(port).unwrap_or(DEFAULT_PORT),
            );
            let tls = self.tls(plain, plain);
            listeners.push((
                Listener { endpoint: Endpoint::Tcp(address), tls, ..common.clone() },
                plain,
                tcp_line,
            ));
        } else {
            self.refuse_tls(plain, "no TCP listener stands here: put it under the `listener` line it is for");
        }
        if let Some(path) = plain.path("unix_socket").map(|path| value::with_slash(&path)) {
            let mode = plain.text("unix_socket_mode").and_then(value::mode);
            listeners.push((
                // There is no certificate.
                Listener { endpoint: Endpoint::Unix { path, mode }, user_from_certificate: None, ..common },
                plain,
                unix_line,
            ));
        } else if unix_line.is_none() {
            self.refuse(plain, "unix_socket_mode", "there is no `unix_socket` here: leave it out");
        }
        listeners
    }

    fn listener<'s>(
        &mut self,
        section: &'s Section,
        plain: &Section,
    ) -> Option<(Listener, &'s Section, Option<usize>)> {
        let mut listener = self.common(section, plain);
        // A wrong opening line has been told of already.
        let opening = section.opening.as_ref()?;
        listener.endpoint = match value::endpoint(&opening.text)? {
            Endpoint::Unix { path, .. } => {
                self.refuse_tls(section, "TLS is not spoken on a UNIX socket: leave it out");
                listener.user_from_certificate = None;
                Endpoint::Unix { path, mode: section.text("unix_socket_mode").and_then(value::mode) }
            }
            tcp @ Endpoint::Tcp(_) => {
                self.refuse(section, "unix_socket_mode", "this listener is a TCP port: leave it out");
                listener.tls = self.tls(section, plain);
                tcp
            }
        };
        Some((listener, section, Some(opening.line)))
    }

    /// What any listener has.
    fn common(&mut self, section: &Section, plain: &Section) -> Listener {
        let of = |key| if section.line(key).is_some() { section } else { plain };
        let mut listener = Listener::default();
        if let Some(backlog) = of("tcp_backlog").text("tcp_backlog").and_then(|text| text.parse().ok()) {
            listener.backlog = backlog;
        }
        if let Some(allowed) = of("allow_anonymous").truth("allow_anonymous") {
            listener.allow_anonymous = allowed;
        }
        listener.websocket = self.websocket(section);
        listener.password_file = of("password_file").path("password_file");
        listener.acl_file = of("acl_file").path("acl_file");
        listener.user_from_certificate = self.user_from_certificate(section);
        listener.user_as_client_id = section.truth("use_username_as_clientid") == Some(true);
        let prefixes = of("clientid_prefixes").text("clientid_prefixes").unwrap_or_default();
        listener.client_id_prefixes = prefixes.split_whitespace().map(str::to_owned).collect();
        if !listener.allow_anonymous
            && listener.user_from_certificate.is_none()
            && of("password_file").line("password_file").is_none()
        {
            let what = "`allow_anonymous false` without `password_file`: nobody could log in, give the file"
                .to_owned();
            self.problem(of("allow_anonymous").line("allow_anonymous"), None, what);
        }
        listener
    }

    fn user_from_certificate(&mut self, section: &Section) -> Option<CertificateName> {
        let is_required = section.truth("require_certificate") == Some(true);
        let names = [
            ("use_subject_as_username", CertificateName::Subject),
            ("use_identity_as_username", CertificateName::CommonName),
        ];
        let asked = names.into_iter().filter(|(key, _)| section.truth(key) == Some(true));
        let asked: Vec<_> = asked.collect();
        for (key, _) in asked.iter().filter(|_| !is_required) {
            let what = format!(
                "`{key} true` without `require_certificate true`: give that too, or nobody has a user name"
            );
            self.problem(section.line(key), None, what);
        }
        asked.first().map(|(_, name)| *name)
    }

    fn websocket(&mut self, section: &Section) -> Option<WebSocket> {
        if section.text("protocol") == Some(value::WEBSOCKETS) {
            let origins = section.text("websockets_origin").unwrap_or_default();
            return Some(WebSocket {
                path: section.text("websockets_path").map(str::to_owned),
                origins: origins.split_whitespace().map(str::to_owned).collect(),
            });
        }
        // What `protocol` was to be is not known if it was wrong.
        if !section.spoilt.contains_key("protocol") {
            let what = "it needs `protocol websockets` beside it: give that, or leave it out";
            self.refuse(section, "websockets_path", what);
            self.refuse(section, "websockets_origin", what);
        }
        None
    }

    fn tls(&mut self, section: &Section, plain: &Section) -> Option<Tls> {
        let lines = ["cafile", "certfile", "keyfile", "require_certificate"].map(|key| section.line(key));
        let [cafile, certfile, keyfile, _] = lines;
        let require_certificate = section.truth("require_certificate").unwrap_or(false);
        let require_line = section.line("require_certificate");
        match (certfile, keyfile) {
            (Some(line), None) => {
                self.problem(line, None, "`certfile` without `keyfile`: give its private key too".to_owned());
            }
            (None, Some(line)) => {
                self.problem(line, None, "`keyfile` without `certfile`: give its certificate too".to_owned());
            }
            (None, None) if cafile.is_some() => {
                let what = "`cafile` alone: TLS needs the server's `certfile` and `keyfile` too".to_owned();
                self.problem(cafile, None, what);
            }
            (None, None) if require_certificate => {
                let what =
                    "`require_certificate true` without TLS: give `certfile`, `keyfile` and `cafile` too";
                self.problem(require_line, None, what.to_owned());
            }
            (Some(_), Some(_)) if require_certificate && cafile.is_none() => {
                let what = "`require_certificate true` without `cafile`: give the authorities that sign them";
                self.problem(require_line, None, what.to_owned());
            }
            _ => {}
        }
        let protocols = if section.line("tls_protocols").is_some() { section } else { plain };
        let versions = protocols.text("tls_protocols").and_then(value::protocols);
        Some(Tls {
            certfile: section.path("certfile")?,
            keyfile: section.path("keyfile")?,
            cafile: section.path("cafile"),
            require_certificate,
            versions: versions.unwrap_or(TlsVersions::V1_2AndV1_3),
        })
    }

    fn refuse_tls(&mut self, section: &Section, what: &str) {
        for key in ["cafile", "certfile", "keyfile"] {
            self.refuse(section, key, what);
        }
        if section.truth("require_certificate") == Some(true) {
            self.refuse(section, "require_certificate", what);
        }
    }

    fn refuse(&mut self, section: &Section, key: &str, what: &str) {
        if let Some(line) = section.line(key) {
            self.problem(line, None, format!("`{key}` in a wrong place: {what}"));
        }
    }

    fn refuse_same_addresses(&mut self, listeners: &[(Listener, &Section, Option<usize>)]) {
        for (number, (later, _, line)) in listeners.iter().enumerate() {
            let earlier =
                listeners.iter().take(number).find(|(earlier, ..)| clash(&earlier.endpoint, &later.endpoint));
            let Some((earlier, _, first)) = earlier else { continue };
            let place = first.map_or_else(|| "the command line".to_owned(), |line| format!("line {line}"));
            let what = format!(
                "{} cannot be listened on beside {} of {place}: give each listener its own address",
                later.endpoint, earlier.endpoint
            );
            self.problem(*line, None, what);
        }
    }
}

/// Whether the system would refuse the second of two listeners.
fn clash(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Tcp(one), Endpoint::Tcp(other)) => {
            let overlap = one.ip() == other.ip()
                || (one.is_ipv4() == other.is_ipv4()
                    && (one.ip().is_unspecified() || other.ip().is_unspecified()));
            one.port() == other.port() && one.port() != 0 && overlap
        }
        (Endpoint::Unix { path: one, .. }, Endpoint::Unix { path: other, .. }) => one == other,
        _ => false,
    }
}

fn unknown(name: &str) -> String {
    match keys::nearest(name) {
        Some(key) => format!("unknown key `{name}`: the nearest known one is `{}`", key.name),
        None => format!("unknown key `{name}`: none of the known ones is like it, sol.conf has them all"),
    }
}

/// Sets one of the broker's keys. The text is of the key's kind.
fn set(Settings { broker, process, .. }: &mut Settings, key: &str, text: &str) {
    let Config { threads, stats_interval, limits, persistence, response_information, redirect, .. } = broker;
    let size = |to: &mut usize| {
        if let Some(bytes) = value::size(text) {
            *to = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
    };
    let time = || value::time(text).filter(|time| *time > Duration::ZERO);
    let count = |to: &mut u16| *to = text.parse().unwrap_or(*to);
    let number = |to: &mut usize| *to = text.parse().unwrap_or(*to);
    let truth = |to: &mut bool| *to = text.parse().unwrap_or(*to);
    match key {
        "log_level" => process.log_level = value::level(text).unwrap_or(process.log_level),
        "log_path" => process.log_path = Some(text.into()),
        "pid_file" => process.pid_file = Some(text.into()),
        "user" => process.user = Some(text.to_owned()),
        "group" => process.group = Some(text.to_owned()),
        "persistence" => *persistence = (text == "true").then(Default::default),
        // Without persistence they say nothing.
        "persistence_location" => {
            if let Some(persistence) = persistence {
                persistence.directory = text.into();
            }
        }
        "persistence_sync" => {
            if let (Some(persistence), Some(sync)) = (persistence, value::sync(text)) {
                persistence.sync = sync;
            }
        }
        "max_persistence_backlog_bytes" => {
            if let Some(persistence) = persistence {
                size(&mut persistence.max_backlog_bytes);
            }
        }
        "max_stored_messages" => {
            limits.max_stored_messages = text.parse().unwrap_or(limits.max_stored_messages);
        }
        "max_stored_bytes" => size(&mut limits.max_stored_bytes),
        "max_memory" => size(&mut limits.max_memory_bytes),
        "max_request_size" => size(&mut limits.max_packet_bytes),
        "max_connections" => number(&mut limits.max_connections),
        "max_connections_per_address" => limits.max_connections_per_address = text.parse().ok(),
        "max_connections_per_address_per_second" => {
            limits.max_connections_per_address_per_second = text.parse().ok();
        }
        "max_sessions" => number(&mut limits.max_sessions),
        "max_subscriptions" => number(&mut limits.max_subscriptions),
        "max_total_subscriptions" => number(&mut limits.max_total_subscriptions),
        "max_filters" => number(&mut limits.max_filters),
        "max_topic_bytes" => number(&mut limits.max_topic_bytes),
        "max_topic_levels" => number(&mut limits.max_topic_levels),
        "max_inflight_messages" => count(&mut limits.max_in_flight_messages),
        "max_queued_messages" => number(&mut limits.max_queued_messages),
        "max_queued_bytes" => size(&mut limits.max_queued_bytes),
        "max_outbox_bytes" => size(&mut limits.max_outbox_bytes),
        "max_retained_messages" => number(&mut limits.max_retained_messages),
        "max_retained_bytes" => size(&mut limits.max_retained_bytes),
        "check_payload_format" => limits.check_payload_format = text == "true",
        "stats_publish_interval" => *stats_interval = time(),
        "keepalive" => limits.tcp_keep_alive = time(),
        "persistent_client_expiration" => limits.persistent_client_expiration = time(),
        "max_session_expiry" => limits.max_session_expiry = time(),
        "max_keepalive" => {
            let seconds = time().and_then(|time| u16::try_from(time.as_secs()).ok());
            limits.max_keep_alive = seconds.and_then(NonZeroU16::new);
        }
        "max_qos" => {
            let qos = text.parse::<u8>().ok().and_then(|qos| QoS::try_from(qos).ok());
            limits.max_qos = qos.unwrap_or(limits.max_qos);
        }
        "retain_available" => truth(&mut limits.retain_available),
        "max_topic_alias" => count(&mut limits.max_topic_alias),
        "receive_maximum" => count(&mut limits.max_received_messages),
        "wildcard_subscription_available" => truth(&mut limits.wildcard_available),
        "shared_subscription_available" => truth(&mut limits.shared_available),
        "subscription_identifiers_available" => truth(&mut limits.subscription_ids_available),
        "response_information" => *response_information = Some(text.to_owned()),
        "server_reference" => redirect.get_or_insert_default().reference = text.to_owned(),
        // Without a reference it goes nowhere, and is an error if it says anything.
        "server_moved" => {
            if let Some(redirect) = redirect {
                truth(&mut redirect.is_permanent);
            }
        }
        "threads" => *threads = text.parse::<NonZeroUsize>().unwrap_or(*threads),
        _ => debug_assert!(false, "a key without effect: {key}"),
    }
}
