//! From a file to [`Settings`], or to everything that is wrong in it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::keys::{self, Key, Scope};
use super::mosquitto::{self, Fate, Meaning};
use super::settings::{Place, Sources};
use super::value::Destination;
use super::{
    CertificateName, Config, Console, DEFAULT_PORT, Endpoint, Http, Kind, Limits, Listener, Problem, Process,
    Proxy, PublishRate, Settings, Tls, TlsVersions, WebSocket, include, line, value,
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
    /// Reads a file, and those that it includes.
    ///
    /// # Errors
    ///
    /// All that is wrong, in the order of the lines.
    pub fn read(path: &Path, overrides: Overrides) -> Result<Self, Vec<Problem>> {
        let text = include::text_of(path).map_err(|problem| vec![problem])?;
        Self::parse(&text, Some(path), overrides)
    }

    /// Reads a file's text. The file is named in what is wrong.
    ///
    /// # Errors
    ///
    /// All that is wrong, in the order of the lines.
    pub fn parse(text: &str, file: Option<&Path>, overrides: Overrides) -> Result<Self, Vec<Problem>> {
        let (settings, mut problems, refused) = read(text, file, overrides);
        problems.extend(refused);
        // What concerns several listeners is found for each.
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }
}

/// What a text says, what is wrong in it, and what is refused since Sol has nothing like it.
pub(super) fn read(
    text: &str,
    file: Option<&Path>,
    overrides: Overrides,
) -> (Settings, Vec<Problem>, Vec<Problem>) {
    let sources = Sources { files: vec![file.map(Arc::from)], ..Sources::default() };
    let mut parser = Parser { sources, problems: Vec::new(), refused: Vec::new() };
    let lines = parser.lines(0, text);
    let lines = parser.unfolded(lines);
    let sections = parser.sections(&lines);
    let mut settings = parser.settings(&sections, overrides);
    settings.sources = parser.sources;
    (settings, parser.problems, parser.refused)
}

/// Keys of the broker that in mosquitto are each listener's.
const OF_A_LISTENER: [&str; 2] = ["max_qos", "max_topic_alias"];

/// The words of a line that is not empty.
struct Line {
    place: Place,
    words: Vec<String>,
}

/// A value that is of its key's kind, or all values of a list.
pub(super) struct Given {
    values: Vec<String>,
    pub(super) place: Place,
}

/// A file by its parts.
struct Sections {
    /// Above the first `listener` line, and the broker's keys wherever they stand.
    plain: Section,
    listeners: Vec<Section>,
    bridges: Vec<Section>,
}

/// What stands above the first `listener` line, under one, or under a `connection` line.
#[derive(Default)]
pub(super) struct Section {
    /// The `listener` or `connection` line.
    pub(super) opening: Option<Given>,
    given: BTreeMap<&'static str, Given>,
    /// Keys that were given a value that cannot be taken; they count as given.
    spoilt: BTreeMap<&'static str, Place>,
}

impl Section {
    /// What the line says that opens it.
    pub(super) fn title(&self) -> Option<(&str, Place)> {
        let opening = self.opening.as_ref()?;
        Some((opening.values.first()?.as_str(), opening.place))
    }

    pub(super) fn line(&self, key: &str) -> Option<Place> {
        self.given.get(key).map(|given| given.place).or_else(|| self.spoilt.get(key).copied())
    }

    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        self.given.get(key).into_iter().flat_map(|given| given.values.iter().map(String::as_str))
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.list(key).next()
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        self.text(key).and_then(value::truth)
    }
}

pub(super) struct Parser {
    sources: Sources,
    problems: Vec<Problem>,
    /// Options of mosquitto that Sol does not have.
    refused: Vec<Problem>,
}

impl Parser {
    pub(super) fn problem(&mut self, place: impl Into<Option<Place>>, column: Option<usize>, what: String) {
        self.problems.push(self.sources.problem(place.into(), column, what));
    }

    /// What is harmless.
    fn warn(&mut self, place: Place, what: String) {
        let warning = self.sources.problem(Some(place), None, what);
        self.sources.warnings.push(warning);
    }

    fn lines(&mut self, file: usize, text: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let place = Place { file, line: number };
            match line::words(line) {
                Ok(words) if words.is_empty() => {}
                Ok(words) => lines.push(Line { place, words }),
                Err((column, what)) => self.problem(place, Some(column), what.to_owned()),
            }
        }
        lines
    }

    /// With the lines of the files that are included in place of the lines that say so.
    fn unfolded(&mut self, lines: Vec<Line>) -> Vec<Line> {
        let main = self.sources.files.first().cloned().flatten();
        let mut unfolded = Vec::new();
        for line in lines {
            let Some(key) =
                keys::key("include_dir").filter(|key| line.words.first().is_some_and(|it| it == key.name))
            else {
                unfolded.push(line);
                continue;
            };
            let place = line.place;
            let Some(directory) = self.value(key, key.name, line.words.into_iter().skip(1), place) else {
                continue;
            };
            let directory = include::directory(main.as_deref(), &directory);
            let files = match include::files(&directory, main.as_deref()) {
                Ok(files) => files,
                Err(what) => {
                    self.problem(place, None, what);
                    continue;
                }
            };
            for path in files {
                let file = self.sources.files.len();
                self.sources.files.push(Some(Arc::from(path.as_path())));
                match include::text_of(&path) {
                    Ok(text) => unfolded.extend(self.lines(file, &text)),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
        unfolded
    }

    /// The part above the first `listener` line, which also has the broker's keys, and the listeners' parts.
    fn sections(&mut self, lines: &[Line]) -> Sections {
        let (mut plain, mut listeners, mut bridges) =
            (Section::default(), Vec::<Section>::new(), Vec::<Section>::new());
        let mut of_a_listener = Vec::new();
        // Of each file the listener that its lines are for.
        let mut current = vec![None; self.sources.files.len()];
        let mut current_bridge = current.clone();
        let is_per_listener = lines.iter().any(|line| match line.words.as_slice() {
            [name, value, ..] => name == "per_listener_settings" && value::truth(value) == Some(true),
            _ => false,
        });
        for Line { place, words } in lines {
            let place = *place;
            let mut words = words.iter().cloned();
            let Some(name) = words.next() else { continue };
            let key = match mosquitto::meaning(&name) {
                Some(Meaning::Key(key)) => key,
                Some(Meaning::Foreign(option)) => {
                    self.foreign(option.fate, &name, words, place);
                    continue;
                }
                None => {
                    self.problem(place, None, unknown(&name));
                    continue;
                }
            };
            if key.kind == Kind::Include {
                let what =
                    format!("`{name}` in a file that is included: only the main file may include others");
                self.problem(place, None, what);
                continue;
            }
            let text = self.value(key, &name, words, place);
            let opened = match key.scope {
                Scope::Opening => Some((&mut current, &mut listeners)),
                Scope::Connection => Some((&mut current_bridge, &mut bridges)),
                _ => None,
            };
            if let Some((current, sections)) = opened {
                // Even a wrong one, so that what stands under it is not taken for another's.
                let opening = text.map(|text| Given { values: vec![text], place });
                if let Some(current) = current.get_mut(place.file) {
                    *current = Some(sections.len());
                }
                sections.push(Section { opening, ..Section::default() });
                continue;
            }
            let bridge =
                current_bridge.get(place.file).copied().flatten().and_then(|number| bridges.get_mut(number));
            let listener =
                current.get(place.file).copied().flatten().and_then(|number| listeners.get_mut(number));
            let section = match (key.scope, listener) {
                (Scope::Bridge, _) => {
                    let Some(bridge) = bridge else {
                        let what = format!("`{name}` without a `connection` line above: say whose it is");
                        self.problem(place, None, what);
                        continue;
                    };
                    bridge
                }
                (Scope::Plain, Some(_)) => {
                    let what = format!(
                        "`{name}` under a `listener` line: put it above the first one, or say it in the `listener` line"
                    );
                    self.problem(place, None, what);
                    continue;
                }
                // mosquitto's other name for it is the broker's wherever it stands.
                (Scope::Shared, Some(listener)) if name == key.name => listener,
                (Scope::Listener | Scope::Inherited, Some(listener)) => listener,
                (Scope::Access, Some(listener)) if is_per_listener => listener,
                (Scope::Broker, Some(_)) if OF_A_LISTENER.contains(&key.name) => {
                    of_a_listener.push((place, name.clone()));
                    &mut plain
                }
                _ => &mut plain,
            };
            if key.kind.is_list()
                && let Some(given) = section.given.get_mut(key.name)
            {
                given.values.extend(text);
                continue;
            }
            if let Some(first) = section.line(key.name).filter(|_| !key.kind.is_list()) {
                let advice = match key.scope {
                    Scope::Access if !is_per_listener => {
                        "keep one of them, or say `per_listener_settings true` for each listener to have its own"
                    }
                    _ => "keep one of them",
                };
                let what =
                    format!("`{name}` is given twice, on {} already: {advice}", self.shown(first, place));
                self.problem(place, None, what);
                continue;
            }
            match text {
                Some(text) => _ = section.given.insert(key.name, Given { values: vec![text], place }),
                None => _ = section.spoilt.insert(key.name, place),
            }
        }
        for (place, name) in of_a_listener.into_iter().filter(|_| listeners.len() > 1) {
            let what = format!(
                "`{name}` under one of several `listener` lines: it is for all of them, so put it above the first one"
            );
            self.problem(place, None, what);
        }
        Sections { plain, listeners, bridges }
    }

    /// A line, as it is told of at another.
    fn shown(&self, place: Place, at: Place) -> String {
        match self.sources.files.get(place.file) {
            Some(Some(file)) if place.file != at.file => format!("line {} of {}", place.line, file.display()),
            _ => format!("line {}", place.line),
        }
    }

    /// An option of mosquitto that is no key.
    fn foreign(&mut self, fate: Fate, name: &str, words: impl Iterator<Item = String>, place: Place) {
        let value = words.collect::<Vec<_>>().join(" ");
        let (what, is_refused) = match fate {
            Fate::Ignored(why) => (format!("`{name}` is read over: {why}"), false),
            Fate::Only(usual, _)
                if value == usual
                    || value::truth(&value).is_some_and(|it| Some(it) == value::truth(usual)) =>
            {
                (format!("`{name} {value}` is read over: it is always so"), false)
            }
            Fate::Only(_, advice) | Fate::Refused(advice) => {
                let what = format!("`{name}` of mosquitto is not something that Sol does: {advice}");
                (what, true)
            }
            Fate::Same(_) | Fate::Alias(..) => return,
        };
        if is_refused {
            self.refused.push(self.sources.problem(Some(place), None, what));
        } else {
            self.warn(place, what);
        }
    }

    /// The value behind a key, if it is of the key's kind.
    fn value(
        &mut self,
        key: &Key,
        name: &str,
        mut words: impl Iterator<Item = String>,
        place: Place,
    ) -> Option<String> {
        let Some(mut text) = words.next() else {
            self.problem(place, None, format!("`{name}` without a value: give {}", key.kind));
            return None;
        };
        let more: Vec<_> = words.by_ref().take(key.kind.words() - 1).collect();
        if key.kind.is_quoted() {
            text = line::quote(&text);
        }
        for word in more {
            let word = if key.kind.is_quoted() { line::quote(&word) } else { word };
            text = format!("{text} {word}");
        }
        if let Err(advice) = key.kind.check(&text) {
            self.problem(place, None, format!("`{name}` cannot be `{text}`: {advice}"));
            return None;
        }
        if let Some(word) = words.next() {
            let what = format!(
                "`{word}` behind the value of `{name}`: give one value, in double quotes if it has spaces"
            );
            self.problem(place, None, what);
            return None;
        }
        Some(text)
    }

    fn settings(&mut self, sections: &Sections, overrides: Overrides) -> Settings {
        let Sections { plain, listeners: others, bridges } = sections;
        let mut settings = Settings::default();
        let mut lines = Vec::new();
        for key in keys::KEYS.iter().filter(|key| matches!(key.scope, Scope::Broker | Scope::Shared)) {
            lines.push((None, key.name, plain.line(key.name)));
            if let Some(text) = plain.text(key.name) {
                set(&mut settings, key.name, text);
            }
        }
        self.log(plain, &mut settings.process);
        stored_as_queued(plain, &mut settings.broker.limits);
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
        self.http(plain, &mut settings.broker.http);
        let mut listeners = self.plain_listeners(plain, others.is_empty(), overrides);
        if listeners.is_empty() {
            self.refuse_plain(plain);
        }
        for section in others {
            listeners.extend(self.listener(section, plain));
        }
        self.refuse_same_addresses(&listeners);
        for (number, (_, section, line)) in listeners.iter().enumerate() {
            lines.push((Some(number), "listener", *line));
            for key in keys::KEYS {
                let line = section.line(key.name).or_else(|| plain.line(key.name));
                lines.push((Some(number), key.name, line));
            }
        }
        self.sources.lines = lines;
        settings.broker.bridges = self.bridges(bridges);
        for section in bridges {
            let Some((name, _)) = section.title() else { continue };
            let places = section.given.iter().map(|(key, given)| (name.to_owned(), *key, given.place));
            self.sources.bridges.extend(places);
        }
        settings.broker.listeners = listeners.into_iter().map(|(listener, ..)| listener).collect();
        settings
    }

    /// Where the log goes, and what is in it, as mosquitto says it.
    fn log(&mut self, plain: &Section, process: &mut Process) {
        for (key, other) in [("log_dest", "log_path"), ("log_type", "log_level")] {
            if let (Some(line), Some(_)) = (plain.line(key), plain.line(other)) {
                self.problem(
                    line,
                    None,
                    format!("`{key}` beside `{other}`, which says the same: keep one of them"),
                );
            }
        }
        process.log_level =
            plain.list("log_type").filter_map(value::log_type).max().unwrap_or(process.log_level);
        for destination in plain.list("log_dest").filter_map(value::log_dest) {
            let console = process.console.get_or_insert_default();
            match destination {
                Destination::Stderr => console.stderr = true,
                Destination::Stdout => console.stdout = true,
                Destination::Nowhere => {
                    *console = Console::default();
                    process.log_path = None;
                }
                Destination::File(_) if process.log_path.is_some() => {
                    let what = "`log_dest file` twice: keep one of them".to_owned();
                    self.problem(plain.line("log_dest"), None, what);
                }
                Destination::File(path) => process.log_path = Some(path.into()),
            }
        }
    }

    /// Above the first `listener` line, what is for a listener must not stand where nothing listens.
    fn refuse_plain(&mut self, plain: &Section) {
        let is_per_listener = plain.truth("per_listener_settings") == Some(true);
        for key in keys::KEYS {
            let what = match key.scope {
                // As every listener is anyway.
                _ if plain.text(key.name) == Some(key.default) => continue,
                Scope::Access if is_per_listener => {
                    "with `per_listener_settings true` it is for the listener that it stands under: put it there"
                }
                Scope::Listener => "no listener stands here: put it under the `listener` line it is for",
                _ => continue,
            };
            // Told of already, with more to say.
            let told =
                ["cafile", "certfile", "keyfile", "require_certificate", "unix_socket_mode", "socket_domain"];
            if !told.contains(&key.name) {
                self.refuse(plain, key.name, what);
            }
        }
    }

    /// The HTTP side, whose keys may stand anywhere.
    fn http(&mut self, plain: &Section, http: &mut Http) {
        http.addresses = plain.list("http_listener").filter_map(|address| address.parse().ok()).collect();
        http.token_file = plain.path("http_token_file");
        http.password_file = plain.path("http_password_file");
        for key in ["http_token_file", "http_password_file", "http_certfile", "http_keyfile"] {
            if plain.line(key).is_some() && plain.line("http_listener").is_none() {
                let what = format!("`{key}` without `http_listener`: say where to listen, or leave it out");
                self.problem(plain.line(key), None, what);
            }
        }
        let (cert, key) = (plain.line("http_certfile"), plain.line("http_keyfile"));
        if cert.is_some() != key.is_some() {
            let what = "`http_certfile` and `http_keyfile` need each other: give both".to_owned();
            self.problem(cert.or(key), None, what);
        }
        if let (Some(certfile), Some(keyfile)) = (plain.path("http_certfile"), plain.path("http_keyfile")) {
            let versions = TlsVersions::V1_2AndV1_3;
            http.tls = Some(Tls { certfile, keyfile, cafile: None, require_certificate: false, versions });
        }
        let is_guarded =
            ["http_token_file", "http_password_file"].iter().any(|key| plain.line(key).is_some());
        if let Some(address) = http.unguarded().filter(|_| !is_guarded) {
            let what = format!(
                "`http_listener {address}` lets everybody in who reaches it: give `http_token_file` or \
                 `http_password_file`, or listen on 127.0.0.1 alone"
            );
            self.problem(plain.line("http_listener"), None, what);
        }
    }

    /// What the plain form describes: TCP, a UNIX socket, both or nothing. Each with the line that asks for it.
    fn plain_listeners<'s>(
        &mut self,
        plain: &'s Section,
        is_alone: bool,
        overrides: Overrides,
    ) -> Vec<(Listener, &'s Section, Option<Place>)> {
        let mut listeners = Vec::new();
        let unix_line = plain.line("unix_socket");
        let open_line = plain.line("port").or_else(|| plain.line("bind_address"));
        let tcp_line = plain.line("ip_port").or_else(|| plain.line("ip_address"));
        if let (Some(line), Some(_)) = (open_line, tcp_line) {
            let what = "`port` and `bind_address` beside `ip_port` or `ip_address`: keep one pair of them";
            self.problem(line, None, what.to_owned());
        }
        // Those of mosquitto let nobody in by default, those of ours, for this machine alone, everybody.
        let opening = open_line.filter(|_| tcp_line.is_none());
        let opening_key = opening.map(|line| ("port", line));
        let common = self.common(plain, plain, opening_key);
        let is_overridden = overrides.address.is_some() || overrides.port.is_some();
        if tcp_line.is_some() || opening.is_some() || is_overridden || (unix_line.is_none() && is_alone) {
            let address = plain.text("ip_address").and_then(|text| text.parse().ok());
            let address = address.or_else(|| plain.text("bind_address").and_then(value::host));
            let port =
                plain.text("ip_port").or_else(|| plain.text("port")).and_then(|text| text.parse().ok());
            let port = overrides.port.or(port).unwrap_or(DEFAULT_PORT);
            let endpoint = match overrides.address.or(address) {
                None if opening.is_some() => value::any(port, plain.text("socket_domain")),
                address => {
                    self.refuse_domain(plain);
                    Endpoint::Tcp(SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))
                }
            };
            let tls = self.tls(plain, plain);
            self.refuse_any_proxy(plain);
            listeners.push((Listener { endpoint, tls, ..common.clone() }, plain, tcp_line.or(opening)));
        } else {
            self.refuse_domain(plain);
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
        for (listener, ..) in &listeners {
            self.refuse_closed(listener, plain, plain, opening_key);
        }
        listeners
    }

    fn refuse_domain(&mut self, section: &Section) {
        self.refuse(
            section,
            "socket_domain",
            "only a listener without an address has a choice: leave it out",
        );
    }

    fn listener<'s>(
        &mut self,
        section: &'s Section,
        plain: &Section,
    ) -> Option<(Listener, &'s Section, Option<Place>)> {
        // A wrong opening line has been told of already.
        let opening = section.opening.as_ref()?;
        let mut listener = self.common(section, plain, Some(("listener", opening.place)));
        let endpoint = value::endpoint(opening.values.first()?)?;
        if !matches!(endpoint, Endpoint::Any(_)) {
            self.refuse_domain(section);
        }
        listener.endpoint = match endpoint {
            Endpoint::Unix { path, .. } => {
                self.refuse_tls(section, "TLS is not spoken on a UNIX socket: leave it out");
                listener.user_from_certificate = None;
                Endpoint::Unix { path, mode: section.text("unix_socket_mode").and_then(value::mode) }
            }
            tcp @ (Endpoint::Tcp(_) | Endpoint::Any(_)) => {
                self.refuse(section, "unix_socket_mode", "this listener is a TCP port: leave it out");
                listener.tls = self.tls(section, plain);
                self.refuse_any_proxy(section);
                match tcp {
                    Endpoint::Any(port) => value::any(port, section.text("socket_domain")),
                    tcp => tcp,
                }
            }
        };
        self.refuse_closed(&listener, section, plain, Some(("listener", opening.place)));
        Some((listener, section, Some(opening.place)))
    }

    /// What any listener has. `opening` is the key and the line that opens it to others than the users of this machine.
    fn common(
        &mut self,
        section: &Section,
        plain: &Section,
        opening: Option<(&'static str, Place)>,
    ) -> Listener {
        let of = |key| if section.line(key).is_some() { section } else { plain };
        let access = |own, key| access(section, plain, own, key);
        let mut listener = Listener::default();
        if let Some(backlog) = of("tcp_backlog").text("tcp_backlog").and_then(|text| text.parse().ok()) {
            listener.backlog = backlog;
        }
        // Above the first `listener` line it is the broker's.
        if section.opening.is_some() {
            listener.max_connections = section.text("max_connections").and_then(|text| text.parse().ok());
        }
        let of_messages = of("max_publish_messages_per_second").text("max_publish_messages_per_second");
        let of_bytes = of("max_publish_bytes_per_second").text("max_publish_bytes_per_second");
        listener.publish_rate = PublishRate {
            messages_per_second: of_messages.and_then(|text| text.parse().ok()),
            bytes_per_second: of_bytes.and_then(value::size).and_then(NonZeroU64::new),
        };
        listener.proxy = self.proxy(section);
        listener.websocket = self.websocket(section);
        let (place, key) = access("", "password_file");
        listener.password_file = place.path(key);
        let (place, key) = access("", "acl_file");
        listener.acl_file = place.path(key);
        listener.user_from_certificate = self.user_from_certificate(section);
        listener.user_as_client_id = section.truth("use_username_as_clientid") == Some(true);
        let (place, key) = access("", "clientid_prefixes");
        listener.client_id_prefixes = place.list(key).map(str::to_owned).collect();
        let (place, key) = access("", "allow_zero_length_clientid");
        listener.identifiers.may_be_empty = place.truth(key).unwrap_or(true);
        let (place, key) = access("listener_auto_id_prefix", "auto_id_prefix");
        if let Some(prefix) = place.text(key) {
            listener.identifiers.prefix = prefix.into();
        }
        let (place, key) = access("listener_allow_anonymous", "allow_anonymous");
        listener.allow_anonymous = place.truth(key).unwrap_or(opening.is_none());
        listener
    }

    /// A listener that nobody could log in at.
    fn refuse_closed(
        &mut self,
        listener: &Listener,
        section: &Section,
        plain: &Section,
        opening: Option<(&'static str, Place)>,
    ) {
        let (place, key) = access(section, plain, "", "password_file");
        let has_passwords = place.line(key).is_some();
        let (place, key) = access(section, plain, "listener_allow_anonymous", "allow_anonymous");
        if !listener.allow_anonymous && !has_passwords && listener.user_from_certificate.is_none() {
            match (place.line(key), opening) {
                (Some(line), _) if place.text(key).is_some() => {
                    let what =
                        format!("`{key} false` without `password_file`: nobody could log in, give the file");
                    self.problem(line, None, what);
                }
                (None, Some((key, line))) => {
                    let what = format!(
                        "nobody could log in at this `{key}`: give a `password_file`, or say `allow_anonymous true`"
                    );
                    self.problem(line, None, what);
                }
                _ => {}
            }
        }
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

    fn proxy(&mut self, section: &Section) -> Option<Proxy> {
        if section.truth("proxy_protocol") == Some(true) {
            let trusted = section.list("proxy_trusted").filter_map(value::network).collect();
            return Some(Proxy { trusted });
        }
        if !section.spoilt.contains_key("proxy_protocol") {
            let what = "it needs `proxy_protocol true` beside it: give that, or leave it out";
            self.refuse(section, "proxy_trusted", what);
        }
        None
    }

    /// Whoever reaches a port could say to be anybody.
    fn refuse_any_proxy(&mut self, section: &Section) {
        if section.truth("proxy_protocol") == Some(true) && section.line("proxy_trusted").is_none() {
            let what = "`proxy_protocol true` without `proxy_trusted`: give the addresses of your proxies";
            self.problem(section.line("proxy_protocol"), None, what.to_owned());
        }
    }

    fn websocket(&mut self, section: &Section) -> Option<WebSocket> {
        if section.text("protocol") == Some(value::WEBSOCKETS) {
            return Some(WebSocket {
                path: section.text("websockets_path").map(str::to_owned),
                origins: section.list("websockets_origin").map(str::to_owned).collect(),
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

    /// A certificate and its private key are nothing without each other.
    pub(super) fn refuse_half(&mut self, section: &Section, certfile: &str, keyfile: &str) {
        let (line, what) = match (section.line(certfile), section.line(keyfile)) {
            (Some(line), None) => {
                (line, format!("`{certfile}` without `{keyfile}`: give its private key too"))
            }
            (None, Some(line)) => {
                (line, format!("`{keyfile}` without `{certfile}`: give its certificate too"))
            }
            _ => return,
        };
        self.problem(line, None, what);
    }

    fn tls(&mut self, section: &Section, plain: &Section) -> Option<Tls> {
        let lines = ["cafile", "certfile", "keyfile", "require_certificate"].map(|key| section.line(key));
        let [cafile, certfile, keyfile, _] = lines;
        let require_certificate = section.truth("require_certificate").unwrap_or(false);
        let require_line = section.line("require_certificate");
        self.refuse_half(section, "certfile", "keyfile");
        match (certfile, keyfile) {
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
        if let (Some(line), Some(_)) = (section.line("tls_version"), section.line("tls_protocols")) {
            let what =
                "`tls_version` beside `tls_protocols`, which says the same: keep one of them".to_owned();
            self.problem(line, None, what);
        }
        let protocols = if section.line("tls_protocols").is_some() { section } else { plain };
        let oldest = section.text("tls_version").and_then(value::oldest_tls);
        let versions = oldest.or_else(|| protocols.text("tls_protocols").and_then(value::protocols));
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

    fn refuse_same_addresses(&mut self, listeners: &[(Listener, &Section, Option<Place>)]) {
        for (number, (later, _, line)) in listeners.iter().enumerate() {
            let earlier =
                listeners.iter().take(number).find(|(earlier, ..)| clash(&earlier.endpoint, &later.endpoint));
            let Some((earlier, _, first)) = earlier else { continue };
            let place = match (*first, *line) {
                (None, _) => "the command line".to_owned(),
                (Some(first), at) => self.shown(first, at.unwrap_or(first)),
            };
            let what = format!(
                "{} cannot be listened on beside {} of {place}: give each listener its own address",
                later.endpoint, earlier.endpoint
            );
            self.problem(*line, None, what);
        }
    }
}

/// mosquitto has one limit for what waits, stored or not.
fn stored_as_queued(plain: &Section, limits: &mut Limits) {
    if plain.line("max_queued_messages").is_some() && plain.line("max_stored_messages").is_none() {
        limits.max_stored_messages = limits.max_queued_messages.min(value::MOST_STORED_MESSAGES);
    }
    if plain.line("max_queued_bytes").is_some() && plain.line("max_stored_bytes").is_none() {
        limits.max_stored_bytes = limits.max_queued_bytes.clamp(1 << 10, value::MOST_STORED_BYTES);
    }
}

/// Where what decides about access stands: what one listener may have of its own wins; the rest is for all, or for those
/// that it stands under.
fn access<'s>(
    section: &'s Section,
    plain: &'s Section,
    own: &'static str,
    key: &'static str,
) -> (&'s Section, &'static str) {
    match section.line(own) {
        Some(_) => (section, own),
        None if plain.truth("per_listener_settings") == Some(true) => (section, key),
        None => (plain, key),
    }
}

/// Whether the system would refuse the second of two listeners.
fn clash(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Any(one), Endpoint::Any(other)) => one == other && *one != 0,
        (Endpoint::Any(port), Endpoint::Tcp(address)) | (Endpoint::Tcp(address), Endpoint::Any(port)) => {
            *port == address.port() && *port != 0
        }
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
        Some(known) => format!("unknown key `{name}`: the nearest known one is `{known}`"),
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
    // As in mosquitto, 0 is no limit of its own.
    let size_or_any = |to: &mut usize| {
        size(to);
        if *to == 0 {
            *to = usize::MAX;
        }
    };
    let number_or_any = |to: &mut usize| {
        *to = if matches!(text, "0" | "-1") { usize::MAX } else { text.parse().unwrap_or(*to) };
    };
    let time = || value::time(text).filter(|time| *time > Duration::ZERO);
    let count = |to: &mut u16| *to = text.parse().unwrap_or(*to);
    let number = |to: &mut usize| *to = text.parse().unwrap_or(*to);
    let truth = |to: &mut bool| *to = value::truth(text).unwrap_or(*to);
    match key {
        "log_level" => process.log_level = value::level(text).unwrap_or(process.log_level),
        "log_path" => process.log_path = Some(text.into()),
        "log_format" => {
            process.log_lines.format = value::log_format(text).unwrap_or(process.log_lines.format);
        }
        "log_timestamp" => truth(&mut process.log_lines.has_time),
        "log_timestamp_format" => process.log_lines.time_format = Some(text.to_owned()),
        "connection_messages" => process.log_lines.connections = value::truth(text),
        "shutdown_grace" => limits.stop_timeout = value::time(text).unwrap_or(limits.stop_timeout),
        "pid_file" => process.pid_file = Some(text.into()),
        "user" => process.user = Some(text.to_owned()),
        "group" => process.group = Some(text.to_owned()),
        "persistence" => *persistence = (value::truth(text) == Some(true)).then(Default::default),
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
        "max_connections" => number_or_any(&mut limits.max_connections),
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
        "max_inflight_messages" => {
            count(&mut limits.max_in_flight_messages);
            if limits.max_in_flight_messages == 0 {
                limits.max_in_flight_messages = u16::MAX;
            }
        }
        "max_inflight_bytes" => size_or_any(&mut limits.max_in_flight_bytes),
        "max_queued_messages" => number_or_any(&mut limits.max_queued_messages),
        "max_queued_bytes" => size_or_any(&mut limits.max_queued_bytes),
        "max_outbox_bytes" => size(&mut limits.max_outbox_bytes),
        "max_retained_messages" => number(&mut limits.max_retained_messages),
        "max_retained_bytes" => size(&mut limits.max_retained_bytes),
        "check_payload_format" => truth(&mut limits.check_payload_format),
        "stats_publish_interval" => *stats_interval = time(),
        "keepalive" => limits.tcp_keep_alive = time(),
        "persistent_client_expiration" => {
            limits.persistent_client_expiration = value::age(text).filter(|time| *time > Duration::ZERO);
        }
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
        // Seen to elsewhere.
        "log_dest" | "log_type" | "per_listener_settings" | "include_dir" => {}
        // They are looked at together.
        "http_listener" | "http_token_file" | "http_password_file" | "http_certfile" | "http_keyfile" => {}
        "threads" => *threads = text.parse::<NonZeroUsize>().unwrap_or(*threads),
        _ => debug_assert!(false, "a key without effect: {key}"),
    }
}
