//! `sol` as a daemon: the background, the pid file, the log that is renamed, signals, systemd, other users.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use common::peers::may;
use common::process::{Place, Sol, listens_on, output, said, sol};
use common::{Client, PATIENCE, eventually, running};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// The background process of a test, killed if the test fails.
struct Daemon<'p> {
    place: &'p Place,
    pid: i32,
}

impl<'p> Daemon<'p> {
    fn start(place: &'p Place) -> Self {
        let started = said(output(&["-d", "-c", &place.config()]));
        assert_eq!(started, (Some(0), String::new(), String::new()));
        Self { place, pid: place.read("pid").trim().parse().unwrap() }
    }

    fn address(&self) -> SocketAddr {
        let log = self.place.read("log");
        listens_on(log.lines().find(|line| line.contains(" listens on ")).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid).unwrap(), signal).unwrap();
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid).into()
    }

    /// Fields of `/proc/PID/stat` behind the name: state, parent, process group, session, terminal.
    fn stat(&self) -> Option<Vec<String>> {
        let stat = fs::read_to_string(self.proc("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        Some(fields.split(' ').map(str::to_owned).collect())
    }

    /// Whoever inherits it need not look after it. Its files are open up to the end of its last thread.
    fn is_gone(&self) -> bool {
        let threads = || fs::read_dir(self.proc("task")).map_or(0, Iterator::count);
        self.stat().is_none_or(|stat| stat[0] == "Z" && threads() <= 1)
    }

    fn stop(self) {
        self.signal(Signal::TERM);
        eventually("gone", || self.is_gone());
        assert!(!self.place.path("pid").exists());
        let log = self.place.read("log");
        assert!(log.ends_with("stopped\n"), "{log}");
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if !self.is_gone() {
            self.signal(Signal::KILL);
        }
    }
}

const BACKGROUND: &str = "ip_port 0\npid_file $D/pid\nlog_path $D/log\nlog_level DEBUG\n";

#[test]
fn it_leaves_everything_of_its_starter_behind() {
    let place = Place::new(BACKGROUND);
    let daemon = Daemon::start(&place);
    let stat = daemon.stat().unwrap();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own_session = own.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
    assert_ne!(stat[3], own_session, "a session of its own");
    assert_ne!(stat[3], daemon.pid.to_string(), "not the leader of its session");
    assert_eq!(stat[4], "0", "no terminal");
    assert_eq!(fs::read_link(daemon.proc("cwd")).unwrap(), PathBuf::from("/"));
    for descriptor in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(fs::read_link(daemon.proc(descriptor)).unwrap(), PathBuf::from("/dev/null"));
    }
    let status = fs::read_to_string(daemon.proc("status")).unwrap();
    assert!(status.contains("\nUmask:\t0027\n"), "{status}");
    assert_eq!(fs::metadata(place.path("log")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(place.path("pid")).unwrap().permissions().mode() & 0o777, 0o644);
    Client::connect(daemon.address(), "me").ping();
    daemon.stop();
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let place = Place::new("unix_socket sock\nunix_socket_mode 0666\npid_file $D/pid\nlog_path $D/log\n");
    let mut start = sol(&["-d", "-c", &place.config()]);
    start.current_dir(place.directory());
    assert_eq!(said(running(start).output()), (Some(0), String::new(), String::new()));
    let daemon = Daemon { place: &place, pid: place.read("pid").trim().parse().unwrap() };
    let served = || {
        let mut client = UnixStream::connect(place.path("sock")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me").unwrap();
        let mut connack = [0; 4];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
    };
    served();
    assert_eq!(fs::metadata(place.path("sock")).unwrap().permissions().mode() & 0o777, 0o666);
    fs::rename(place.path("log"), place.path("log.1")).unwrap();
    daemon.signal(Signal::HUP);
    eventually("opened anew", || place.read("log").contains("opened the log anew\n"));
    served();
    daemon.stop();
    assert!(!place.path("sock").exists());
}

#[test]
fn its_log_can_be_renamed() {
    for signal in [Signal::HUP, Signal::USR1] {
        let place = Place::new(BACKGROUND);
        let daemon = Daemon::start(&place);
        let address = daemon.address();
        fs::rename(place.path("log"), place.path("log.1")).unwrap();
        Client::connect(address, "before").ping();
        eventually("in the old log", || place.read("log.1").contains("as \"before\""));
        daemon.signal(signal);
        eventually("opened anew", || place.read("log").contains("opened the log anew\n"));
        let old = place.read("log.1");
        Client::connect(address, "behind").ping();
        eventually("in the new log", || place.read("log").contains("as \"behind\""));
        assert_eq!(place.read("log.1"), old);
        daemon.stop();
    }
}

#[test]
fn a_second_start_is_refused_with_the_number_of_the_first() {
    let place = Place::new(BACKGROUND);
    let daemon = Daemon::start(&place);
    let log = place.read("log");
    for arguments in [&["-d", "-c", &place.config()][..], &["-c", &place.config()]] {
        let (code, _, stderr) = said(output(arguments));
        assert_eq!(code, Some(1), "{stderr}");
        let expected = format!("already runs as process {}, which holds the pid file", daemon.pid);
        assert!(stderr.contains(&expected), "{stderr}");
    }
    assert_ne!(place.read("log"), log, "the log knows of it too");
    assert_eq!(place.read("pid"), format!("{}\n", daemon.pid));
    daemon.stop();
}

#[test]
fn one_that_was_killed_is_in_nobody_s_way() {
    let place = Place::new(BACKGROUND);
    let killed = Daemon::start(&place);
    killed.signal(Signal::KILL);
    eventually("gone", || killed.is_gone());
    assert_eq!(place.read("pid"), format!("{}\n", killed.pid));
    Daemon::start(&place).stop();
}

#[test]
fn a_start_that_fails_is_told_to_its_starter() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::new("");
    for (config, code, expected) in [
        (
            format!("ip_port {}\nlog_path $D/log\npid_file $D/pid\n", address.port()),
            1,
            format!("sol: cannot listen on {address}: "),
        ),
        ("ip_port 0\nlog_path $D/none/log\n".to_owned(), 1, "sol: cannot write the log ".to_owned()),
        ("ip_port 0\npid_file $D/none/pid\n".to_owned(), 1, "sol: cannot write the pid file ".to_owned()),
        ("ip_port x\n".to_owned(), 78, format!("{}:1: `ip_port` cannot be", place.config())),
    ] {
        place.configure(&config);
        let (found, _, stderr) = said(output(&["-d", "-c", &place.config()]));
        assert_eq!(found, Some(code), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with(&expected), "{stderr}");
    }
    assert!(place.read("log").contains(&format!("ERROR cannot listen on {address}: ")));
    assert!(!place.path("pid").exists());
}

#[test]
fn relative_paths_begin_where_it_was_started() {
    let place = Place::new("ip_port 0\npid_file pid\nlog_path log\n");
    let mut start = sol(&["-d", "-c", "sol.conf"]);
    start.current_dir(place.directory());
    assert_eq!(said(running(start).output()), (Some(0), String::new(), String::new()));
    let daemon = Daemon { place: &place, pid: place.read("pid").trim().parse().unwrap() };
    // The file's own path, too.
    daemon.signal(Signal::HUP);
    eventually("read again", || place.read("log").contains("read the configuration again, and its files\n"));
    daemon.stop();
}

#[test]
fn without_a_log_on_disk_it_says_so() {
    let place = Place::new("ip_port 0\npid_file $D/pid\n");
    let (code, _, stderr) = said(output(&["-d", "-c", &place.config()]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr, "sol: nothing is logged in the background without `log_path`\n");
    let daemon = Daemon { place: &place, pid: place.read("pid").trim().parse().unwrap() };
    daemon.signal(Signal::TERM);
    eventually("gone", || daemon.is_gone());
}

// Signals

#[test]
fn a_hangup_reads_the_configuration_again() {
    let place = Place::new("ip_port 0\nlog_level INFO\n");
    let mut sol = place.start();
    place.configure("ip_port 0\nlog_level DEBUG\nthreads 3\nmax_memory 1GB\n");
    sol.signal(Signal::HUP);
    sol.line("`threads` has changed: that takes a restart");
    sol.line("changed: log_level, max_memory");
    sol.line("read the configuration again");
    Client::connect(sol.address, "me").ping();
    sol.line("connected as \"me\"");

    place.configure("ip_port 0\nlog_level DEBUG\nthreads none\n");
    sol.signal(Signal::HUP);
    sol.line("sol.conf:3: `threads` cannot be `none`: give a number from 1 to 1024");
    sol.line("what was read before stays in force");
    Client::connect(sol.address, "you").ping();
    sol.line("connected as \"you\"");
}

#[test]
fn usr2_asks_for_the_state() {
    let mut sol = Sol::start();
    let client = Client::subscribed(sol.address, "me", "t", sol::codec::QoS::AtMostOnce);
    sol.signal(Signal::USR2);
    let line = sol.line("state: ");
    assert!(line.contains("1 connections, 1 sessions, 1 subscriptions, 0 retained"), "{line}");
    drop(client);
}

// systemd

/// `sol`, and the socket that it tells of its state.
fn watched(environment: &[(&str, &str)]) -> (Place, Sol, UnixDatagram) {
    let place = Place::new("ip_port 0\n");
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = sol(&["-c", &place.config()]);
    command.env("NOTIFY_SOCKET", place.path("notify")).envs(environment.iter().copied());
    (place, Sol::spawn(command), socket)
}

fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let n = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..n].to_vec()).unwrap()
}

#[test]
fn systemd_is_told_of_its_state() {
    let (_place, mut sol, socket) = watched(&[]);
    assert_eq!(told(&socket), "READY=1\n");
    let address = listens_on(&sol.line(" listens on "));
    Client::connect(address, "me").ping();

    sol.signal(Signal::HUP);
    let reloading = told(&socket);
    let time =
        reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading}"));
    assert!(time.trim_end().parse::<u64>().is_ok(), "{reloading}");
    assert_eq!(told(&socket), "READY=1\n");

    sol.signal(Signal::TERM);
    assert_eq!(told(&socket), "STOPPING=1\n");
    assert_eq!(sol.end().0, Some(0));
}

#[test]
fn the_watchdog_hears_of_it_again_and_again() {
    let (_place, _sol, socket) = watched(&[("WATCHDOG_USEC", "20000")]);
    assert_eq!(told(&socket), "READY=1\n");
    for _ in 0..5 {
        assert_eq!(told(&socket), "WATCHDOG=1\n");
    }
}

/// `sol` with two sockets, handed over as systemd does.
fn activated(place: &Place, tcp: TcpListener, unix: UnixListener) -> Command {
    let mut command = Command::new("sh");
    let handing = "LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" -c \"$1\" 3<&0 4<&1 0</dev/null 1>/dev/null";
    command.args(["-c", handing, env!("CARGO_BIN_EXE_sol"), &place.config()]);
    command.stdin(OwnedFd::from(tcp)).stdout(OwnedFd::from(unix));
    command
}

#[test]
fn sockets_that_systemd_opened_are_served() {
    let place = Place::new("");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(place.path("sock")).unwrap();
    // One that nobody opened is beside them.
    place.configure(&format!("ip_port {}\nunix_socket $D/sock\nhttp_listener 127.0.0.1:0\n", address.port()));
    // Who comes before the start waits.
    let mut early = UnixStream::connect(place.path("sock")).unwrap();
    let sol = Sol::spawn(activated(&place, tcp, unix));
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    early.write_all(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me").unwrap();
    let mut connack = [0; 4];
    early.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    Client::connect(address, "you").ping();
    sol.signal(Signal::TERM);
    assert_eq!(sol.end().0, Some(0));
    assert!(place.path("sock").exists(), "it is systemd's");
}

#[test]
fn a_socket_of_systemd_that_no_listener_is_for_is_refused() {
    let place = Place::new("ip_port 0\n");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(place.path("sock")).unwrap();
    place.configure(&format!("ip_port {}\n", address.port()));
    let (code, log) = Sol::spawn(activated(&place, tcp, unix)).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("/sock was handed over at the start, and no listener is for it"), "{log}");
}

// Other users

/// Users and groups that are on every Linux.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    may("become another user", geteuid().is_root())
}

#[test]
fn root_becomes_the_user() {
    if !is_root() {
        return;
    }
    for (group, gid) in [("", NOBODY), ("group daemon\n", 1)] {
        let place = Place::new(&format!("{BACKGROUND}user nobody\n{group}"));
        chown(place.directory(), Some(NOBODY), None).unwrap();
        let daemon = Daemon::start(&place);
        for task in fs::read_dir(daemon.proc("task")).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>()
            };
            assert_eq!(field("Uid:"), [NOBODY; 4], "{status}");
            assert_eq!(field("Gid:"), [gid; 4], "{status}");
            assert!(!field("Groups:").contains(&0), "{status}");
            assert_eq!(field("Groups:"), [gid], "{status}");
        }
        assert_eq!(fs::metadata(place.path("log")).unwrap().uid(), NOBODY);
        fs::rename(place.path("log"), place.path("log.1")).unwrap();
        daemon.signal(Signal::HUP);
        eventually("opened anew", || place.read("log").contains("opened the log anew\n"));
        daemon.stop();
    }
}

#[test]
fn files_that_the_user_cannot_read_again_are_told_of() {
    if !is_root() {
        return;
    }
    let place = Place::new(&format!("{BACKGROUND}user nobody\npassword_file $D/passwd\n"));
    fs::write(place.path("passwd"), "").unwrap();
    fs::set_permissions(place.path("passwd"), fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = Daemon::start(&place);
    let log = place.read("log");
    assert!(log.contains("cannot read ") && log.contains("/passwd again (`password_file`): "), "{log}");
    // The directory is root's, so that the pid file must stay. It says nobody's number.
    daemon.signal(Signal::TERM);
    eventually("gone", || daemon.is_gone());
    assert_eq!(place.read("pid"), "");
    place.configure(BACKGROUND);
    Daemon::start(&place).stop();
}

#[test]
fn only_root_can_become_somebody_else() {
    if !is_root() {
        return;
    }
    let place = Place::new("ip_port 0\nuser daemon\n");
    chown(place.directory(), Some(NOBODY), None).unwrap();
    let mut command = sol(&["-c", &place.config()]);
    command.uid(NOBODY).gid(NOBODY);
    Sol::spawn(command).line("`user` has no effect: only root can become user daemon (1, group 1), and");

    // Who is that user already has nothing to become.
    place.configure("ip_port 0\nuser nobody\n");
    let mut command = sol(&["-c", &place.config()]);
    command.uid(NOBODY).gid(NOBODY);
    Sol::spawn(command).line("runs as user nobody");
}
