//! The options of mosquitto 2.0 and 2.1: which of them are keys here, and what becomes of the others.
//!
//! A name is looked for among the keys first, so an option that is a key has a row here only for the reference page.

use super::keys::{self, Key};

/// An option of mosquitto.
#[derive(Debug)]
pub struct ForeignOption {
    /// Its name; with `*` at the end, all names that begin so.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of an option of mosquitto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is a key; what is not as in mosquitto, if anything.
    Same(&'static str),
    /// It is another name of a key; what is not as in mosquitto, if anything.
    Alias(&'static str, &'static str),
    /// It is read over, with a warning; why that is harmless.
    Ignored(&'static str),
    /// It is read over if it has this value, which is how things are; otherwise what to do.
    Only(&'static str, &'static str),
    /// It is an error; what to do.
    Refused(&'static str),
}

/// What a name in a file means.
pub(super) enum Meaning {
    Key(&'static Key),
    Foreign(&'static ForeignOption),
}

/// Finds a name among the keys, then among the options of mosquitto.
pub(super) fn meaning(name: &str) -> Option<Meaning> {
    if let Some(key) = keys::key(name) {
        return Some(Meaning::Key(key));
    }
    let option = MOSQUITTO.iter().find(|option| match option.name.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => option.name == name,
    })?;
    match option.fate {
        Fate::Same(_) => None,
        Fate::Alias(of, _) => keys::key(of).map(Meaning::Key),
        _ => Some(Meaning::Foreign(option)),
    }
}

const fn same(name: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Same("") }
}

const fn nearly(name: &'static str, note: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Same(note) }
}

const fn alias(name: &'static str, of: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Alias(of, "") }
}

const fn nearly_alias(name: &'static str, of: &'static str, note: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Alias(of, note) }
}

const fn ignored(name: &'static str, why: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Ignored(why) }
}

const fn only(name: &'static str, value: &'static str, otherwise: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Only(value, otherwise) }
}

const fn refused(name: &'static str, advice: &'static str) -> ForeignOption {
    ForeignOption { name, fate: Fate::Refused(advice) }
}

const STORED: &str = "every change is stored before it is acknowledged, not from time to time";
const PLUGIN: &str = "Sol loads no plugins: `password_file` and `acl_file` do what mosquitto's own plugins of that name do; leave \
                      it out";
const ENGINE: &str = "private keys are read from files: give `keyfile`, and leave it out";
const PSK: &str = "TLS with pre-shared keys is not spoken: give `certfile` and `keyfile`, and clients certificates or passwords";
const CIPHERS: &str = "the few cipher suites that are spoken are all of today's, and cannot be chosen";
const BRIDGE_PSK: &str = "TLS with pre-shared keys is not spoken: give `bridge_cafile`";

/// All of them, in the order of mosquitto's own reference, 2.1's behind 2.0's.
pub const MOSQUITTO: &[ForeignOption] = &[
    nearly("acl_file", "A SUBSCRIBE that could bring nothing is refused; what else differs stands above."),
    nearly(
        "allow_anonymous",
        "The plain form, which mosquitto lacks, lets anyone in by default: it is for this machine alone.",
    ),
    ignored(
        "allow_duplicate_messages",
        "the standard leaves it to the server, and clients must expect either",
    ),
    same("allow_zero_length_clientid"),
    refused("auth_opt_*", PLUGIN),
    refused("auth_plugin", PLUGIN),
    refused("auth_plugin_deny_special_chars", PLUGIN),
    nearly("auto_id_prefix", "The default is another."),
    ignored("autosave_interval", STORED),
    ignored("autosave_on_changes", STORED),
    ignored(
        "check_retain_source",
        "whether the subscriber may read a retained message is checked when it gets it",
    ),
    nearly("clientid_prefixes", "May be given several times."),
    nearly("connection_messages", "Without it they are told of with `log_format mosquitto` alone."),
    nearly("include_dir", "A path that is not absolute begins at the file that it stands in."),
    nearly(
        "log_dest",
        "`syslog` is refused: systemd takes standard error into its journal, so give `stderr`. `topic` and `dlt` are refused.",
    ),
    ignored("log_facility", "it is for syslog alone, which the log does not go to"),
    same("log_timestamp"),
    nearly(
        "log_timestamp_format",
        "Without it the time is written as RFC 3339 has it, unless there is `log_format mosquitto`.",
    ),
    nearly(
        "log_type",
        "What is more important than what is asked for is logged too. `subscribe`, `unsubscribe`, `websockets` and `internal` \
         are not told apart: they are `debug`.",
    ),
    nearly("max_inflight_bytes", "At most `max_outbox_bytes` in any case."),
    nearly("max_inflight_messages", "The default is 100, not 20."),
    same("max_keepalive"),
    nearly_alias(
        "max_packet_size",
        "max_request_size",
        "The default is 512KB, not any; mosquitto 2.1 has 2 MB.",
    ),
    nearly("max_queued_bytes", "The default is 64MB, not any."),
    nearly("max_queued_messages", "The default is 100000, not 1000."),
    nearly_alias("memory_limit", "max_memory", "The default is 2GB, not any."),
    only(
        "message_size_limit",
        "0",
        "give `max_packet_size`, which bounds the whole packet and is told to clients of 5.0",
    ),
    nearly("password_file", "More kinds of hashes are understood; a password that is not hashed is refused."),
    same("per_listener_settings"),
    same("persistence"),
    ignored(
        "persistence_file",
        "the store has files of its own in `persistence_location`; what mosquitto stored is not read",
    ),
    nearly("persistence_location", "Without it /var/lib/sol, not the current directory."),
    nearly("persistent_client_expiration", "`m` is refused: it is a month to mosquitto and a minute here."),
    nearly("pid_file", "It is a lock as well."),
    refused("psk_file", PSK),
    only(
        "queue_qos0_messages",
        "false",
        "QoS 0 does not wait for a client that is away: publish at QoS 1, or leave it out",
    ),
    nearly(
        "retain_available",
        "Where it is `false`, a client of 3.1.1 that publishes with RETAIN goes on, and its message is not retained.",
    ),
    ignored("set_tcp_nodelay", "nothing is held back that could be sent, as if it were `true`"),
    alias("sys_interval", "stats_publish_interval"),
    only(
        "upgrade_outgoing_qos",
        "false",
        "the standard has the lower QoS of publisher and subscriber [MQTT-3.8.4-8]: publish at the higher, and leave it out",
    ),
    nearly("user", "Without it nobody else; mosquitto becomes the user `mosquitto`."),
    nearly("bind_address", "An IP address or `localhost`; other names are not looked up."),
    refused("bind_interface", "give the interface's address in the `listener` line"),
    refused("http_dir", "Sol serves no files: let a web server do that, and leave it out"),
    nearly("listener", "An IP address or `localhost`; other names are not looked up."),
    nearly("max_connections", "The default is 100000, not any."),
    nearly("max_qos", "One for all listeners."),
    nearly("max_topic_alias", "One for all listeners."),
    refused(
        "mount_point",
        "Sol has one tree of topics for all listeners: have clients use the whole topics, or bridge two brokers",
    ),
    same("port"),
    nearly("protocol", "`http_api` is `http_listener` here."),
    same("socket_domain"),
    same("use_username_as_clientid"),
    ignored("websockets_log_level", "it is for a library that Sol does not use"),
    ignored("websockets_headers_size", "a request may have 8 KiB in any case"),
    same("cafile"),
    refused("capath", "put the authorities into one file (`cat *.pem`) and give it as `cafile`"),
    same("certfile"),
    ignored("ciphers", CIPHERS),
    ignored("ciphers_tls1.3", CIPHERS),
    refused(
        "crlfile",
        "revoked certificates are not known: let the authority in `cafile` sign short-lived ones",
    ),
    ignored("dhparamfile", "keys are agreed on by elliptic curves, which need no such file"),
    same("keyfile"),
    same("require_certificate"),
    refused("tls_engine", ENGINE),
    refused("tls_engine_kpass_sha1", ENGINE),
    only("tls_keyform", "pem", ENGINE),
    nearly("tls_version", "tlsv1.1 is refused, as no safe implementation of it exists here."),
    same("use_identity_as_username"),
    same("use_subject_as_username"),
    refused("psk_hint", PSK),
    same("connection"),
    same("address"),
    alias("addresses", "address"),
    same("bridge_attempt_unsubscribe"),
    same("bridge_bind_address"),
    same("bridge_max_packet_size"),
    same("bridge_outgoing_retain"),
    same("bridge_protocol_version"),
    same("cleansession"),
    same("local_cleansession"),
    same("keepalive_interval"),
    same("idle_timeout"),
    same("local_clientid"),
    same("local_password"),
    same("local_username"),
    same("notifications"),
    same("notifications_local_only"),
    same("notification_topic"),
    same("remote_clientid"),
    same("remote_password"),
    same("remote_username"),
    alias("clientid", "remote_clientid"),
    alias("password", "remote_password"),
    alias("username", "remote_username"),
    same("restart_timeout"),
    same("round_robin"),
    same("start_type"),
    same("threshold"),
    same("topic"),
    same("try_private"),
    same("bridge_alpn"),
    same("bridge_cafile"),
    refused(
        "bridge_capath",
        "put the authorities into one file (`cat *.pem`) and give it as `bridge_cafile`",
    ),
    same("bridge_certfile"),
    refused("bridge_identity", BRIDGE_PSK),
    same("bridge_insecure"),
    same("bridge_keyfile"),
    refused("bridge_psk", BRIDGE_PSK),
    only("bridge_require_ocsp", "false", "OCSP is not asked: leave it out"),
    same("bridge_tls_version"),
    // 2.1, and what it still takes of older ones
    refused(
        "accept_protocol_versions",
        "all versions are spoken on every listener: leave it out, and let clients decide",
    ),
    ignored("bridge_ciphers", CIPHERS),
    ignored("bridge_ciphers_tls1.3", CIPHERS),
    ignored("bridge_max_topic_alias", "topics go over a bridge as they are"),
    ignored("bridge_receive_maximum", "what comes is handed on at once, so there is nothing to hold back"),
    ignored("bridge_reload_type", "what has changed of a bridge takes a restart, and the log says so"),
    refused("bridge_session_expiry_interval", "say by `cleansession` whether the session there is kept"),
    ignored("bridge_tcp_keepalive", "`keepalive_interval` notices that the other broker is gone"),
    ignored("bridge_tcp_user_timeout", "`keepalive_interval` notices that the other broker is gone"),
    only(
        "bridge_tls_use_os_certs",
        "false",
        "give the system's file as `bridge_cafile`, such as /etc/ssl/certs/ca-certificates.crt",
    ),
    only(
        "disable_client_cert_date_checks",
        "false",
        "a certificate that is out of date is refused: renew it",
    ),
    only("enable_control_api", "false", "there are no `$CONTROL` topics: leave it out"),
    refused(
        "enable_proxy_protocol",
        "give `proxy_protocol true` and the networks of the proxies as `proxy_trusted`",
    ),
    nearly_alias("global_max_clients", "max_sessions", "The default is 1000000, not any."),
    alias("global_max_connections", "max_connections"),
    refused("global_plugin", PLUGIN),
    same("listener_allow_anonymous"),
    same("listener_auto_id_prefix"),
    ignored("max_topic_alias_broker", "a client gets as many topic aliases as it asks for, up to 64"),
    alias("maximum_qos", "max_qos"),
    ignored("packet_buffer_size", "buffers grow with what comes, up to `max_packet_size`"),
    refused("plugin", PLUGIN),
    refused("plugin_load", PLUGIN),
    refused("plugin_opt_*", PLUGIN),
    refused("plugin_use", PLUGIN),
    only(
        "proxy_protocol_v2_require_tls",
        "false",
        "what a proxy says of TLS is not looked at: let the proxy refuse the rest",
    ),
    refused("retain_expiry_interval", "let publishers set a message expiry interval, and leave it out"),
    alias("retained_persistence", "persistence"),
    ignored(
        "retry_interval",
        "mosquitto does not know it any more: messages are sent again when a client returns",
    ),
    ignored("store_clean_interval", "mosquitto does not know it any more: nothing is left to be cleaned"),
    nearly("websockets_origin", "A scheme belongs to it."),
];

#[test]
fn a_row_and_the_table_of_keys_agree() {
    for (number, ForeignOption { name, fate }) in MOSQUITTO.iter().enumerate() {
        assert!(MOSQUITTO[..number].iter().all(|other| other.name != *name), "{name} twice");
        let is_key = keys::KEYS.iter().any(|key| key.name == *name);
        match fate {
            Fate::Same(_) => assert!(is_key, "{name} is no key"),
            Fate::Alias(of, _) => assert!(!is_key && keys::key(of).is_some(), "{name}"),
            _ => assert!(!is_key, "{name} is a key as well"),
        }
    }
}
