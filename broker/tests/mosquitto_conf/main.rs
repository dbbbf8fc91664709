//! Files as mosquitto's users have them, written anew after what is documented in public: each starts the broker, or says
//! which line does not and why; and who may connect and what they get is as with mosquitto.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod peer;
mod traffic;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use common::peers::{has_mosquitto, mosquitto};
use common::process::{Place, Sol, listens_on, output, said, sol};
use common::{Client, eventually};
use peer::Mosquitto;

/// Of `anna`, whose password is `secret`, by mosquitto_passwd.
const PASSWORDS: &str = "anna:$7$101$4ILTQieGxfStzziO$xRKKpPhzh8aZXM8C6ecxRgA0tIjUjrLKwREBc2NBGvi+1ZNL/kkO\
                         FLDD1NjpJJ5w4ZW2BXwQP24WDealUXzZiw==\n";

fn text(file: &str) -> String {
    let path = format!("{}/tests/mosquitto_conf/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

/// The file, with all that it names in a directory of its own, and with other ports.
fn place(file: &str, mut port: impl FnMut() -> u16) -> Place {
    let place = Place::new("");
    for directory in ["etc/conf.d", "etc/certs", "lib", "log", "run", "mosquitto/log", "mosquitto/data"] {
        fs::create_dir_all(place.path(directory)).unwrap();
    }
    let mut inside = |text: String| {
        let mut inside = String::new();
        for line in text.lines() {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            if words[0] == "listener" && words[1] != "0" {
                words[1] = port().to_string();
            }
            inside += &words.join(" ");
            inside.push('\n');
        }
        for (directory, name) in [
            ("/etc/mosquitto", "etc"),
            ("/var/lib/mosquitto", "lib"),
            ("/var/log/mosquitto", "log"),
            ("/run/mosquitto", "run"),
            (" /mosquitto", "mosquitto"),
        ] {
            let space = if directory.starts_with(' ') { " " } else { "" };
            let path = format!("{space}{}", place.path(name).display());
            inside = inside.replace(directory, &path);
        }
        inside
    };
    let main = inside(text(file));
    // Debian's alone has other files.
    if main.contains("include_dir") {
        fs::write(place.path("etc/conf.d/local.conf"), inside(text("conf.d/local.conf"))).unwrap();
    }
    place.configure(&main);
    fs::write(place.path("etc/acl"), text("acl")).unwrap();
    fs::write(place.path("etc/passwd"), PASSWORDS).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(place.path("etc/certs/server.crt"), made.cert.pem()).unwrap();
    fs::write(place.path("etc/certs/ca.crt"), made.cert.pem()).unwrap();
    fs::write(place.path("etc/certs/server.key"), made.signing_key.serialize_pem()).unwrap();
    place
}

/// Where the log says that it listens.
fn addresses(log: &str) -> Vec<SocketAddr> {
    log.lines().filter(|line| line.contains(" listens on ")).map(listens_on).collect()
}

/// Sol with the file, and where so many of its listeners are.
fn start(file: &str, listeners: usize) -> (Place, Sol, Vec<SocketAddr>) {
    let place = place(file, || 0);
    let mut sol = Sol::spawn(sol(&["-c", &place.config()]));
    let mut found = Vec::new();
    if file == "debian.conf" {
        // It logs to a file alone.
        eventually("listens", || {
            found = addresses(&place.read("log/mosquitto.log"));
            found.len() == listeners
        });
    } else {
        found.extend((0..listeners).map(|_| listens_on(&sol.line(" listens on "))));
    }
    (place, sol, found)
}

#[test]
fn each_file_is_seen_to() {
    let directory = format!("{}/tests/mosquitto_conf", env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let seen_to: Vec<_> = EXPECTED.iter().map(|(file, _)| *file).collect();
    let mut count = 0;
    for name in names.filter(|name| name.ends_with(".conf")) {
        assert!(seen_to.contains(&name.as_str()), "{name}");
        count += 1;
    }
    assert_eq!(count, seen_to.len());
}

/// What `sol -t` says of each file: words of each line, or nothing but `ok`.
const EXPECTED: [(&str, &[&str]); 12] = [
    ("acl.conf", &[]),
    ("bridge.conf", &[]),
    ("debian.conf", &[]),
    ("docker.conf", &[]),
    ("limits.conf", &[]),
    ("per_listener.conf", &[]),
    ("persistence.conf", &[]),
    ("tls.conf", &[]),
    ("unix_socket.conf", &[]),
    ("websockets.conf", &[]),
    (
        "home_assistant.conf",
        &[
            ":14: `auth_plugin` of mosquitto is not something that Sol does: Sol loads no plugins: ",
            ":15: `auth_opt_backends` of mosquitto ",
            ":16: `auth_opt_hasher` of mosquitto ",
            ":17: `auth_opt_cache` of mosquitto ",
            ":18: `auth_opt_files_password_path` of mosquitto ",
            ":19: `auth_opt_files_acl_path` of mosquitto ",
            ":21: `allow_anonymous false` without `password_file`: nobody could log in, give the file",
        ],
    ),
    (
        "old.conf",
        &[
            ":6: `persistent_client_expiration` cannot be `2m`: that is a month to mosquitto",
            ":7: `message_size_limit` of mosquitto is not something that Sol does: give `max_packet_size`",
            ":8: `log_dest` cannot be `syslog`: systemd takes standard error into its journal",
            ":11: `mount_point` of mosquitto ",
            ":13: `tls_version` cannot be `tlsv1.1`: no safe implementation of it exists here",
        ],
    ),
];

#[test]
fn each_starts_or_says_which_line_does_not_and_why() {
    for (file, problems) in EXPECTED {
        let place = place(file, || 0);
        let (code, stdout, stderr) = said(output(&["-t", "-c", &place.config()]));
        let lines: Vec<_> = stderr.lines().filter(|line| !line.contains(" is read over: ")).collect();
        assert_eq!(code, Some(if problems.is_empty() { 0 } else { 78 }), "{file}: {stderr}");
        assert_eq!(stdout, if problems.is_empty() { "ok\n" } else { "" }, "{file}: {stderr}");
        assert_eq!(lines.len(), problems.len(), "{file}: {stderr}");
        for (line, problem) in lines.iter().zip(problems) {
            assert!(line.contains(problem), "{file}: {line} for {problem}");
        }
    }
}

#[test]
fn what_is_read_over_is_told_with_its_reason() {
    let place = place("persistence.conf", || 0);
    let (_, _, stderr) = said(output(&["-t", "-c", &place.config()]));
    let told: Vec<_> = stderr.lines().map(|line| line.split('`').nth(1).unwrap()).collect();
    let expected =
        ["persistence_file", "autosave_interval", "autosave_on_changes", "queue_qos0_messages false"];
    assert_eq!(told, expected, "{stderr}");
}

#[test]
fn what_is_imported_says_the_same() {
    for (file, _) in EXPECTED.iter().filter(|(_, problems)| problems.is_empty()) {
        let mut port = 1882;
        let place = place(file, || {
            port += 1;
            port
        });
        let (code, text, stderr) = said(output(&["import-mosquitto", &place.config()]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{file}");
        let imported = sol::config::Settings::parse(&text, None, Default::default());
        let path = place.path("sol.conf");
        assert_eq!(imported, sol::config::Settings::read(&path, Default::default()), "{file}:\n{text}");
    }
    let place = place("home_assistant.conf", || 0);
    let (code, text, stderr) = said(output(&["import-mosquitto", &place.config()]));
    assert_eq!((code, text.as_str()), (Some(78), ""), "{stderr}");
}

/// The files whose first listener is plain MQTT, and how many listeners each has.
const PLAIN: [(&str, usize); 6] = [
    ("debian.conf", 1),
    ("docker.conf", 1),
    ("limits.conf", 1),
    ("per_listener.conf", 2),
    ("persistence.conf", 1),
    ("websockets.conf", 1),
];

#[test]
fn who_gets_in_and_what_they_get_is_as_with_mosquitto() {
    if !has_mosquitto() || !peer::is_installed() {
        return;
    }
    for (file, listeners) in PLAIN {
        let (_place, _sol, ours) = start(file, listeners);
        let theirs = Mosquitto::start(file, listeners);
        for (ours, theirs) in ours.into_iter().zip(theirs.addresses.iter()) {
            let expected = traffic::transcript(*theirs);
            assert!(expected.len() > 4, "{file}: {expected:#?}");
            assert_eq!(traffic::transcript(ours), expected, "{file}");
        }
    }
}

#[test]
fn tls_with_passwords_is_as_with_mosquitto() {
    if !has_mosquitto() || !peer::is_installed() {
        return;
    }
    let (place, _sol, ours) = start("tls.conf", 1);
    let theirs = Mosquitto::start("tls.conf", 1);
    for (password, version, gets_in) in
        [("secret", "tlsv1.2", true), ("secret", "tlsv1.3", true), ("wrong", "tlsv1.2", false)]
    {
        for (address, place) in [(ours[0], &place), (theirs.addresses[0], &theirs.place)] {
            let ca = place.path("etc/certs/ca.crt");
            let arguments =
                ["-u", "anna", "-P", password, "--tls-version", version, "-t", "t", "-m", "x", "-q", "1"];
            let arguments = [&["-h", "localhost", "--cafile", ca.to_str().unwrap()], &arguments[..]].concat();
            let output = mosquitto("mosquitto_pub", address, &arguments).output();
            assert_eq!(output.status.success(), gets_in, "{address}: {output:?}");
        }
    }
}

#[test]
fn the_unix_socket_is_served() {
    let place = place("unix_socket.conf", || 0);
    let mut sol = Sol::spawn(sol(&["-c", &place.config()]));
    let line = sol.line(" listens on ");
    assert!(line.contains("its permissions say who can connect"), "{line}");
    let stream = UnixStream::connect(place.path("run/mosquitto.sock")).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut client = Client::over(stream);
    client.say_connect(common::connect("me"), false);
    client.ping();
}

#[test]
fn the_log_says_who_can_connect() {
    let (_place, mut sol, _) = start("per_listener.conf", 0);
    let first = sol.line(" listens on ");
    assert!(first.ends_with("no password needed: only this machine can reach it"), "{first}");
    let second = sol.line(" listens on *:");
    assert!(second.ends_with("passwords needed: users who can reach this machine can connect"), "{second}");

    let (_place, mut sol, _) = start("docker.conf", 0);
    let line = sol.line(" listens on *:");
    assert!(line.ends_with("no password needed: anyone who can reach this machine can connect"), "{line}");
}

#[test]
fn a_listener_without_an_address_is_reached_by_ipv4_and_ipv6() {
    let (_place, mut sol, addresses) = start("docker.conf", 1);
    let port = addresses[0].port();
    Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), "four").ping();
    // Not each machine has it.
    let six = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    if common::peers::may("use IPv6", std::net::TcpListener::bind("[::1]:0").is_ok()) {
        Client::connect(six, "six").ping();
    }
    sol.signal(rustix::process::Signal::TERM);
    sol.line("stopped");
}
