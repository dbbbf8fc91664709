//! All that a configuration file says, and how it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use super::line::quote;
use super::value::{self, Age, Size, Time};
use super::{
    Bridge, BridgeStart, BridgeTls, CertificateName, Config, Endpoint, Http, Identifiers, Listener, LogLines,
    Notifications, Persistence, Problem, Proxy, PublishRate, Redirect, Secret, WebSocket,
};

/// What a configuration file says: of the broker, and of the process around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The broker.
    pub broker: Config,
    /// The process.
    pub process: Process,
    /// Where each key stands.
    pub(super) sources: Sources,
}

/// What concerns the process and not the broker in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The least important that is logged.
    pub log_level: LevelFilter,
    /// How its lines are.
    pub log_lines: LogLines,
    /// The log on disk.
    pub log_path: Option<PathBuf>,
    /// Where else the log goes; none is to standard error while there is somebody to read it.
    pub console: Option<Console>,
    /// Where the process's number is kept.
    pub pid_file: Option<PathBuf>,
    /// Whom to become.
    pub user: Option<String>,
    /// The group to become; without it that of the user.
    pub group: Option<String>,
}

/// Where the log goes beside the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// To standard error.
    pub stderr: bool,
    /// To standard output.
    pub stdout: bool,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            log_level: LevelFilter::Info,
            log_lines: LogLines::default(),
            log_path: None,
            console: None,
            pid_file: None,
            user: None,
            group: None,
        }
    }
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which of the files, from 0.
    pub(super) file: usize,
    /// From 1.
    pub(super) line: usize,
}

/// Where the keys of a file stand. Two settings that say the same are equal, wherever they say it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// The file, and those that it includes.
    pub(super) files: Vec<Option<Arc<Path>>>,
    /// For a listener by its number, or for the broker: the key, and its line.
    pub(super) lines: Vec<(Option<usize>, &'static str, Option<Place>)>,
    /// For a bridge by its name.
    pub(super) bridges: Vec<(String, &'static str, Place)>,
    pub(super) warnings: Vec<Problem>,
}

impl Sources {
    pub(super) fn problem(&self, place: Option<Place>, column: Option<usize>, what: String) -> Problem {
        let file = place.and_then(|place| self.files.get(place.file)?.clone());
        Problem { file, line: place.map(|place| place.line), column, what }
    }
}

impl PartialEq for Sources {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Sources {}

impl Default for Settings {
    /// What holds without a file.
    fn default() -> Self {
        Self { broker: Config::default(), process: Process::default(), sources: Sources::default() }
    }
}

impl Settings {
    /// A problem with the value of a key: of a listener by its number, or of the broker.
    pub fn problem(&self, listener: Option<usize>, key: &str, what: String) -> Problem {
        let place = self.sources.lines.iter().find(|(of, name, _)| *of == listener && *name == key);
        self.sources.problem(place.and_then(|(_, _, place)| *place), None, what)
    }

    /// What was read over in the file, and why that does no harm.
    pub fn warnings(&self) -> &[Problem] {
        &self.sources.warnings
    }

    /// A problem with the value of a key of the bridge of that name.
    pub fn bridge_problem(&self, bridge: &str, key: &str, what: String) -> Problem {
        let mut places = self.sources.bridges.iter();
        let place = places.find(|(of, name, _)| of == bridge && *name == key).map(|(.., place)| *place);
        self.sources.problem(place, None, what)
    }

    /// The files that listeners and the HTTP side read: each with its key.
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files = Vec::new();
        for listener in &self.broker.listeners {
            if let Some(tls) = &listener.tls {
                files.push(("certfile", tls.certfile.as_path()));
                files.push(("keyfile", tls.keyfile.as_path()));
                files.extend(tls.cafile.as_deref().map(|path| ("cafile", path)));
            }
            files.extend(listener.password_file.as_deref().map(|path| ("password_file", path)));
            files.extend(listener.acl_file.as_deref().map(|path| ("acl_file", path)));
        }
        let Http { token_file, password_file, tls, .. } = &self.broker.http;
        let tls = tls.as_ref();
        let of_http = [
            ("http_token_file", token_file.as_deref()),
            ("http_password_file", password_file.as_deref()),
            ("http_certfile", tls.map(|tls| tls.certfile.as_path())),
            ("http_keyfile", tls.map(|tls| tls.keyfile.as_path())),
        ];
        files.extend(of_http.into_iter().filter_map(|(key, path)| Some((key, path?))));
        files
    }

    /// Makes relative paths absolute, so that they hold in another directory too.
    pub fn anchor(&mut self, directory: &Path) {
        let Process { log_path, pid_file, .. } = &mut self.process;
        let mut paths: Vec<&mut PathBuf> = log_path.iter_mut().chain(pid_file).collect();
        let Http { token_file, password_file, tls, .. } = &mut self.broker.http;
        paths.extend(token_file.iter_mut().chain(password_file));
        paths.extend(tls.iter_mut().flat_map(|tls| [&mut tls.certfile, &mut tls.keyfile]));
        paths.extend(self.broker.persistence.as_mut().map(|persistence| &mut persistence.directory));
        for listener in &mut self.broker.listeners {
            if let Endpoint::Unix { path, .. } = &mut listener.endpoint {
                paths.push(path);
            }
            paths.extend(&mut listener.password_file);
            paths.extend(&mut listener.acl_file);
            if let Some(tls) = &mut listener.tls {
                paths.extend([&mut tls.certfile, &mut tls.keyfile]);
                paths.extend(&mut tls.cafile);
            }
        }
        for BridgeTls { cafile, identity, .. } in
            self.broker.bridges.iter_mut().filter_map(|bridge| bridge.tls.as_mut())
        {
            paths.push(cafile);
            paths.extend(identity.iter_mut().flat_map(|(certfile, keyfile)| [certfile, keyfile]));
        }
        for path in paths {
            *path = directory.join(&*path);
        }
    }

    /// The keys whose values differ. Of a listener that only one of them has, that is `listener`, whatever stands under it;
    /// of a bridge always `connection`.
    pub fn changed(&self, other: &Self) -> BTreeSet<&'static str> {
        let (mine, others) = (self.entries(), other.entries());
        let differs = |of: &&(String, &'static str)| mine.get(*of) != others.get(*of);
        let listens = |entries: &Entries, place: &str| entries.contains_key(&(place.to_owned(), "listener"));
        let key = |(place, key): &(String, &'static str)| match *key {
            _ if listens(&mine, place) != listens(&others, place) => "listener",
            _ if place.starts_with(BRIDGE) => "connection",
            key => key,
        };
        mine.keys().chain(others.keys()).filter(differs).map(key).collect()
    }

    /// Has others keep what a broker that runs by these cannot change. Gives the keys whose values they lose.
    pub fn keep_fixed(&self, others: &mut Self) -> BTreeSet<&'static str> {
        let asked = others.clone();
        let Config { threads, persistence, bridges, http, .. } = &self.broker;
        others.broker.threads = *threads;
        others.broker.bridges.clone_from(bridges);
        others.broker.persistence.clone_from(persistence);
        others.broker.http.addresses.clone_from(&http.addresses);
        let Process { log_path, console, pid_file, user, group, .. } = &self.process;
        // A log on disk can go to another place there.
        if log_path.is_some() != others.process.log_path.is_some()
            || log_path.is_none() && *console != others.process.console
        {
            others.process.log_path.clone_from(log_path);
            others.process.console = *console;
        }
        others.process.pid_file.clone_from(pid_file);
        others.process.user.clone_from(user);
        others.process.group.clone_from(group);
        others.changed(&asked)
    }

    /// For each key its values in their order, as they would be written: the broker's, and each listener's by its endpoint.
    fn entries(&self) -> Entries {
        let broker = self.broker_lines().into_iter().map(|(key, value)| (String::new(), key, value));
        let listeners = self.broker.listeners.iter().flat_map(|listener| {
            let lines = listener_lines(listener).into_iter();
            lines.map(|(key, value)| (listener.endpoint.to_string(), key, value))
        });
        let bridges = self.broker.bridges.iter().flat_map(|bridge| {
            let lines = bridge_lines(bridge).into_iter();
            lines.map(|(key, value)| (format!("{BRIDGE}{}", bridge.name), key, value))
        });
        let mut entries = Entries::new();
        for (of, key, value) in broker.chain(listeners).chain(bridges) {
            entries.entry((of, key)).or_default().push(value);
        }
        entries
    }

    fn broker_lines(&self) -> Vec<(&'static str, String)> {
        let Self {
            broker:
                Config {
                    threads, stats_interval, limits, persistence, response_information, redirect, http, ..
                },
            process,
            ..
        } = self;
        let size = |bytes: usize| Size(u64::try_from(bytes).unwrap_or(u64::MAX)).to_string();
        let size_or_any = |bytes| if bytes == usize::MAX { "0".to_owned() } else { size(bytes) };
        let or_any = |count: usize, any: &str| {
            if count == usize::MAX { any.to_owned() } else { count.to_string() }
        };
        let time = |time: Option<Duration>| Time(time.map_or(0, |time| time.as_secs())).to_string();
        let mut lines = Vec::new();
        lines.extend(http.addresses.iter().map(|address| ("http_listener", address.to_string())));
        push_path(&mut lines, "http_token_file", http.token_file.as_ref());
        push_path(&mut lines, "http_password_file", http.password_file.as_ref());
        push_path(&mut lines, "http_certfile", http.tls.as_ref().map(|tls| &tls.certfile));
        push_path(&mut lines, "http_keyfile", http.tls.as_ref().map(|tls| &tls.keyfile));
        lines.push(("log_level", value::level_name(process.log_level).to_owned()));
        match process.console {
            None => push_path(&mut lines, "log_path", process.log_path.as_ref()),
            Some(Console { stderr, stdout }) => {
                let consoles = [("stderr", stderr), ("stdout", stdout)].into_iter();
                lines.extend(consoles.filter(|(_, is_on)| *is_on).map(|(to, _)| ("log_dest", to.to_owned())));
                let path = process.log_path.as_ref().map(|path| quote(&path.to_string_lossy()));
                lines.extend(path.map(|path| ("log_dest", format!("file {path}"))));
                if lines.iter().all(|(key, _)| *key != "log_dest") {
                    lines.push(("log_dest", "none".to_owned()));
                }
            }
        }
        let LogLines { format, has_time, time_format, connections } = &process.log_lines;
        lines.push(("log_format", format.name().to_owned()));
        lines.push(("log_timestamp", has_time.to_string()));
        lines.extend(time_format.iter().map(|format| ("log_timestamp_format", quote(format))));
        lines.extend(connections.iter().map(|is_told| ("connection_messages", is_told.to_string())));
        lines.push(("persistence", persistence.is_some().to_string()));
        if let Some(Persistence { directory, sync, max_backlog_bytes }) = persistence {
            push_path(&mut lines, "persistence_location", Some(directory));
            lines.push(("persistence_sync", value::sync_words(*sync)));
            lines.push(("max_persistence_backlog_bytes", size(*max_backlog_bytes)));
        }
        lines.extend([
            ("max_stored_messages", limits.max_stored_messages.to_string()),
            ("max_stored_bytes", size(limits.max_stored_bytes)),
            ("max_memory", size(limits.max_memory_bytes)),
            ("max_connections", or_any(limits.max_connections, "-1")),
            (
                "max_connections_per_address",
                limits.max_connections_per_address.map_or(0, NonZeroUsize::get).to_string(),
            ),
            (
                "max_connections_per_address_per_second",
                limits.max_connections_per_address_per_second.map_or(0, NonZeroU32::get).to_string(),
            ),
            ("max_sessions", limits.max_sessions.to_string()),
            ("max_subscriptions", limits.max_subscriptions.to_string()),
            ("max_total_subscriptions", limits.max_total_subscriptions.to_string()),
            ("max_filters", limits.max_filters.to_string()),
            ("max_topic_bytes", limits.max_topic_bytes.to_string()),
            ("max_topic_levels", limits.max_topic_levels.to_string()),
            ("max_inflight_messages", limits.max_in_flight_messages.to_string()),
            ("max_inflight_bytes", size_or_any(limits.max_in_flight_bytes)),
            ("max_queued_messages", or_any(limits.max_queued_messages, "0")),
            ("max_queued_bytes", size_or_any(limits.max_queued_bytes)),
            ("max_outbox_bytes", size(limits.max_outbox_bytes)),
            ("max_retained_messages", limits.max_retained_messages.to_string()),
            ("max_retained_bytes", size(limits.max_retained_bytes)),
            ("max_request_size", size(limits.max_packet_bytes)),
            ("check_payload_format", limits.check_payload_format.to_string()),
            ("stats_publish_interval", time(*stats_interval)),
            ("keepalive", time(limits.tcp_keep_alive)),
            (
                "persistent_client_expiration",
                Age(limits.persistent_client_expiration.map_or(0, |time| time.as_secs())).to_string(),
            ),
            ("max_session_expiry", time(limits.max_session_expiry)),
            ("max_keepalive", Time(limits.max_keep_alive.map_or(0, |most| most.get().into())).to_string()),
            ("max_qos", u8::from(limits.max_qos).to_string()),
            ("retain_available", limits.retain_available.to_string()),
            ("max_topic_alias", limits.max_topic_alias.to_string()),
            ("receive_maximum", limits.max_received_messages.to_string()),
            ("wildcard_subscription_available", limits.wildcard_available.to_string()),
            ("shared_subscription_available", limits.shared_available.to_string()),
            ("subscription_identifiers_available", limits.subscription_ids_available.to_string()),
        ]);
        lines.extend(response_information.iter().map(|text| ("response_information", quote(text))));
        if let Some(Redirect { reference, is_permanent }) = redirect {
            lines.push(("server_reference", quote(reference)));
            lines.push(("server_moved", is_permanent.to_string()));
        }
        lines.push(("threads", threads.to_string()));
        lines.push(("shutdown_grace", time(Some(limits.stop_timeout))));
        push_path(&mut lines, "pid_file", process.pid_file.as_ref());
        let names = [("user", &process.user), ("group", &process.group)];
        lines.extend(names.into_iter().filter_map(|(key, name)| Some((key, quote(name.as_deref()?)))));
        lines
    }
}

/// What the place of a bridge begins with; that of a listener is its endpoint, and that of the broker empty.
const BRIDGE: &str = "connection ";

/// The values of each key of each place.
type Entries = BTreeMap<(String, &'static str), Vec<String>>;

fn listener_lines(listener: &Listener) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    match &listener.endpoint {
        Endpoint::Tcp(address) => lines.push(("listener", format!("{} {}", address.port(), address.ip()))),
        Endpoint::Any(port) => lines.push(("listener", port.to_string())),
        Endpoint::Unix { path, mode } => {
            lines.push(("listener", format!("0 {}", quote(&value::with_slash(path).to_string_lossy()))));
            lines.extend(mode.map(|mode| ("unix_socket_mode", format!("{mode:04o}"))));
        }
    }
    lines.push(("tcp_backlog", listener.backlog.to_string()));
    lines.extend(listener.max_connections.map(|most| ("max_connections", most.to_string())));
    let PublishRate { messages_per_second, bytes_per_second } = listener.publish_rate;
    lines.extend(messages_per_second.map(|most| ("max_publish_messages_per_second", most.to_string())));
    lines.extend(bytes_per_second.map(|most| ("max_publish_bytes_per_second", Size(most.get()).to_string())));
    if let Some(Proxy { trusted }) = &listener.proxy {
        lines.push(("proxy_protocol", true.to_string()));
        lines.extend(trusted.iter().map(|network| ("proxy_trusted", network.to_string())));
    }
    if let Some(tls) = &listener.tls {
        push_path(&mut lines, "cafile", tls.cafile.as_ref());
        push_path(&mut lines, "certfile", Some(&tls.certfile));
        push_path(&mut lines, "keyfile", Some(&tls.keyfile));
        lines.push(("require_certificate", tls.require_certificate.to_string()));
        lines.push(("tls_protocols", value::protocol_names(tls.versions).to_owned()));
    }
    if let Some(WebSocket { path, origins }) = &listener.websocket {
        lines.push(("protocol", value::WEBSOCKETS.to_owned()));
        lines.extend(path.iter().map(|path| ("websockets_path", quote(path))));
        lines.extend(origins.iter().map(|origin| ("websockets_origin", quote(origin))));
    }
    lines.push(("allow_anonymous", listener.allow_anonymous.to_string()));
    push_path(&mut lines, "password_file", listener.password_file.as_ref());
    push_path(&mut lines, "acl_file", listener.acl_file.as_ref());
    let user_from = listener.user_from_certificate;
    for (key, is_so) in [
        ("use_identity_as_username", user_from == Some(CertificateName::CommonName)),
        ("use_subject_as_username", user_from == Some(CertificateName::Subject)),
        ("use_username_as_clientid", listener.user_as_client_id),
    ] {
        lines.extend(is_so.then(|| (key, "true".to_owned())));
    }
    lines.extend(listener.client_id_prefixes.iter().map(|prefix| ("clientid_prefixes", quote(prefix))));
    let Identifiers { may_be_empty, prefix } = &listener.identifiers;
    lines.push(("allow_zero_length_clientid", may_be_empty.to_string()));
    lines.push(("auto_id_prefix", quote(prefix)));
    lines
}

fn bridge_lines(bridge: &Bridge) -> Vec<(&'static str, String)> {
    let time = |time: Duration| Time(time.as_secs()).to_string();
    let addresses: Vec<_> = bridge.addresses.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        ("connection", quote(&bridge.name)),
        ("address", addresses.join(" ")),
        ("round_robin", bridge.round_robin.to_string()),
    ];
    lines.extend(bridge.bind_address.map(|address| ("bridge_bind_address", address.to_string())));
    lines.extend(bridge.topics.iter().map(|topic| ("topic", value::topic_words(topic))));
    let texts = [
        ("local_clientid", bridge.local_client_id.as_ref()),
        ("remote_clientid", bridge.remote_client_id.as_ref()),
        ("remote_username", bridge.user_name.as_ref()),
        ("remote_password", bridge.password.as_ref().map(|Secret(password)| password)),
    ];
    lines.extend(texts.into_iter().filter_map(|(key, text)| Some((key, quote(text?)))));
    lines.extend([
        ("bridge_protocol_version", value::version_name(bridge.version).to_owned()),
        ("try_private", bridge.tells.to_string()),
        ("cleansession", bridge.clean_session.to_string()),
        ("local_cleansession", bridge.local_clean_session.to_string()),
        ("keepalive_interval", Time(bridge.keep_alive.into()).to_string()),
        ("restart_timeout", value::pauses_words(bridge.restart)),
    ]);
    match bridge.start {
        BridgeStart::Automatic => lines.push(("start_type", "automatic".to_owned())),
        BridgeStart::Once => lines.push(("start_type", "once".to_owned())),
        BridgeStart::Lazy { threshold, idle } => lines.extend([
            ("start_type", "lazy".to_owned()),
            ("threshold", threshold.to_string()),
            ("idle_timeout", time(idle)),
        ]),
    }
    lines.push(("notifications", bridge.notifications.is_some().to_string()));
    if let Some(Notifications { topic, is_local }) = &bridge.notifications {
        lines.extend(topic.iter().map(|topic| ("notification_topic", quote(topic))));
        lines.push(("notifications_local_only", is_local.to_string()));
    }
    lines.push(("bridge_attempt_unsubscribe", bridge.unsubscribes.to_string()));
    lines.push(("bridge_outgoing_retain", bridge.keeps_retain.to_string()));
    let most = bridge.max_packet_bytes.map(|bytes| Size(bytes.into()).to_string());
    lines.extend(most.map(|most| ("bridge_max_packet_size", most)));
    if let Some(BridgeTls { cafile, identity, is_insecure, versions, alpn }) = &bridge.tls {
        push_path(&mut lines, "bridge_cafile", Some(cafile));
        push_path(&mut lines, "bridge_certfile", identity.as_ref().map(|(certfile, _)| certfile));
        push_path(&mut lines, "bridge_keyfile", identity.as_ref().map(|(_, keyfile)| keyfile));
        lines.push(("bridge_insecure", is_insecure.to_string()));
        lines.push(("bridge_tls_version", value::protocol_names(*versions).to_owned()));
        lines.extend(alpn.iter().map(|protocol| ("bridge_alpn", quote(protocol))));
    }
    lines
}

fn push_path(lines: &mut Vec<(&'static str, String)>, key: &'static str, path: Option<&PathBuf>) {
    lines.extend(path.map(|path| (key, quote(&path.to_string_lossy()))));
}

/// As a file: the broker's keys, then each listener with its `listener` line, and each bridge with its `connection` line.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "per_listener_settings true")?;
        let listeners = self.broker.listeners.iter().flat_map(listener_lines);
        let bridges = self.broker.bridges.iter().flat_map(bridge_lines);
        for (key, value) in self.broker_lines().into_iter().chain(listeners).chain(bridges) {
            writeln!(f, "{key} {value}")?;
        }
        Ok(())
    }
}
