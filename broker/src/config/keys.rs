//! The table of all keys: what reads a file, what proposes a name for a misspelt one, and what the reference page
//! and the shipped `sol.conf` are made from.

use std::fmt;

use super::value::Kind;

/// A key of the configuration file.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub scope: Scope,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds without it, as it would be written; empty where that is nothing.
    pub default: &'static str,
    /// A value to begin with, where there is no default.
    pub example: &'static str,
    /// What it does, in one paragraph.
    pub meaning: &'static str,
}

/// What a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The broker. It may stand anywhere.
    Broker,
    /// The plain form of a listener, which has no `listener` line. It stands above the first one.
    Plain,
    /// The `listener` line itself.
    Opening,
    /// The broker; under a `listener` line, that listener's part of it.
    Shared,
    /// The listener whose line it stands under; above the first `listener` line, the plain form.
    Listener,
    /// The `connection` line of a bridge itself.
    Connection,
    /// The bridge whose `connection` line it stands under.
    Bridge,
    /// As for [`Scope::Listener`], but above the first `listener` line it is the default of all listeners.
    Inherited,
    /// All listeners, wherever it stands; with `per_listener_settings true` as for [`Scope::Listener`]. mosquitto has its
    /// keys of who may connect so.
    Access,
}

/// As the reference page has it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Shared => "broker, or a listener",
            Self::Plain => "plain listener",
            Self::Opening => "opens a listener",
            Self::Connection => "opens a bridge",
            Self::Bridge => "bridge",
            Self::Listener => "listener",
            Self::Inherited => "listener, inherited",
            Self::Access => "all listeners",
        })
    }
}

/// Finds a key.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The name of a key that is most like a word, if one is somewhat like it.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    let likeness = |name: &&str| strsim::jaro_winkler(&word.to_lowercase(), name);
    let names = KEYS.iter().map(|key| key.name);
    let nearest = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&nearest) > 0.7).then_some(nearest)
}

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
/// The longest interval of 5.0 that is not for ever, in seconds.
const LONGEST: u64 = u32::MAX as u64 - 1;

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    Key {
        name: "ip_address",
        scope: Scope::Plain,
        kind: Kind::Address,
        default: "127.0.0.1",
        example: "",
        meaning: "Address to listen on. `0.0.0.0` and `::` let other machines in.",
    },
    Key {
        name: "ip_port",
        scope: Scope::Plain,
        kind: Kind::Port,
        default: "1883",
        example: "",
        meaning: "Port to listen on; 0 takes a free one.",
    },
    Key {
        name: "port",
        scope: Scope::Plain,
        kind: Kind::Port,
        default: "",
        example: "1883",
        meaning: "As `listener PORT`, with `bind_address` behind it: what mosquitto calls the default listener. All \
                  of this machine's addresses, and nobody gets in without a password unless `allow_anonymous true` \
                  says so. What stands above the first `listener` line is for it.",
    },
    Key {
        name: "bind_address",
        scope: Scope::Plain,
        kind: Kind::Host,
        default: "",
        example: "192.0.2.1",
        meaning: "The address that goes with `port`; `localhost` is 127.0.0.1.",
    },
    Key {
        name: "unix_socket",
        scope: Scope::Plain,
        kind: Kind::Path,
        default: "",
        example: "/run/sol/sol.sock",
        meaning: "A UNIX socket to listen on. With `ip_address` or `ip_port` it stands beside TCP, without both it \
                  stands alone. A socket that a dead process left there is replaced, one that is served is not.",
    },
    Key {
        name: "unix_socket_mode",
        scope: Scope::Listener,
        kind: Kind::Mode,
        default: "",
        example: "0660",
        meaning: "Permissions of the UNIX socket. Without it the umask decides.",
    },
    Key {
        name: "tcp_backlog",
        scope: Scope::Inherited,
        kind: Kind::Count { min: 1, max: 65_535 },
        default: "128",
        example: "",
        meaning: "Connections that the system holds until the broker accepts them. The system may have a lower limit \
                  (`net.core.somaxconn`).",
    },
    Key {
        name: "socket_domain",
        scope: Scope::Listener,
        kind: Kind::Domain,
        default: "",
        example: "ipv4",
        meaning: "Which of IP's versions a listener without an address is for; without it, both.",
    },
    Key {
        name: "cafile",
        scope: Scope::Listener,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/ca.pem",
        meaning: "Authorities (PEM) that sign clients' certificates. It needs `certfile` and `keyfile`.",
    },
    Key {
        name: "certfile",
        scope: Scope::Listener,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/server.pem",
        meaning: "The server's certificate (PEM), then those between it and the authority. With `keyfile` it turns \
                  TLS on. Read again on SIGHUP.",
    },
    Key {
        name: "keyfile",
        scope: Scope::Listener,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/server.key",
        meaning: "The private key of `certfile` (PEM). Read again on SIGHUP.",
    },
    Key {
        name: "require_certificate",
        scope: Scope::Listener,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether a client must show a certificate that an authority in `cafile` signed.",
    },
    Key {
        name: "tls_protocols",
        scope: Scope::Inherited,
        kind: Kind::Protocols,
        default: "tlsv1_2,tlsv1_3",
        example: "",
        meaning: "Versions of TLS, with commas between. `tlsv1` and `tlsv1_1` are refused: no safe implementation of \
                  them exists here.",
    },
    Key {
        name: "tls_version",
        scope: Scope::Listener,
        kind: Kind::OldestTls,
        default: "",
        example: "tlsv1.3",
        meaning: "The oldest version of TLS, as mosquitto has it; in place of `tls_protocols`. tlsv1.1 and older are \
                  refused.",
    },
    Key {
        name: "protocol",
        scope: Scope::Listener,
        kind: Kind::Carrier,
        default: "mqtt",
        example: "",
        meaning: "What carries MQTT: nothing else (`mqtt`), or the binary frames of WebSocket (`websockets`), for \
                  browsers; with TLS it is wss. Clients must offer the subprotocol `mqtt` [MQTT-6.0.0-3]; `mqttv3.1` \
                  is taken too.",
    },
    Key {
        name: "websockets_path",
        scope: Scope::Listener,
        kind: Kind::UrlPath,
        default: "",
        example: "/mqtt",
        meaning: "The path that a client of WebSocket must ask for. Without it any will do. It needs `protocol \
                  websockets`.",
    },
    Key {
        name: "websockets_origin",
        scope: Scope::Listener,
        kind: Kind::Origin,
        default: "",
        example: "https://example.org",
        meaning: "Where a web page may come from whose browser connects here by WebSocket: a scheme, a host and, if it \
                  is not the usual one, a port. May be given several times; without it pages may come from anywhere. \
                  Clients that are no browsers say no origin, and are let in. It needs `protocol websockets`.",
    },
    Key {
        name: "proxy_protocol",
        scope: Scope::Listener,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether each connection begins with the PROXY protocol, version 1 or 2, in which a proxy (HAProxy, \
                  nginx, a cloud's load balancer) says whom it is for. That address is the client's from then on, in \
                  limits, delays and the log. Connections without it are closed. On a TCP port it needs \
                  `proxy_trusted`; on a UNIX socket everybody who may connect is believed.",
    },
    Key {
        name: "proxy_trusted",
        scope: Scope::Listener,
        kind: Kind::Network,
        default: "",
        example: "10.0.0.0/8",
        meaning: "A network, or an address, of proxies; connections from elsewhere are closed, for anybody could say \
                  anything. May be given several times. It needs `proxy_protocol true`.",
    },
    Key {
        name: "allow_anonymous",
        scope: Scope::Access,
        kind: Kind::Truth,
        default: "",
        example: "true",
        meaning: "Whether clients without a user name are let in. Without it, they are where the plain form listens, \
                  and are not where a `listener` or `port` line does. `false` needs `password_file`, or user \
                  names from certificates.",
    },
    Key {
        name: "password_file",
        scope: Scope::Access,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/passwd",
        meaning: "Users and the hashes of their passwords. Read again on SIGHUP. Where a user has a secret made by \
                  `sol passwd -H scram-sha-256`, clients of MQTT 5.0 are offered the authentication method \
                  SCRAM-SHA-256.",
    },
    Key {
        name: "acl_file",
        scope: Scope::Access,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/acl",
        meaning: "Which topics clients may write and read, in mosquitto's format (above). Without it, all; with it, what no \
                  line allows is denied. Read again on SIGHUP, for clients that are connected too.",
    },
    Key {
        name: "use_identity_as_username",
        scope: Scope::Listener,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether the user name of a client is the common name (CN) of its certificate, and not the one in \
                  CONNECT; passwords are not looked at then, here and for `use_subject_as_username`. A certificate \
                  without one is refused (CONNACK code 4, in 5.0 0x86). It needs `require_certificate true`.",
    },
    Key {
        name: "use_subject_as_username",
        scope: Scope::Listener,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether the user name of a client is the whole subject of its certificate, as RFC 4514 writes it \
                  (`CN=anna,O=Example,C=DE`), with letters outside ASCII as they are. It wins over `use_identity_as_username`, and needs \
                  `require_certificate true`.",
    },
    Key {
        name: "use_username_as_clientid",
        scope: Scope::Listener,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether the user name takes the place of the client identifier, so that nobody takes over another \
                  user's session. Who has no user name is refused (CONNACK code 5, in 5.0 0x87).",
    },
    Key {
        name: "clientid_prefixes",
        scope: Scope::Access,
        kind: Kind::Prefixes,
        default: "",
        example: "secure-",
        meaning: "What the client identifiers begin with that are let in; others are refused (CONNACK code 5, in 5.0 \
                  0x87). May be given several times; without it all are.",
    },
    Key {
        name: "listener_allow_anonymous",
        scope: Scope::Listener,
        kind: Kind::Truth,
        default: "",
        example: "false",
        meaning: "In place of `allow_anonymous`, for one listener.",
    },
    Key {
        name: "allow_zero_length_clientid",
        scope: Scope::Access,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether the broker makes up a client identifier for a client that sends an empty one. If not, \
                  CONNACK refuses it (code 2, in 5.0 0x85).",
    },
    Key {
        name: "auto_id_prefix",
        scope: Scope::Access,
        kind: Kind::Prefix,
        default: "sol-",
        example: "",
        meaning: "What the client identifiers begin with that the broker makes up.",
    },
    Key {
        name: "listener_auto_id_prefix",
        scope: Scope::Listener,
        kind: Kind::Prefix,
        default: "",
        example: "guest-",
        meaning: "In place of `auto_id_prefix`, for one listener.",
    },
    Key {
        name: "per_listener_settings",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether `allow_anonymous`, `password_file`, `acl_file`, `clientid_prefixes`, \
                  `allow_zero_length_clientid` and `auto_id_prefix` hold only for the listener under whose line they stand, or above the first one for the plain form. \
                  Without it each is given once, anywhere, and holds for all listeners.",
    },
    Key {
        name: "http_listener",
        scope: Scope::Broker,
        kind: Kind::SocketAddress,
        default: "",
        example: "127.0.0.1:9883",
        meaning: "An address and a port where the broker speaks HTTP: figures for Prometheus at `/metrics`, whether it \
                  serves at `/healthz` and `/readyz`, and below `/api/v1` what an operator looks at and does. May be \
                  given several times; without it there is no HTTP. If other machines can reach the address, it needs \
                  `http_token_file` or `http_password_file`; without both, whoever is on this machine is let in.",
    },
    Key {
        name: "http_token_file",
        scope: Scope::Broker,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/http.token",
        meaning: "A file with one line of 16 characters or more, visible and ASCII: who gives it as a bearer token \
                  (`Authorization: Bearer …`) is let in by HTTP. Read again on SIGHUP.",
    },
    Key {
        name: "http_password_file",
        scope: Scope::Broker,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/http.passwd",
        meaning: "Users that are let in by HTTP, and the hashes of their passwords, as in `password_file`. Read again \
                  on SIGHUP.",
    },
    Key {
        name: "http_certfile",
        scope: Scope::Broker,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/http.pem",
        meaning: "The certificate (PEM) of the `http_listener`s, then those between it and the authority. With \
                  `http_keyfile` they speak HTTPS. Read again on SIGHUP.",
    },
    Key {
        name: "http_keyfile",
        scope: Scope::Broker,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/http.key",
        meaning: "The private key of `http_certfile` (PEM). Read again on SIGHUP.",
    },
    Key {
        name: "log_level",
        scope: Scope::Broker,
        kind: Kind::Level,
        default: "INFO",
        example: "",
        meaning: "`DEBUG` tells of every connection. `-v` and `-q` win over it. Read again on SIGHUP.",
    },
    Key {
        name: "log_path",
        scope: Scope::Broker,
        kind: Kind::Path,
        default: "",
        example: "/var/log/sol/sol.log",
        meaning: "A log on disk beside standard error; with `-d`, the only log. Opened anew on SIGHUP and SIGUSR1, so \
                  that it can be renamed before. `log_dest file PATH` is the log on disk alone.",
    },
    Key {
        name: "log_dest",
        scope: Scope::Broker,
        kind: Kind::LogDest,
        default: "",
        example: "stderr",
        meaning: "Where the log goes, in place of standard error and `log_path`: `stderr`, `stdout`, `file PATH`, or \
                  `none`, which wins over what stands above it. May be given several times.",
    },
    Key {
        name: "log_type",
        scope: Scope::Broker,
        kind: Kind::LogType,
        default: "",
        example: "all",
        meaning: "What is logged, as mosquitto has it, in place of `log_level`: `error`, `warning`, `notice`, \
                  `information`, `debug` or `all`; may be given several times. The most talkative decides: what is \
                  more important is always logged. Read again on SIGHUP.",
    },
    Key {
        name: "log_format",
        scope: Scope::Broker,
        kind: Kind::LogFormat,
        default: "text",
        example: "",
        meaning: "How a line of the log is: for people (`text`); an object with `time`, `level`, `message` and, where they \
                  are known, `event`, `client`, `address` and others (`json`); or as mosquitto has it, for tools that \
                  read its log (`mosquitto`). Read again on SIGHUP.",
    },
    Key {
        name: "log_timestamp",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether each line of the log begins with its time. Read again on SIGHUP.",
    },
    Key {
        name: "log_timestamp_format",
        scope: Scope::Broker,
        kind: Kind::TimeFormat,
        default: "",
        example: "%Y-%m-%dT%H:%M:%S",
        meaning: "How that time is written, in the words of strftime, as local time. Without it, as RFC 3339 has it, in \
                  UTC; with `log_format mosquitto`, seconds since 1970. Read again on SIGHUP.",
    },
    Key {
        name: "connection_messages",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "",
        example: "true",
        meaning: "Whether clients that come and go are told of at INFO. Without it they are with `log_format mosquitto`; \
                  otherwise DEBUG tells of all, and INFO of those that did something wrong. Read again on SIGHUP.",
    },
    Key {
        name: "persistence",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether sessions that outlive their connection, with their subscriptions, messages and wills, and \
                  retained messages survive the broker, be it stopped, killed or without power. PUBACK, PUBREC and \
                  the other answers then leave only when what they promise is stored. With `false` everything is in \
                  memory, and nothing survives. No key of the store is read again on SIGHUP.",
    },
    Key {
        name: "persistence_location",
        scope: Scope::Broker,
        kind: Kind::Directory,
        default: "/var/lib/sol",
        example: "",
        meaning: "Where it is stored. The directory is made if it is not there, for this user alone; one broker at a \
                  time uses it.",
    },
    Key {
        name: "persistence_sync",
        scope: Scope::Broker,
        kind: Kind::Sync,
        default: "always",
        example: "",
        meaning: "What an answer waits for, unless all clients that are to have a QoS 1 message acknowledge it before. \
                  `always`: what it promises is on stable storage, many messages at a time; nothing that was acknowledged is lost, even in a power cut. `interval 5s`: it is written, and goes to \
                  stable storage every 5 s; a broker that is killed loses nothing, a power cut or a crash of the \
                  system what was acknowledged in that time. `os`: it is written, and the system decides when that \
                  goes to stable storage, on Linux mostly within 30 s; a power cut loses what it had not got to.",
    },
    Key {
        name: "max_persistence_backlog_bytes",
        scope: Scope::Broker,
        kind: Kind::Size { min: MB, max: 1 << 40 },
        default: "64MB",
        example: "",
        meaning: "What may wait in memory to be written. Beyond it nothing is read from clients that wait for an \
                  answer which depends on the store, until the disk has caught up or has room again.",
    },
    Key {
        name: "max_stored_messages",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 1_000_000_000 },
        default: "1000000",
        example: "",
        meaning: "QoS 1 and 2 messages that wait in the store for one client whose session survives the broker; \
                  further ones are dropped, and counted in `$SYS/broker/publish/messages/dropped/queue`. Without it, as \
                  many as `max_queued_messages` where that is given.",
    },
    Key {
        name: "max_stored_bytes",
        scope: Scope::Broker,
        kind: Kind::Size { min: KB, max: 1 << 50 },
        default: "1GB",
        example: "",
        meaning: "Bytes of such messages that wait for one client; further ones are dropped and counted as above. Without \
                  it, as many as `max_queued_bytes` where that is given.",
    },
    Key {
        name: "max_memory",
        scope: Scope::Broker,
        kind: Kind::Size { min: 8 * MB, max: 1 << 50 },
        default: "2GB",
        example: "",
        meaning: "Memory the broker may use. Near it, it drops what it may and then refuses new work.",
    },
    Key {
        name: "max_connections",
        scope: Scope::Shared,
        kind: Kind::Limit { min: 1, max: 10_000_000 },
        default: "100000",
        example: "",
        meaning: "Connections at a time; further ones are closed at once. -1 is any number: then the descriptors that \
                  the system allows are the limit. Under a `listener` line it is how many of them that listener may \
                  have.",
    },
    Key {
        name: "max_connections_per_address",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 10_000_000 },
        default: "0",
        example: "",
        meaning: "Connections at a time from one IP address, or one /64 of IPv6; further ones are closed at once. 0 \
                  is any number: all clients behind one NAT or proxy have the same address. UNIX sockets are not \
                  counted.",
    },
    Key {
        name: "max_connections_per_address_per_second",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 1_000_000 },
        default: "0",
        example: "",
        meaning: "New connections a second from one IP address, or one /64 of IPv6; further ones are closed at \
                  once. After a rest, ten seconds' worth may come together. 0 is any number. UNIX sockets are not \
                  counted.",
    },
    Key {
        name: "max_publish_messages_per_second",
        scope: Scope::Inherited,
        kind: Kind::Count { min: 0, max: 1_000_000_000 },
        default: "0",
        example: "",
        meaning: "PUBLISH packets a second from one client. Who sends more loses nothing: it is not read from until \
                  it may go on, while it gets its messages as before and its keep alive does not run. After a rest, \
                  one second's worth may come at once; a new connection has had no rest. 0 is any number.",
    },
    Key {
        name: "max_publish_bytes_per_second",
        scope: Scope::Inherited,
        kind: Kind::Size { min: 0, max: 1 << 40 },
        default: "0B",
        example: "",
        meaning: "Bytes of PUBLISH packets a second from one client, all of each packet counted; beyond it as for \
                  `max_publish_messages_per_second`. 0 is any number.",
    },
    Key {
        name: "max_sessions",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 100_000_000 },
        default: "1000000",
        example: "",
        meaning: "Sessions, connected or not. Further clients are refused (CONNACK code 3, in 5.0 0x97); who has a \
                  session gets in.",
    },
    Key {
        name: "max_subscriptions",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 100_000_000 },
        default: "100000",
        example: "",
        meaning: "Subscriptions of one client; SUBACK refuses further ones (0x80, in 5.0 0x97).",
    },
    Key {
        name: "max_total_subscriptions",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 1_000_000_000 },
        default: "10000000",
        example: "",
        meaning: "Subscriptions of all sessions together; SUBACK refuses further ones (0x80, in 5.0 0x97).",
    },
    Key {
        name: "max_filters",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 1_000_000 },
        default: "1000",
        example: "",
        meaning: "Topic filters in one SUBSCRIBE, which others wait for; SUBACK refuses those behind them (0x80, in \
                  5.0 0x97).",
    },
    Key {
        name: "max_topic_bytes",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 65_535 },
        default: "65535",
        example: "",
        meaning: "Bytes of a topic name or filter. SUBACK refuses a longer filter (0x80, in 5.0 0x97), CONNACK a \
                  will for a longer topic (code 3, in 5.0 0x90). A PUBLISH to a longer topic is refused with 0x90 \
                  in PUBACK or PUBREC; who cannot be told in these, at QoS 0 or before 5.0, is disconnected, since \
                  nothing is acknowledged that is not delivered.",
    },
    Key {
        name: "max_topic_levels",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 65_536 },
        default: "256",
        example: "",
        meaning: "Levels of a topic name or filter; what is deeper is refused like what is longer than \
                  `max_topic_bytes`.",
    },
    Key {
        name: "max_inflight_messages",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 65_535 },
        default: "100",
        example: "",
        meaning: "QoS 1 and 2 messages on their way to one client and not yet acknowledged; the client may ask for \
                  fewer (Receive Maximum). Further ones are queued. 0 is as many as there are packet identifiers.",
    },
    Key {
        name: "max_inflight_bytes",
        scope: Scope::Broker,
        kind: Kind::Size { min: 0, max: 1 << 50 },
        default: "0",
        example: "",
        meaning: "Bytes of such messages; a larger one goes alone. 0 is as many as `max_outbox_bytes`, which is a \
                  limit in any case.",
    },
    Key {
        name: "max_queued_messages",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 100_000_000 },
        default: "100000",
        example: "",
        meaning: "Messages queued for one client; newer ones are dropped. 0 is any number, within `max_queued_bytes`. \
                  There is no such number for all clients together: `max_memory` bounds what they take, and when it \
                  is short takes from those that hold most, where a number would refuse whoever comes last.",
    },
    Key {
        name: "max_queued_bytes",
        scope: Scope::Broker,
        kind: Kind::Size { min: 0, max: 1 << 50 },
        default: "64MB",
        example: "",
        meaning: "Bytes of the messages queued for one client, and at most half of what `max_memory` leaves for \
                  messages; newer ones are dropped. 0 is that half.",
    },
    Key {
        name: "max_outbox_bytes",
        scope: Scope::Broker,
        kind: Kind::Size { min: KB, max: 1 << 50 },
        default: "16MB",
        example: "",
        meaning: "Bytes that wait for one client to read them, or are in flight to it, and at most a sixteenth of \
                  what `max_memory` leaves for messages. Beyond it QoS 0 messages are dropped and others queued; at \
                  twice as much nothing more is read from the client.",
    },
    Key {
        name: "max_retained_messages",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 1_000_000_000 },
        default: "1000000",
        example: "",
        meaning: "Retained messages; a further one is delivered, and not retained.",
    },
    Key {
        name: "max_retained_bytes",
        scope: Scope::Broker,
        kind: Kind::Size { min: 0, max: 1 << 50 },
        default: "1GB",
        example: "",
        meaning: "Bytes of all retained messages, and at most half of what `max_memory` leaves for messages; a \
                  further one is delivered, and not retained.",
    },
    Key {
        name: "max_request_size",
        scope: Scope::Broker,
        kind: Kind::Size { min: 20, max: 256 * MB },
        default: "512KB",
        example: "",
        meaning: "Largest packet accepted, its fixed header included. A larger one ends its connection, and the log \
                  says so.",
    },
    Key {
        name: "check_payload_format",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether a payload that a client of 5.0 says is UTF-8 (Payload Format Indicator 1) is looked at. If it \
                  is not, PUBACK or PUBREC refuses the message with 0x99; at QoS 0 the connection ends.",
    },
    Key {
        name: "stats_publish_interval",
        scope: Scope::Broker,
        kind: Kind::Time { max: 366 * 86_400 },
        default: "10s",
        example: "",
        meaning: "How often the statistics are published; 0 is never.",
    },
    Key {
        name: "keepalive",
        scope: Scope::Broker,
        kind: Kind::Time { max: 32_767 },
        default: "60s",
        example: "",
        meaning: "After so long without a byte the system asks a TCP connection's other end whether it is still there \
                  (TCP keep-alive), and ends the connection if nobody answers; 0 never asks. So a client that went \
                  away is noticed even if it asked for no keep alive. No living client is cut off by it: the keep \
                  alive that a client asks for in CONNECT is granted as it is, up to the 65535 s that the packet can \
                  say, and enforced at one and a half times its length [MQTT-3.1.2-24]. A bound on it would be \
                  dishonest, as MQTT 3.1.1 has no way to tell the client another value; 5.0 has one, and \
                  `max_keepalive` uses it.",
    },
    Key {
        name: "persistent_client_expiration",
        scope: Scope::Broker,
        kind: Kind::Age { max: LONGEST },
        default: "0",
        example: "",
        meaning: "How long a session of 3.1 or 3.1.1 with clean session 0 is kept while its client is away; 0 is for \
                  ever, as the standard has it.",
    },
    Key {
        name: "max_session_expiry",
        scope: Scope::Broker,
        kind: Kind::Time { max: LONGEST },
        default: "0",
        example: "",
        meaning: "The longest session expiry interval that a client of 5.0 gets. One that asks for more is told in \
                  CONNACK; 0 grants any.",
    },
    Key {
        name: "max_keepalive",
        scope: Scope::Broker,
        kind: Kind::Time { max: 65_535 },
        default: "0",
        example: "",
        meaning: "The longest keep alive that a client of 5.0 gets. One that asks for more, or for none, is told in \
                  CONNACK (Server Keep Alive) and held to it; 0 grants any.",
    },
    Key {
        name: "max_qos",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 2 },
        default: "2",
        example: "",
        meaning: "The highest QoS that a client of 5.0 may publish at, as CONNACK tells it. Subscriptions may ask for \
                  any.",
    },
    Key {
        name: "retain_available",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether messages can be retained. Where not, CONNACK tells a client of 5.0, which may not ask for \
                  it; what one of 3.1.1 publishes with RETAIN is published as if without.",
    },
    Key {
        name: "max_topic_alias",
        scope: Scope::Broker,
        kind: Kind::Count { min: 0, max: 65_535 },
        default: "10",
        example: "",
        meaning: "Topic aliases that a client of 5.0 may use, as CONNACK tells it; each keeps one topic name in \
                  memory. A client whose names take more than 1MB is disconnected (0x97).",
    },
    Key {
        name: "receive_maximum",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 65_535 },
        default: "65535",
        example: "",
        meaning: "QoS 1 and 2 messages of a client of 5.0 that may be unacknowledged at a time, as CONNACK tells it.",
    },
    Key {
        name: "wildcard_subscription_available",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether topic filters may have wildcards. Where not, CONNACK tells a client of 5.0, and SUBACK \
                  refuses such filters.",
    },
    Key {
        name: "shared_subscription_available",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether there are shared subscriptions (`$share/name/filter`). Where not, CONNACK tells a client of \
                  5.0, and SUBACK refuses them.",
    },
    Key {
        name: "subscription_identifiers_available",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether subscriptions may have identifiers. Where not, CONNACK tells a client of 5.0, and SUBACK \
                  refuses them.",
    },
    Key {
        name: "response_information",
        scope: Scope::Broker,
        kind: Kind::Text,
        default: "",
        example: "replies/",
        meaning: "Text that a client of 5.0 gets in CONNACK if it asks for Response Information: by convention the \
                  begin of the topics that it may take answers on.",
    },
    Key {
        name: "server_reference",
        scope: Scope::Broker,
        kind: Kind::Text,
        default: "",
        example: "other.example.org:1883",
        meaning: "Where clients of 5.0 are sent when the broker stops: other servers, as `host` or `host:port`, with \
                  spaces between. Without it they are told only that it stops. Read again on SIGHUP.",
    },
    Key {
        name: "server_moved",
        scope: Scope::Broker,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether `server_reference` is for good (reason code 0x9D) or only for this time (0x9C). Read again \
                  on SIGHUP.",
    },
    Key {
        name: "include_dir",
        scope: Scope::Broker,
        kind: Kind::Include,
        default: "",
        example: "/etc/sol/conf.d",
        meaning: "Reads the files of a directory whose names end in `.conf`, in the order of their names, as if they \
                  stood here, but that each begins above its first `listener` line. A path that is not absolute \
                  begins at the file that it stands in. May be given several times, in the main file alone. The file \
                  that names the directory is read first to its end only if this is its last line.",
    },
    Key {
        name: "threads",
        scope: Scope::Broker,
        kind: Kind::Count { min: 1, max: 1024 },
        default: "",
        example: "2",
        meaning: "Threads that serve the connections. Without it, one a core.",
    },
    Key {
        name: "shutdown_grace",
        scope: Scope::Broker,
        kind: Kind::Time { max: 3600 },
        default: "5s",
        example: "",
        meaning: "How long a stop waits for clients to take what is left for them, and to acknowledge what is in flight. \
                  Meanwhile nobody new is let in, and `/readyz` says so. A second signal ends it.",
    },
    Key {
        name: "pid_file",
        scope: Scope::Broker,
        kind: Kind::Path,
        default: "",
        example: "/run/sol/sol.pid",
        meaning: "Holds the process's number, and a lock: a second start with the same file is refused. Removed at \
                  the end.",
    },
    Key {
        name: "user",
        scope: Scope::Broker,
        kind: Kind::Name,
        default: "",
        example: "sol",
        meaning: "Whom to become once the sockets are open and the files are read. Needs a start as root; whoever \
                  else starts the broker is told that it has no effect.",
    },
    Key {
        name: "group",
        scope: Scope::Broker,
        kind: Kind::Name,
        default: "",
        example: "sol",
        meaning: "The group to become. Without it, that of `user`.",
    },
    Key {
        name: "listener",
        scope: Scope::Opening,
        kind: Kind::Listener,
        default: "",
        example: "8883 0.0.0.0",
        meaning: "One more listener; what stands under it is for it alone. Without an address it is all of this \
                  machine's, IPv4 and IPv6; `localhost` is 127.0.0.1. `listener 0 /path` is a UNIX socket. May be \
                  given any number of times. With it the plain form listens only if one of its keys is given. Nobody \
                  gets in without a password unless `allow_anonymous true` says so.",
    },
    Key {
        name: "connection",
        scope: Scope::Connection,
        kind: Kind::Name,
        default: "",
        example: "office",
        meaning: "A bridge: this broker is a client of another one, and hands messages on. What stands under \
                  it is for it alone; it needs `address` and `topic`. May be given any number of times, each \
                  with another name. Keys and meanings are mosquitto's. The session here is an ordinary one \
                  that no client of the network may take: it keeps its messages as `max_queued_messages` and \
                  the other limits allow, in the store if there is one, while the other broker is away.",
    },
    Key {
        name: "address",
        scope: Scope::Bridge,
        kind: Kind::Addresses,
        default: "",
        example: "broker.example.org:8883",
        meaning: "Where the other broker is, or several places where it may be. \
                  Without a port it is 1883, or 8883 with TLS.",
    },
    Key {
        name: "round_robin",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether each attempt goes to the next of several addresses. Without it each begins with the \
                  first.",
    },
    Key {
        name: "bridge_bind_address",
        scope: Scope::Bridge,
        kind: Kind::Address,
        default: "",
        example: "192.0.2.1",
        meaning: "The address of this machine to connect from.",
    },
    Key {
        name: "topic",
        scope: Scope::Bridge,
        kind: Kind::BridgeTopic,
        default: "",
        example: "sensors/# out 1 \"\" site/",
        meaning: "What goes over the bridge: a topic filter; `out` to the other broker, `in` from there, or \
                  `both`; the highest QoS (0); what stands before it here, and there. `\"\"` is no prefix, or \
                  no filter where the prefixes are whole topics. Of those that match a message the first \
                  holds. May be given several times.",
    },
    Key {
        name: "local_clientid",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "bridge.office",
        meaning: "The client identifier of its session here. Without it `bridge.` and the name.",
    },
    Key {
        name: "local_username",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "bridge",
        meaning: "Accepted, and without effect: a bridge may publish and subscribe to everything here.",
    },
    Key {
        name: "local_password",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "secret",
        meaning: "Accepted, and without effect.",
    },
    Key {
        name: "remote_clientid",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "berlin.office",
        meaning: "The client identifier that it has on the other broker. Without it \
                  this host's name, a dot and the name.",
    },
    Key {
        name: "remote_username",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "berlin",
        meaning: "Who it is on the other broker.",
    },
    Key {
        name: "remote_password",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "secret",
        meaning: "Its password there. Let nobody else read the file.",
    },
    Key {
        name: "bridge_protocol_version",
        scope: Scope::Bridge,
        kind: Kind::Version,
        default: "mqttv311",
        example: "",
        meaning: "The version of MQTT spoken with the other broker. With 5.0 properties go over the bridge, \
                  too; topics in them are not changed.",
    },
    Key {
        name: "try_private",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether a bridge of 3.1 or 3.1.1 tells the other broker that it is one, by a bit of the \
                  protocol level that mosquitto and Sol know: messages then do not come back by `both`, and \
                  RETAIN is kept. Where that is refused it goes on without. 5.0 has options of subscriptions \
                  for it.",
    },
    Key {
        name: "cleansession",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether the session on the other broker ends with the connection, so that what is published \
                  there while it is away does not come.",
    },
    Key {
        name: "local_cleansession",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "",
        example: "false",
        meaning: "The same for the session here, so that nothing is kept for the other broker while it is \
                  away. Without it, as `cleansession`.",
    },
    Key {
        name: "keepalive_interval",
        scope: Scope::Bridge,
        kind: Kind::Time { max: 65_535 },
        default: "60s",
        example: "",
        meaning: "The longest silence before the other broker is asked whether it is there, 5 s at least; \
                  after one and a half times that without an answer the connection is given up.",
    },
    Key {
        name: "restart_timeout",
        scope: Scope::Bridge,
        kind: Kind::Pauses,
        default: "5s 30s",
        example: "",
        meaning: "How long to wait before the next attempt to connect: always the same, or from the first to \
                  the second, doubling, each a little at random.",
    },
    Key {
        name: "start_type",
        scope: Scope::Bridge,
        kind: Kind::Start,
        default: "automatic",
        example: "",
        meaning: "`automatic` connects at the start and whenever the connection was lost, `once` at the start \
                  and not again after a loss, `lazy` when `threshold` messages wait, until `idle_timeout` is \
                  over.",
    },
    Key {
        name: "threshold",
        scope: Scope::Bridge,
        kind: Kind::Count { min: 1, max: 1_000_000 },
        default: "10",
        example: "",
        meaning: "For `start_type lazy`: connect when so many messages wait.",
    },
    Key {
        name: "idle_timeout",
        scope: Scope::Bridge,
        kind: Kind::Time { max: 86_400 },
        default: "60s",
        example: "",
        meaning: "For `start_type lazy`: disconnect when no message has gone either way for so long.",
    },
    Key {
        name: "notifications",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether it is published, retained, here and on the other broker, whether the bridge is \
                  connected (1) or not (0).",
    },
    Key {
        name: "notification_topic",
        scope: Scope::Bridge,
        kind: Kind::Words,
        default: "",
        example: "bridges/office",
        meaning: "Where to. Without it `$SYS/broker/connection/CLIENT/state`, with the client identifier on \
                  the other broker.",
    },
    Key {
        name: "notifications_local_only",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether that is published here only.",
    },
    Key {
        name: "bridge_attempt_unsubscribe",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether the other broker is sent UNSUBSCRIBE for topics that only go out, in case an earlier \
                  configuration had them come in.",
    },
    Key {
        name: "bridge_outgoing_retain",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "true",
        example: "",
        meaning: "Whether messages that were published with RETAIN go out with it.",
    },
    Key {
        name: "bridge_max_packet_size",
        scope: Scope::Bridge,
        kind: Kind::Size { min: KB, max: 256 * MB },
        default: "",
        example: "256KB",
        meaning: "The largest packet that goes over the bridge; a larger message is passed over, and the log \
                  says so. Inward `max_request_size` bounds it, too.",
    },
    Key {
        name: "bridge_cafile",
        scope: Scope::Bridge,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/office-ca.pem",
        meaning: "Authorities (PEM), one of which signed the other broker's certificate. It turns TLS on.",
    },
    Key {
        name: "bridge_certfile",
        scope: Scope::Bridge,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/bridge.pem",
        meaning: "A certificate (PEM) to show to the other broker. It needs `bridge_cafile` and \
                  `bridge_keyfile`.",
    },
    Key {
        name: "bridge_keyfile",
        scope: Scope::Bridge,
        kind: Kind::Path,
        default: "",
        example: "/etc/sol/bridge.key",
        meaning: "The private key of `bridge_certfile` (PEM).",
    },
    Key {
        name: "bridge_insecure",
        scope: Scope::Bridge,
        kind: Kind::Truth,
        default: "false",
        example: "",
        meaning: "Whether the other broker's certificate may be for another name than `address` has. It must \
                  be signed all the same.",
    },
    Key {
        name: "bridge_tls_version",
        scope: Scope::Bridge,
        kind: Kind::Protocols,
        default: "tlsv1_2,tlsv1_3",
        example: "",
        meaning: "Versions of TLS, as in `tls_protocols`.",
    },
    Key {
        name: "bridge_alpn",
        scope: Scope::Bridge,
        kind: Kind::Text,
        default: "",
        example: "mqtt",
        meaning: "The protocol to ask the other broker for within TLS (ALPN).",
    },
];
