use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use log::LevelFilter;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::codec::QoS;

fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
    Settings::parse(text, Some(Path::new("sol.conf")), Overrides::default())
}

fn parsed(text: &str) -> Settings {
    parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Everything that is wrong, a line each.
fn problems(text: &str) -> String {
    let problems = parse(text).err().unwrap_or_default();
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn tcp(text: &str) -> Endpoint {
    Endpoint::Tcp(text.parse().unwrap())
}

fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    settings.broker.listeners.iter().map(|listener| listener.endpoint.clone()).collect()
}

/// The sample of the original's README.
const ORIGINAL: &str = "\
# Sol configuration file, uncomment and edit desired configuration

# Network configuration

# Uncomment ip_address and ip_port to set socket family to TCP, if unix_socket
# is set, UNIX family socket will be used

ip_address 127.0.0.1
ip_port 8883

# unix_socket /tmp/sol.sock

# Logging configuration

# Could be either DEBUG, INFO/INFORMATION, WARNING, ERROR
log_level DEBUG

log_path /tmp/sol.log

# Max memory to be used, after which the system starts to reclaim memory by
# freeing older items stored
max_memory 2GB

# Max memory that will be allocated for each request
max_request_size 2MB

# TCP backlog, size of the complete connection queue
tcp_backlog 128

# Interval of time between one stats publish on $SOL topics and the subsequent
stats_publish_interval 10s
";

#[test]
fn the_sample_of_the_original_is_understood() {
    let settings = parsed(ORIGINAL);
    assert_eq!(endpoints(&settings), [tcp("127.0.0.1:8883")]);
    assert_eq!(settings.broker.listeners[0].backlog, 128);
    assert_eq!(settings.broker.stats_interval, Some(Duration::from_secs(10)));
    assert_eq!(settings.broker.limits.max_memory_bytes, 2 << 30);
    assert_eq!(settings.broker.limits.max_packet_bytes, 2 << 20);
    assert_eq!(settings.process.log_level, LevelFilter::Debug);
    assert_eq!(settings.process.log_path.as_deref(), Some(Path::new("/tmp/sol.log")));
}

#[test]
fn nothing_said_is_the_default() {
    for text in ["", "# nothing\n\n", "\u{feff}\r\n"] {
        assert_eq!(parsed(text), Settings::default());
    }
}

#[test]
fn the_broker_s_keys_are_set() {
    let settings = parsed(
        "log_level information\nstats_publish_interval 0\nkeepalive 0s\nthreads 3\npid_file sol.pid\n\
         user sol\ngroup mqtt\nmax_memory 64mb\nmax_request_size 1MB\n",
    );
    let Config { threads, stats_interval, limits, .. } = &settings.broker;
    assert_eq!((threads.get(), *stats_interval, limits.tcp_keep_alive), (3, None, None));
    assert_eq!((limits.max_memory_bytes, limits.max_packet_bytes), (64 << 20, 1 << 20));
    let expected = Process {
        log_level: LevelFilter::Info,
        log_lines: LogLines::default(),
        log_path: None,
        console: None,
        pid_file: Some("sol.pid".into()),
        user: Some("sol".to_owned()),
        group: Some("mqtt".to_owned()),
    };
    assert_eq!(settings.process, expected);
}

#[test]
fn what_survives_is_set() {
    assert_eq!(parsed("persistence true").broker.persistence, Some(Persistence::default()));
    let text = "max_stored_messages 7\npersistence_sync interval 5\npersistence_location /d\npersistence true\n\
                max_persistence_backlog_bytes 1MB\nmax_stored_bytes 2KB\n";
    let settings = parsed(text);
    let expected = Persistence {
        directory: "/d".into(),
        sync: SyncPolicy::Interval(Duration::from_secs(5)),
        max_backlog_bytes: 1 << 20,
    };
    assert_eq!(settings.broker.persistence, Some(expected));
    let Limits { max_stored_messages, max_stored_bytes, .. } = settings.broker.limits;
    assert_eq!((max_stored_messages, max_stored_bytes), (7, 2048));
    assert_eq!(parsed(&settings.to_string()), settings);
    let text = text.replace("persistence true", "persistence false");
    assert_eq!(parsed(&text).broker.persistence, None);
}

#[test]
fn a_listener_has_limits_of_its_own() {
    let settings = parsed(
        "allow_anonymous true\nmax_connections 500\nmax_publish_messages_per_second 100\nmax_publish_bytes_per_second 1MB\nip_port 1\n\
         listener 2\nmax_connections 20\nmax_publish_bytes_per_second 0\nlistener 3\n",
    );
    let rate = |messages, bytes| PublishRate {
        messages_per_second: NonZeroU32::new(messages),
        bytes_per_second: NonZeroU64::new(bytes),
    };
    let limits =
        |listener: &Listener| (listener.max_connections.map(NonZeroUsize::get), listener.publish_rate);
    let of_all: Vec<_> = settings.broker.listeners.iter().map(limits).collect();
    assert_eq!(of_all, [(None, rate(100, 1 << 20)), (Some(20), rate(100, 0)), (None, rate(100, 1 << 20))]);
    assert_eq!(settings.broker.limits.max_connections, 500);
    assert_eq!(parsed(&settings.to_string()), settings);
}

#[test]
fn who_is_believed_of_a_proxy_is_set() {
    let text = "allow_anonymous true\nlistener 1\nproxy_protocol true\nproxy_trusted 10.0.0.0/8\n\
                proxy_trusted ::1\nlistener 0 /s\nproxy_protocol true\n";
    let settings = parsed(text);
    let proxy = settings.broker.listeners[0].proxy.clone().unwrap();
    for (address, is_trusted) in [("10.1.2.3", true), ("::1", true), ("11.0.0.1", false), ("::2", false)] {
        assert_eq!(proxy.trusts(address.parse().unwrap()), is_trusted, "{address}");
    }
    assert_eq!(settings.broker.listeners[1].proxy, Some(Proxy::default()));
    assert_eq!(parsed(&settings.to_string()), settings);
    let text = "allow_anonymous true\nip_port 1\nproxy_protocol true\nlistener 2\nproxy_trusted ::1\nlistener 3\nproxy_trusted 10.0.0.0/33\n";
    assert_eq!(
        problems(text),
        "sol.conf:3: `proxy_protocol true` without `proxy_trusted`: give the addresses of your proxies\n\
         sol.conf:5: `proxy_trusted` in a wrong place: it needs `proxy_protocol true` beside it: give that, or leave it out\n\
         sol.conf:7: `proxy_trusted` cannot be `10.0.0.0/33`: give an IP address or a network such as 10.0.0.0/8\n\
         sol.conf:7: `proxy_trusted` in a wrong place: it needs `proxy_protocol true` beside it: give that, or leave it out\n"
    );
}

#[test]
fn what_clients_of_5_0_are_told_is_set() {
    let settings = parsed(
        "persistent_client_expiration 14d\nmax_session_expiry 1h\nmax_keepalive 90\nmax_qos 1\nretain_available false\n\
         max_topic_alias 7\nreceive_maximum 20\nwildcard_subscription_available false\n\
         shared_subscription_available false\nsubscription_identifiers_available false\n\
         response_information re/\nserver_moved true\nserver_reference \"a b:1\"\n",
    );
    let limits = Limits {
        persistent_client_expiration: Some(Duration::from_secs(14 * 86_400)),
        max_session_expiry: Some(Duration::from_secs(3600)),
        max_keep_alive: NonZeroU16::new(90),
        max_qos: QoS::AtLeastOnce,
        retain_available: false,
        max_topic_alias: 7,
        max_received_messages: 20,
        wildcard_available: false,
        shared_available: false,
        subscription_ids_available: false,
        ..Limits::default()
    };
    assert_eq!(settings.broker.limits, limits);
    assert_eq!(settings.broker.response_information.as_deref(), Some("re/"));
    let redirect = Redirect { reference: "a b:1".to_owned(), is_permanent: true };
    assert_eq!(settings.broker.redirect, Some(redirect));
    assert_eq!(parsed(&settings.to_string()), settings);
}

#[test]
fn the_plain_form_listens_where_it_says() {
    let unix = Endpoint::Unix { path: "/s".into(), mode: Some(0o660) };
    for (text, expected) in [
        ("ip_port 1", vec![tcp("127.0.0.1:1")]),
        ("ip_address ::", vec![tcp("[::]:1883")]),
        ("unix_socket /s\nunix_socket_mode 660", vec![unix.clone()]),
        ("unix_socket /s\nunix_socket_mode 0660\nip_port 1", vec![tcp("127.0.0.1:1"), unix]),
        ("listener 1 ::1\nallow_anonymous 1", vec![tcp("[::1]:1")]),
        ("ip_port 2\nlistener 1 localhost\npassword_file p", vec![tcp("127.0.0.1:2"), tcp("127.0.0.1:1")]),
        ("port 2\nallow_anonymous true", vec![Endpoint::Any(2)]),
        ("bind_address localhost\nallow_anonymous true", vec![tcp("127.0.0.1:1883")]),
        ("port 2\nbind_address ::1\npassword_file p", vec![tcp("[::1]:2")]),
        ("port 2\nsocket_domain ipv4\npassword_file p", vec![tcp("0.0.0.0:2")]),
        (
            "password_file p\nlistener 2\nsocket_domain ipv6\nlistener 3",
            vec![tcp("[::]:2"), Endpoint::Any(3)],
        ),
        ("allow_anonymous true\nlistener 0 /a", vec![Endpoint::Unix { path: "/a".into(), mode: None }]),
        (
            "allow_anonymous true\nlistener 0 \"/a b\"",
            vec![Endpoint::Unix { path: "/a b".into(), mode: None }],
        ),
        (
            "ip_port 0\nlistener 0\nlistener 0 0.0.0.0\nallow_anonymous true",
            vec![tcp("127.0.0.1:0"), Endpoint::Any(0), tcp("0.0.0.0:0")],
        ),
    ] {
        assert_eq!(endpoints(&parsed(text)), expected, "{text}");
    }
}

#[test]
fn the_command_line_wins_over_the_plain_form() {
    let overrides = Overrides { address: Some([0, 0, 0, 0].into()), port: Some(7) };
    for (text, expected) in [
        ("ip_address 127.0.0.2\nip_port 1\n", vec![tcp("0.0.0.0:7")]),
        ("listener 1\nallow_anonymous true", vec![tcp("0.0.0.0:7"), Endpoint::Any(1)]),
        ("port 1\nallow_anonymous true", vec![tcp("0.0.0.0:7")]),
        ("", vec![tcp("0.0.0.0:7")]),
    ] {
        assert_eq!(endpoints(&Settings::parse(text, None, overrides).unwrap()), expected, "{text}");
    }
}

#[test]
fn keys_under_a_listener_are_for_it_alone() {
    let settings = parsed(
        "per_listener_settings true\ntcp_backlog 5\n\
         listener 1\nallow_anonymous true\npassword_file p\n\
         listener 2\ncertfile c\nkeyfile k\ntls_protocols tlsv1_3\npassword_file q\nlog_level ERROR\n",
    );
    let [open, guarded] = settings.broker.listeners.as_slice() else { panic!("{settings:?}") };
    assert_eq!((open.allow_anonymous, open.password_file.as_deref()), (true, Some(Path::new("p"))));
    assert_eq!((guarded.allow_anonymous, guarded.password_file.as_deref()), (false, Some(Path::new("q"))));
    assert_eq!((open.backlog, guarded.backlog), (5, 5));
    assert_eq!(open.tls, None);
    assert_eq!(guarded.tls.as_ref().unwrap().versions, TlsVersions::V1_3);
    assert_eq!(settings.process.log_level, LevelFilter::Error);
}

#[test]
fn a_listener_speaks_websocket() {
    let settings = parsed(
        "protocol websockets\nip_port 1\nunix_socket /s\n\
         listener 2\nallow_anonymous true\nprotocol websockets\nwebsockets_path /mqtt\nwebsockets_origin https://a\nwebsockets_origin http://b:8\n\
         listener 3\nprotocol mqtt\n",
    );
    let found: Vec<_> = settings.broker.listeners.iter().map(|it| it.websocket.clone()).collect();
    let narrow = WebSocket {
        path: Some("/mqtt".to_owned()),
        origins: vec!["https://a".to_owned(), "http://b:8".to_owned()],
    };
    let wide = Some(WebSocket::default());
    assert_eq!(found, [wide.clone(), wide, Some(narrow), None]);
    assert_eq!(parsed(&settings.to_string()), settings);
}

#[test]
fn each_error_says_where_it_is_and_what_to_do() {
    for (text, expected) in [
        ("ip_prot 1", "1: unknown key `ip_prot`: the nearest known one is `ip_port`"),
        ("\nLog_Level INFO", "2: unknown key `Log_Level`: the nearest known one is `log_level`"),
        ("xyzzy 1", "1: unknown key `xyzzy`: none of the known ones is like it, sol.conf has them all"),
        ("ip_port # none", "1: `ip_port` without a value: give a port from 0 to 65535"),
        ("ip_port 65536", "1: `ip_port` cannot be `65536`: give a port from 0 to 65535"),
        (
            "ip_address localhost",
            "1: `ip_address` cannot be `localhost`: give an IP address such as 127.0.0.1 or ::1",
        ),
        ("log_level LOUD", "1: `log_level` cannot be `LOUD`: give DEBUG, INFO, WARNING or ERROR"),
        (
            "max_memory 2TB",
            "1: `max_memory` cannot be `2TB`: give a size from 8MB to 1048576GB, in B, KB, MB or GB",
        ),
        (
            "max_memory 1KB",
            "1: `max_memory` cannot be `1KB`: give a size from 8MB to 1048576GB, in B, KB, MB or GB",
        ),
        (
            "max_request_size 1GB",
            "1: `max_request_size` cannot be `1GB`: give a size from 20B to 256MB, in B, KB, MB or GB",
        ),
        ("max_memory 8MB\nmax_request_size 8MB", "2: `max_request_size` must be less than `max_memory`"),
        (
            "stats_publish_interval 5w",
            "1: `stats_publish_interval` cannot be `5w`: give a time from 0 to 366d, in s, m, h or d",
        ),
        ("receive_maximum 0", "1: `receive_maximum` cannot be `0`: give a number from 1 to 65535"),
        ("server_moved true", "1: `server_moved true` without `server_reference`: say where to"),
        ("keepalive 1d", "1: `keepalive` cannot be `1d`: give a time from 0 to 32767s, in s, m, h or d"),
        ("tcp_backlog 0", "1: `tcp_backlog` cannot be `0`: give a number from 1 to 65535"),
        (
            "persistence true\npersistence_sync interval",
            "2: `persistence_sync` cannot be `interval`: give always, os, or interval and a time from 1s to 1h",
        ),
        (
            "persistence_location /d",
            "1: `persistence_location` without `persistence`: say `persistence true`, or false",
        ),
        ("threads 0", "1: `threads` cannot be `0`: give a number from 1 to 1024"),
        ("threads two", "1: `threads` cannot be `two`: give a number from 1 to 1024"),
        ("allow_anonymous yes", "1: `allow_anonymous` cannot be `yes`: give true or false"),
        ("require_certificate 2", "1: `require_certificate` cannot be `2`: give true or false"),
        (
            "unix_socket /s\nunix_socket_mode rw",
            "2: `unix_socket_mode` cannot be `rw`: give octal permissions such as 0660",
        ),
        ("log_path \"\"", "1: `log_path` cannot be ``: give the path of a file"),
        (
            "log_path /a b",
            "1: `b` behind the value of `log_path`: give one value, in double quotes if it has spaces",
        ),
        ("log_path \"/a", "1:10: a quote without its end: close it on the same line"),
        (
            "tls_protocols tlsv1_1,tlsv1_2",
            "1: `tls_protocols` cannot be `tlsv1_1,tlsv1_2`: no safe implementation of tlsv1_1 exists here, \
             give tlsv1_2, tlsv1_3 or both with a comma between",
        ),
        (
            "tls_protocols ,",
            "1: `tls_protocols` cannot be `,`: give tlsv1_2, tlsv1_3 or both with a comma between",
        ),
        ("ip_port 1\n\nip_port 1", "3: `ip_port` is given twice, on line 1 already: keep one of them"),
        (
            "log_level INFO\nlistener 1\nlog_level INFO\npassword_file p",
            "3: `log_level` is given twice, on line 1 already: keep one of them",
        ),
        (
            "listener 1\nip_port 1\npassword_file p",
            "2: `ip_port` under a `listener` line: put it above the first one, or say it in the `listener` line",
        ),
        (
            "listener 1883 example.org",
            "1: `listener` cannot be `1883 example.org`: give a port and maybe an IP address, \
             or 0 and the path of a UNIX socket",
        ),
        (
            "listener",
            "1: `listener` without a value: give a port and maybe an IP address, or 0 and the path of a UNIX socket",
        ),
        (
            "cafile c\ncertfile c\nkeyfile k\nlistener 1\nallow_anonymous true",
            "1: `cafile` in a wrong place: no TCP listener stands here: put it under the `listener` line it is for\n\
             sol.conf:2: `certfile` in a wrong place: no TCP listener stands here: put it under the `listener` line it is for\n\
             sol.conf:3: `keyfile` in a wrong place: no TCP listener stands here: put it under the `listener` line it is for",
        ),
        (
            "listener 0 /s\nkeyfile k\nallow_anonymous true",
            "2: `keyfile` in a wrong place: TLS is not spoken on a UNIX socket: leave it out",
        ),
        (
            "unix_socket_mode 0660",
            "1: `unix_socket_mode` in a wrong place: there is no `unix_socket` here: leave it out",
        ),
        (
            "listener 1\nunix_socket_mode 0660\nallow_anonymous true",
            "2: `unix_socket_mode` in a wrong place: this listener is a TCP port: leave it out",
        ),
        ("certfile c", "1: `certfile` without `keyfile`: give its private key too"),
        ("keyfile k", "1: `keyfile` without `certfile`: give its certificate too"),
        ("cafile c", "1: `cafile` alone: TLS needs the server's `certfile` and `keyfile` too"),
        (
            "require_certificate true",
            "1: `require_certificate true` without TLS: give `certfile`, `keyfile` and `cafile` too",
        ),
        (
            "certfile c\nkeyfile k\nrequire_certificate true",
            "3: `require_certificate true` without `cafile`: give the authorities that sign them",
        ),
        (
            "allow_anonymous false\nlistener 1\nlistener 2",
            "1: `allow_anonymous false` without `password_file`: nobody could log in, give the file",
        ),
        ("protocol http_api", "1: `protocol` cannot be `http_api`: give mqtt or websockets"),
        (
            "protocol websockets\nlistener 1\npassword_file p",
            "1: `protocol` in a wrong place: no listener stands here: put it under the `listener` line it is for",
        ),
        (
            "listener 2\nlistener 1\nmax_qos 1\npassword_file p",
            "3: `max_qos` under one of several `listener` lines: it is for all of them, so put it above the first one",
        ),
        (
            "protocol mqtt\nlistener 1\nwebsockets_path /a\npassword_file p",
            "3: `websockets_path` in a wrong place: it needs `protocol websockets` beside it: give that, or leave it out",
        ),
        (
            "protocol mqtt\nwebsockets_origin http://a\nwebsockets_origin http://b",
            "2: `websockets_origin` in a wrong place: it needs `protocol websockets` beside it: give that, or leave it out",
        ),
        (
            "protocol websockets\nwebsockets_path mqtt",
            "2: `websockets_path` cannot be `mqtt`: give the path of a URL such as /mqtt",
        ),
        (
            "protocol websockets\nwebsockets_origin https://a/b",
            "2: `websockets_origin` cannot be `https://a/b`: give an origin such as https://example.org",
        ),
        ("group g", "1: `group` without `user`: say whom to become"),
        (
            "listener 1\nlistener 1 0.0.0.0\npassword_file p",
            "2: 0.0.0.0:1 cannot be listened on beside *:1 of line 1: give each listener its own address",
        ),
        (
            "listener 1 127.0.0.1\nlistener 1 0.0.0.0\npassword_file p",
            "2: 0.0.0.0:1 cannot be listened on beside 127.0.0.1:1 of line 1: give each listener its own address",
        ),
        (
            "listener 1",
            "1: nobody could log in at this `listener`: give a `password_file`, or say `allow_anonymous true`",
        ),
        (
            "port 1",
            "1: nobody could log in at this `port`: give a `password_file`, or say `allow_anonymous true`",
        ),
        (
            "port 1\nip_port 1",
            "1: `port` and `bind_address` beside `ip_port` or `ip_address`: keep one pair of them",
        ),
        (
            "allow_anonymous true\nlistener 1\nallow_anonymous false",
            "3: `allow_anonymous` is given twice, on line 1 already: keep one of them, or say \
             `per_listener_settings true` for each listener to have its own",
        ),
        (
            "per_listener_settings true\nallow_anonymous true\nlistener 1\npassword_file p",
            "2: `allow_anonymous` in a wrong place: with `per_listener_settings true` it is for the listener that it \
             stands under: put it there",
        ),
        (
            "listener 1\nlistener_allow_anonymous false",
            "2: `listener_allow_anonymous false` without `password_file`: nobody could log in, give the file",
        ),
        (
            "ip_port 1\nsocket_domain ipv4",
            "2: `socket_domain` in a wrong place: only a listener without an address has a choice: leave it out",
        ),
        (
            "persistent_client_expiration 2m",
            "1: `persistent_client_expiration` cannot be `2m`: that is a month to mosquitto and a minute elsewhere, so \
             write days such as 60d, or seconds",
        ),
        ("log_type none", "1: `log_type` cannot be `none`: give `log_dest none`"),
        (
            "log_dest syslog",
            "1: `log_dest` cannot be `syslog`: systemd takes standard error into its journal, so give `log_dest stderr`",
        ),
        (
            "log_dest topic",
            "1: `log_dest` cannot be `topic`: the log is not written to it, give stderr, stdout, none, or file and its path",
        ),
        (
            "log_level INFO\nlog_type all",
            "2: `log_type` beside `log_level`, which says the same: keep one of them",
        ),
        (
            "tls_version tlsv1.1",
            "1: `tls_version` cannot be `tlsv1.1`: no safe implementation of it exists here, give tlsv1.2 or tlsv1.3",
        ),
        (
            "mount_point a/",
            "1: `mount_point` of mosquitto is not something that Sol does: Sol has one tree of topics for all listeners: \
             have clients use the whole topics, or bridge two brokers",
        ),
        (
            "queue_qos0_messages true",
            "1: `queue_qos0_messages` of mosquitto is not something that Sol does: QoS 0 does not wait for a client that \
             is away: publish at QoS 1, or leave it out",
        ),
        ("sys_interval 5w", "1: `sys_interval` cannot be `5w`: give a time from 0 to 366d, in s, m, h or d"),
        (
            "unix_socket /s\nlistener 0 /s\nallow_anonymous true",
            "2: /s cannot be listened on beside /s of line 1: give each listener its own address",
        ),
    ] {
        assert_eq!(problems(text), format!("sol.conf:{expected}\n"), "{text}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let text =
        "ip_port x\nip_port 1\nkeyfile\ncertfile c\nwhat 1\nlistener x\ntcp_backlog 0\nip_address ::\n";
    let lines: Vec<_> = parse(text).unwrap_err().iter().map(|problem| problem.line.unwrap()).collect();
    assert_eq!(lines, [1, 2, 3, 5, 6, 7, 8]);
}

#[test]
fn a_problem_with_a_value_is_told_where_the_value_stands() {
    let settings = parsed("password_file p\nlistener 1\ncertfile c\nkeyfile k\npid_file i\n");
    for (listener, key, place) in [
        (Some(0), "certfile", "sol.conf:3:"),
        (Some(0), "password_file", "sol.conf:1:"),
        (Some(0), "listener", "sol.conf:2:"),
        (None, "pid_file", "sol.conf:5:"),
        (None, "log_path", "sol:"),
    ] {
        assert_eq!(settings.problem(listener, key, "x".to_owned()).to_string(), format!("{place} x"));
    }
}

#[test]
fn user_names_from_certificates_need_certificates() {
    let tls =
        "listener 1\ncertfile c\nkeyfile k\ncafile a\nrequire_certificate true\nallow_anonymous false\n";
    for (lines, name) in [
        ("use_identity_as_username true", Some(CertificateName::CommonName)),
        ("use_subject_as_username true", Some(CertificateName::Subject)),
        ("use_identity_as_username true\nuse_subject_as_username true", Some(CertificateName::Subject)),
        ("use_identity_as_username false\npassword_file p", None),
    ] {
        assert_eq!(
            parsed(&format!("{tls}{lines}")).broker.listeners[0].user_from_certificate,
            name,
            "{lines}"
        );
    }
    let problems = parse("ip_port 1\nuse_identity_as_username true\n").unwrap_err();
    let problem = problems[0].to_string();
    assert!(
        problem.contains(":2: `use_identity_as_username true` without `require_certificate true`"),
        "{problem}"
    );
}

#[test]
fn who_may_come_and_do_what_is_for_all_listeners_or_for_each() {
    let text = "per_listener_settings true\nlistener 1\nallow_anonymous true\nacl_file a\nclientid_prefixes x-\nclientid_prefixes y-\nlistener 2\nallow_anonymous true\nacl_file b\nclientid_prefixes \"z z\"\n";
    let listeners = parsed(text).broker.listeners;
    assert_eq!(listeners[0].client_id_prefixes, ["x-", "y-"]);
    assert_eq!(listeners[1].client_id_prefixes, ["z z"]);
    assert_eq!(
        [&listeners[0], &listeners[1]].map(|listener| listener.acl_file.clone().unwrap()),
        ["a", "b"].map(std::path::PathBuf::from)
    );
}

#[test]
fn what_changed_is_named() {
    let before = parsed("ip_port 1\nlog_level INFO");
    for (text, changed) in [
        ("ip_port 1", &[][..]),
        ("ip_port 1\nlog_level DEBUG\nthreads 77", &["log_level", "threads"]),
        ("ip_port 1\nuser sol", &["user"]),
        ("ip_port 1\ntcp_backlog 7", &["tcp_backlog"]),
        ("ip_port 2\ntcp_backlog 7", &["listener"]),
        ("allow_anonymous true\nlistener 1 127.0.0.1\nlistener 2 127.0.0.1\ntcp_backlog 7", &["listener"]),
        ("ip_port 1\nconnection b\naddress b.example\ntopic # out", &["connection"]),
    ] {
        assert!(before.changed(&parsed(text)).into_iter().eq(changed.iter().copied()), "{text}");
    }
}

#[test]
fn what_takes_a_restart_stays_and_is_named() {
    let bridge = "connection b\naddress b.example\ntopic # out\n";
    let running = parsed(&format!("ip_port 1\nthreads 1\n{bridge}"));
    let mut asked = parsed(&format!("ip_port 2\nthreads 2\n{}", bridge.replace("out", "both")));
    assert!(running.keep_fixed(&mut asked).into_iter().eq(["connection", "threads"]));
    assert_eq!(asked, parsed(&format!("ip_port 2\nthreads 1\n{bridge}")));
}

#[test]
fn relative_paths_are_anchored() {
    let mut settings = parsed(
        "log_path l\npid_file /p\nunix_socket s\nip_port 1\ncertfile c\nkeyfile k\ncafile a\npassword_file w\nacl_file x\n\
         persistence true\npersistence_location d",
    );
    settings.anchor(Path::new("/d"));
    let expected = parsed(
        "log_path /d/l\npid_file /p\nunix_socket /d/s\nip_port 1\ncertfile /d/c\nkeyfile /d/k\ncafile /d/a\npassword_file /d/w\nacl_file /d/x\n\
         persistence true\npersistence_location /d/d",
    );
    assert_eq!(settings, expected);
}

#[test]
fn the_options_of_mosquitto_are_understood() {
    let settings = parsed(
        "pid_file /p\nsys_interval 5\nmax_packet_size 100\nmemory_limit 100000000\nmax_queued_messages 0\n\
         max_queued_bytes 0\nmax_inflight_messages 0\nmax_inflight_bytes 9\nmax_connections -1\n\
         persistent_client_expiration 2w\nlog_type error\nlog_type information\nlog_dest stdout\nlog_dest file /l\n\
         global_max_clients 8\nautosave_interval 60\nset_tcp_nodelay true\n\
         allow_zero_length_clientid 0\nauto_id_prefix a-\nlistener 1\nlistener_allow_anonymous true\n\
         listener_auto_id_prefix b-\ntls_version tlsv1.3\ncertfile c\nkeyfile k\npassword_file p\nlistener 2\n",
    );
    let Config { limits, stats_interval, listeners, .. } = &settings.broker;
    assert_eq!(*stats_interval, Some(Duration::from_secs(5)));
    let expected = Limits {
        max_packet_bytes: 100,
        max_memory_bytes: 100_000_000,
        max_queued_messages: usize::MAX,
        max_queued_bytes: usize::MAX,
        max_stored_messages: 1_000_000_000,
        max_stored_bytes: 1 << 50,
        max_in_flight_messages: u16::MAX,
        max_in_flight_bytes: 9,
        max_connections: usize::MAX,
        max_sessions: 8,
        persistent_client_expiration: Some(Duration::from_secs(14 * 86_400)),
        ..Limits::default()
    };
    assert_eq!(*limits, expected);
    let found: Vec<_> = listeners
        .iter()
        .map(|it| {
            (it.allow_anonymous, it.identifiers.may_be_empty, &*it.identifiers.prefix, &it.password_file)
        })
        .collect();
    let file = Some("p".into());
    assert_eq!(found, [(true, false, "b-", &file), (false, false, "a-", &file)]);
    assert_eq!(listeners[0].tls.as_ref().unwrap().versions, TlsVersions::V1_3);
    let Process { log_level, console, log_path, .. } = &settings.process;
    assert_eq!(*log_level, LevelFilter::Info);
    assert_eq!(
        (*console, log_path.as_deref()),
        (Some(Console { stderr: false, stdout: true }), Some(Path::new("/l")))
    );
    assert_eq!(parsed(&settings.to_string()), settings);
    let warnings: Vec<_> = settings.warnings().iter().map(ToString::to_string).collect();
    let expected = [
        "sol.conf:16: `autosave_interval` is read over: every change is stored before it is acknowledged, not from time to time",
        "sol.conf:17: `set_tcp_nodelay` is read over: nothing is held back that could be sent, as if it were `true`",
    ];
    assert_eq!(warnings, expected);
    assert_eq!(parsed("log_dest stderr\nlog_dest none").process.console, Some(Console::default()));
}

#[test]
fn files_are_included_where_it_says_so_and_named_in_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
    std::fs::create_dir(place.path().join("conf.d")).unwrap();
    write("main.conf", "listener 1\ninclude_dir conf.d\ntcp_backlog 7\n");
    write("conf.d/b.conf", "allow_anonymous true\nlistener 3\n");
    write("conf.d/a.conf", "tcp_backlog 5\nlistener 2\n");
    write("conf.d/not.read", "x");
    let read = || Settings::read(&place.path().join("main.conf"), Overrides::default());
    let settings = read().unwrap();
    let found: Vec<_> =
        settings.broker.listeners.iter().map(|it| (it.endpoint.clone(), it.backlog)).collect();
    assert_eq!(found, [(Endpoint::Any(1), 7), (Endpoint::Any(2), 5), (Endpoint::Any(3), 5)]);

    write("conf.d/b.conf", "\nxyzzy 1\ninclude_dir .\nlistener 2\nallow_anonymous true");
    let told = |problems: Vec<Problem>| {
        let directory = format!("{}/", place.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect::<Vec<_>>()
    };
    let expected = [
        "conf.d/b.conf:2: unknown key `xyzzy`: none of the known ones is like it, sol.conf has them all",
        "conf.d/b.conf:3: `include_dir` in a file that is included: only the main file may include others",
        "conf.d/b.conf:4: *:2 cannot be listened on beside *:2 of line 2 of conf.d/a.conf: give each listener its own address",
    ];
    assert_eq!(told(read().unwrap_err()), expected);
    write("main.conf", "include_dir none\ninclude_dir .\n");
    let problems = told(read().unwrap_err());
    assert!(
        problems[0].starts_with("main.conf:1: `include_dir`: cannot read none: No such file"),
        "{problems:?}"
    );
    assert!(
        problems[1].starts_with("main.conf:2: `include_dir` names the directory of this file"),
        "{problems:?}"
    );
}

#[test]
fn a_file_of_mosquitto_is_imported() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mosquitto.conf");
    std::fs::write(
        &path,
        "listener 1883\nallow_anonymous true\nmount_point a/\nautosave_interval 5\nmax_packet_size 100\n",
    )
    .unwrap();
    let Import { text, left_out } = Import::read(&path).unwrap();
    let shown = path.display();
    assert_eq!(
        text,
        format!(
            "# From {shown}. What is not here is the default.\n\
             # left out: {shown}:3: `mount_point` of mosquitto is not something that Sol does: Sol has one tree of topics for all \
             listeners: have clients use the whole topics, or bridge two brokers\n\
             # not needed: {shown}:4: `autosave_interval` is read over: every change is stored before it is acknowledged, not from \
             time to time\n\
             per_listener_settings true\nmax_request_size 100B\nlistener 1883\ntcp_backlog 128\nallow_anonymous true\n\
             allow_zero_length_clientid true\nauto_id_prefix sol-\n"
        )
    );
    assert_eq!(left_out.len(), 1);
    let imported = parsed(&text);
    std::fs::write(&path, "listener 1883\nallow_anonymous true\nmax_packet_size 100\n").unwrap();
    assert_eq!(imported, Settings::read(&path, Overrides::default()).unwrap());
    std::fs::write(&path, "max_packet_size\n").unwrap();
    assert_eq!(Import::read(&path).unwrap_err().len(), 1);
}

fn path() -> impl Strategy<Value = std::path::PathBuf> {
    "/[^\0\n\r]{1,12}".prop_map(Into::into)
}

fn any_listener() -> impl Strategy<Value = Listener> {
    let versions =
        prop_oneof![Just(TlsVersions::V1_2), Just(TlsVersions::V1_3), Just(TlsVersions::V1_2AndV1_3),];
    let tls = (path(), path(), option::of(path()), any::<bool>(), versions).prop_map(
        |(certfile, keyfile, cafile, require, versions)| {
            let require_certificate = require && cafile.is_some();
            Tls { certfile, keyfile, cafile, require_certificate, versions }
        },
    );
    let unix = (path(), option::of(0..=0o777_u32)).prop_map(|(path, mode)| Endpoint::Unix { path, mode });
    let endpoint = prop_oneof![
        any::<SocketAddr>().prop_map(without_scope).prop_map(Endpoint::Tcp),
        any::<u16>().prop_map(Endpoint::Any),
        unix
    ];
    let origins = prop::collection::vec("[a-z]{1,5}://[!-.0-~]{1,9}", 0..3);
    let websocket =
        (option::of("/[!-~&&[^?#]]{0,8}"), origins).prop_map(|(path, origins)| WebSocket { path, origins });
    let carrier = (option::of(tls), option::of(websocket));
    let proxy = prop::collection::vec((any::<std::net::IpAddr>(), 0..=32_u8), 1..3).prop_map(|networks| {
        let network = |(address, length)| ipnet::IpNet::new(address, length).unwrap();
        Proxy { trusted: networks.into_iter().map(network).collect() }
    });
    let rate =
        (option::of(1..=1_000_000_u32), option::of(1..=1_000_000_u64)).prop_map(|(messages, bytes)| {
            PublishRate {
                messages_per_second: messages.and_then(NonZeroU32::new),
                bytes_per_second: bytes.and_then(NonZeroU64::new),
            }
        });
    let connections = option::of(1..=1000_usize).prop_map(|most| most.and_then(NonZeroUsize::new));
    let limits = (connections, rate, option::of(proxy));
    let name = prop_oneof![Just(CertificateName::CommonName), Just(CertificateName::Subject)];
    let clients = (
        any::<bool>(),
        (option::of(path()), option::of(path())),
        (option::of(name), any::<bool>()),
        (prop::collection::vec("[ -~é]{1,5}", 0..3), "[!-~ ]{1,50}"),
    );
    (endpoint, 1..=u16::MAX, limits, carrier, clients).prop_map(
        |(
            endpoint,
            backlog,
            (max_connections, publish_rate, proxy),
            (tls, websocket),
            (anonymous, (password_file, acl_file), (name, by_user), (prefixes, prefix)),
        )| {
            let tls = tls.filter(|_| !matches!(endpoint, Endpoint::Unix { .. }));
            let is_certain = tls.as_ref().is_some_and(|tls| tls.require_certificate);
            Listener {
                user_from_certificate: name.filter(|_| is_certain),
                tls,
                websocket,
                endpoint,
                backlog,
                max_connections,
                publish_rate,
                proxy,
                allow_anonymous: anonymous || password_file.is_none(),
                identifiers: Identifiers { may_be_empty: anonymous, prefix: prefix.as_str().into() },
                password_file,
                acl_file,
                user_as_client_id: by_user,
                client_id_prefixes: prefixes,
            }
        },
    )
}

fn without_scope(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn any_persistence() -> impl Strategy<Value = Persistence> {
    let interval = (1..=3600_u64).prop_map(|seconds| SyncPolicy::Interval(Duration::from_secs(seconds)));
    let sync = prop_oneof![Just(SyncPolicy::Always), interval, Just(SyncPolicy::Os)];
    let max_backlog_bytes = (1_usize << 20)..=(1 << 40);
    (path(), sync, max_backlog_bytes).prop_map(|(directory, sync, max_backlog_bytes)| Persistence {
        directory,
        sync,
        max_backlog_bytes,
    })
}

fn any_log_lines() -> impl Strategy<Value = LogLines> {
    let format = prop_oneof![Just(LogFormat::Text), Just(LogFormat::Json), Just(LogFormat::Mosquitto)];
    let time_format = option::of(prop_oneof![Just("%s"), Just("%Y-%m-%d %H:%M:%S"), Just("\"%H\"")]);
    (format, any::<bool>(), time_format, option::of(any::<bool>())).prop_map(
        |(format, has_time, time_format, connections)| LogLines {
            format,
            has_time,
            time_format: time_format.map(str::to_owned),
            connections,
        },
    )
}

prop_compose! {
    fn any_settings()(
        listener in any_listener(),
        threads in 1..=1024_usize,
        stats in option::of(1..=86_400_u64),
        keep_alive in option::of(1..=32_767_u64),
        packet in (1_usize << 10)..=(256 << 20),
        memory in (257_usize << 20)..=(1 << 40),
        log_level in prop_oneof![Just(LevelFilter::Debug), Just(LevelFilter::Warn), Just(LevelFilter::Error)],
        (log_path, pid_file) in (option::of(path()), option::of(path())),
        persistence in option::of(any_persistence()),
        (queued, in_flight, console) in (
            prop_oneof![Just(usize::MAX), 1..100_000_000_usize],
            prop_oneof![Just(usize::MAX), 1..=(1_usize << 50)],
            option::of((any::<bool>(), any::<bool>())),
        ),
        log_lines in any_log_lines(),
        names in option::of(("[^\0\n\r]{1,8}", option::of("[^\0\n\r]{1,8}"))),
    ) -> Settings {
        let (user, group) = names.unzip();
        let console = console.map(|(stderr, stdout)| Console { stderr, stdout });
        let mut settings = Settings {
            process: Process { log_level, log_lines, log_path, console, pid_file, user, group: group.flatten() },
            ..Settings::default()
        };
        settings.broker.listeners = vec![listener];
        settings.broker.threads = NonZeroUsize::new(threads).unwrap();
        settings.broker.stats_interval = stats.map(Duration::from_secs);
        settings.broker.limits.tcp_keep_alive = keep_alive.map(Duration::from_secs);
        settings.broker.limits.max_packet_bytes = packet;
        settings.broker.limits.max_queued_messages = queued;
        settings.broker.limits.max_queued_bytes = queued;
        settings.broker.limits.max_in_flight_bytes = in_flight;
        settings.broker.limits.max_memory_bytes = memory;
        settings.broker.persistence = persistence;
        settings
    }
}

/// Lines of known keys and any values, so that more than the first error is met.
fn likely_text() -> impl Strategy<Value = String> {
    let keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    let value = prop_oneof!["[0-9]{1,6}(KB|MB|s|h)?", "(true|false|DEBUG|::1|/a|tlsv1_3)", ".{0,8}"];
    let line = (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} {value}\n"));
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        _ = parse(&text);
    }

    #[test]
    fn likely_text_is_read_or_refused_with_a_place(text in likely_text()) {
        match parse(&text) {
            Ok(settings) => prop_assert_eq!(parsed(&settings.to_string()), settings),
            Err(problems) => prop_assert!(problems.iter().all(|problem| problem.line.is_some()), "{:?}", problems),
        }
    }

    #[test]
    fn what_is_written_is_read_back(settings in any_settings()) {
        prop_assert_eq!(parsed(&settings.to_string()), settings);
    }
}

/// What a file of mosquitto says of its bridges.
const BRIDGES: &str = r#"
connection office
address broker.example.org:8883 10.0.0.1
topic # out
topic sensors/# in 1
topic "" both 2 here/x there/y
topic control/+ both 2 "" berlin/
remote_username berlin
remote_password two words
keepalive_interval 300
restart_timeout 10
bridge_cafile ca.crt
bridge_tls_version tlsv1.2
bridge_attempt_unsubscribe false

listener 1884
allow_anonymous true
connection lazy
addresses 10.0.0.2
clientid two
username u
password p
start_type lazy
threshold 3
notifications false
topic a/b out 1 # as of 2024
try_private false
cleansession true
bridge_protocol_version mqttv50
restart_timeout 1 20
"#;

#[test]
fn bridges_of_mosquitto_are_understood() {
    let settings = parsed(BRIDGES);
    let [office, lazy] = &settings.broker.bridges[..] else { panic!("{settings:?}") };
    let mut expected = Bridge::new(
        "office",
        RemoteAddress { host: "broker.example.org".to_owned(), port: Some(8883) },
        vec![
            BridgeTopic::new("#", Direction::Out, QoS::AtMostOnce),
            BridgeTopic::new("sensors/#", Direction::In, QoS::AtLeastOnce),
            BridgeTopic {
                local_prefix: "here/x".to_owned(),
                remote_prefix: "there/y".to_owned(),
                ..BridgeTopic::new("", Direction::Both, QoS::ExactlyOnce)
            },
            BridgeTopic {
                remote_prefix: "berlin/".to_owned(),
                ..BridgeTopic::new("control/+", Direction::Both, QoS::ExactlyOnce)
            },
        ],
    );
    expected.addresses.push(RemoteAddress { host: "10.0.0.1".to_owned(), port: None });
    expected.user_name = Some("berlin".to_owned());
    expected.password = Some(Secret("two words".to_owned()));
    expected.keep_alive = 300;
    expected.restart = (Duration::from_secs(10), Duration::from_secs(10));
    expected.unsubscribes = false;
    expected.tls = Some(BridgeTls {
        cafile: "ca.crt".into(),
        identity: None,
        is_insecure: false,
        versions: TlsVersions::V1_2,
        alpn: None,
    });
    assert_eq!(*office, expected);
    assert_eq!(lazy.remote_client_id.as_deref(), Some("two"));
    assert_eq!(lazy.start, BridgeStart::Lazy { threshold: 3, idle: Duration::from_secs(60) });
    assert_eq!((lazy.clean_session, lazy.local_clean_session, lazy.tells), (true, true, false));
    assert_eq!((lazy.notifications.as_ref(), lazy.version), (None, crate::codec::Version::V5));
    assert_eq!(lazy.restart, (Duration::from_secs(1), Duration::from_secs(20)));
    assert!(!format!("{settings:?}").contains("two words"));
    assert_eq!(parsed(&settings.to_string()), settings);
    let mut anchored = settings;
    anchored.anchor(Path::new("/d"));
    assert_eq!(anchored.broker.bridges[0].tls.as_ref().unwrap().cafile, Path::new("/d/ca.crt"));
}

#[test]
fn what_is_wrong_with_a_bridge_is_told_with_its_line() {
    let bridge = |more: &str| format!("connection b\naddress a\ntopic t\n{more}\n");
    for (text, expected) in [
        ("topic t out".to_owned(), "1: `topic` without a `connection` line above: say whose it is"),
        ("connection b\naddress a".to_owned(), "1: `connection b` without `topic`: say what goes over it"),
        (
            "connection b\ntopic t".to_owned(),
            "1: `connection b` without `address`: say where the other broker is",
        ),
        (
            bridge("connection b\naddress a\ntopic t"),
            "4: a second `connection b`: give each bridge a name of its own",
        ),
        (bridge("topic t up"), "4: `topic` cannot be `t up`: `up` for a direction: give out, in or both"),
        (bridge("topic t in 3"), "4: `topic` cannot be `t in 3`: `3` for a QoS: give 0, 1 or 2"),
        (
            bridge("topic t in 1 a/# b"),
            "4: `topic` cannot be `t in 1 a/# b`: a wildcard in the prefix `a/#`: put it into the pattern",
        ),
        (
            bridge("bridge_certfile c\nbridge_cafile a"),
            "4: `bridge_certfile` without `bridge_keyfile`: give its private key too",
        ),
        (
            bridge("bridge_alpn mqtt"),
            "4: `bridge_alpn` without `bridge_cafile`: TLS needs to know whom to trust, give it",
        ),
        (bridge("remote_password p"), "4: `remote_password` without `remote_username`: say whose it is"),
        (bridge("keepalive_interval 4"), "4: `keepalive_interval` below 5s: give that or more"),
        (
            bridge("restart_timeout 9 3"),
            "4: `restart_timeout` cannot be `9 3`: give a time from 1s to 1h, or two: the first and the longest",
        ),
    ] {
        assert_eq!(problems(&text), format!("sol.conf:{expected}\n"), "{text}");
    }
}
