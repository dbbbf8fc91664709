//! Who gets through the handshake, and who does not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sol::codec::{Packet, QoS};
use sol::config::{Tls, TlsVersions};
use sol::{Broker, Config, Limits};

use crate::client::{VERSIONS, Version, attempt, broker, client, listener, tcp};
use crate::common::{PATIENCE, connect, encode};
use crate::pki::Pki;

/// The kind of record that an alert is, and the level of one that ends it.
const ALERT: u8 = 21;
const FATAL: u8 = 2;

/// Reads to the end, which must come.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
            // The process was stopped for a while.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
}

/// A whole ClientHello, as rustls sends it.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder()
        .with_safe_defaults()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut tls = ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).unwrap();
    bytes
}

/// By hand, since a well-kept OpenSSL does not send it any more.
fn tls_1_1_client_hello() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // Two cipher suites, no compression, and the extension that all clients send.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0, 0, 5, 0xff, 1, 0, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut hello);
    record
}

fn serves(broker: &Broker, pki: &Pki) {
    client(broker.local_addr(), &pki.cafile(), "still served").ping();
}

#[test]
fn a_client_below_the_minimum_is_refused() {
    let pki = Pki::new("authority");
    let server = pki.server("server");
    for versions in [TlsVersions::V1_2, TlsVersions::V1_3, TlsVersions::V1_2AndV1_3] {
        let broker = broker(Tls { versions, ..server.tls() }, Limits::default());
        let address = broker.local_addr();
        let mut old = tcp(address);
        old.write_all(&tls_1_1_client_hello()).unwrap();
        let answer = read_to_end(&mut old);
        assert_eq!((answer[0], answer[5], answer.len()), (ALERT, FATAL, 7), "{versions:?}");
        for version in VERSIONS {
            let is_spoken = match versions {
                TlsVersions::V1_2 => version == Version::V1_2,
                TlsVersions::V1_3 => version == Version::V1_3,
                TlsVersions::V1_2AndV1_3 => true,
            };
            match attempt(address, &pki.cafile(), version, None) {
                Ok(()) => assert!(is_spoken, "{version:?} with {versions:?}"),
                Err(error) => {
                    assert!(!is_spoken, "{version:?} with {versions:?}: {error}");
                    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_required_certificate_must_be_there_and_of_the_authority() {
    let pki = Pki::new("authority");
    let foreign = Pki::new("foreign authority");
    let server = pki.server("server");
    let [own, other] = [pki.client("own"), foreign.client("other")];
    for require_certificate in [true, false] {
        let tls = Tls { cafile: Some(pki.cafile()), require_certificate, ..server.tls() };
        let broker = broker(tls, Limits::default());
        for version in VERSIONS {
            let attempt = |identity| attempt(broker.local_addr(), &pki.cafile(), version, identity);
            attempt(Some(&own)).unwrap();
            let error = attempt(Some(&other)).unwrap_err().to_string();
            assert!(error.contains("received fatal alert"), "{error}");
            match attempt(None) {
                Ok(()) => assert!(!require_certificate),
                Err(error) => {
                    assert!(require_certificate, "{error}");
                    assert!(error.to_string().contains("received fatal alert"), "{error}");
                }
            }
        }
    }
}

#[test]
fn plain_mqtt_is_closed_and_others_are_served() {
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    let log = Log::start();
    let mut plain = tcp(broker.local_addr());
    let from = plain.local_addr().unwrap().to_string();
    plain.write_all(&encode(&[Packet::Connect(connect("plain"))])).unwrap();
    // At most an alert.
    let answer = read_to_end(&mut plain);
    assert!(answer.is_empty() || answer[0] == ALERT, "{answer:?}");
    serves(&broker, &pki);
    let lines = log.lines_of(&from);
    assert!(lines.len() == 1 && lines[0].contains("disconnected: TLS failed: "), "{lines:?}");
}

#[test]
fn a_client_that_stops_in_the_handshake_is_closed() {
    let pki = Pki::new("authority");
    // Long enough for a handshake on a machine that is busy.
    let limits = Limits { connect_timeout: Duration::from_secs(5), ..Limits::default() };
    let tls = Tls { cafile: Some(pki.cafile()), ..pki.server("server").tls() };
    let broker = broker(tls, limits);
    // One who is through with it, and does not say CONNECT.
    let mut mute = crate::client::open(broker.local_addr(), &pki.cafile(), Version::V1_3, None).stream;
    mute.flush().unwrap();
    let hello = client_hello();
    let mut silent = [0, 1, hello.len() / 2, hello.len()].map(|sent| {
        let mut silent = tcp(broker.local_addr());
        silent.write_all(&hello[..sent]).unwrap();
        silent
    });
    silent.iter_mut().for_each(|silent| _ = read_to_end(silent));
    assert_eq!(mute.read(&mut [0; 8]).unwrap(), 0);
}

/// Alerts that TLS ignores, as fast as they go, in the handshake and after it.
#[test]
fn a_client_that_sends_for_ever_does_not_keep_the_thread() {
    // A warning: the user canceled.
    const WARNING: [u8; 7] = [ALERT, 3, 3, 0, 2, 1, 90];
    let pki = Pki::new("authority");
    // Long enough for the well-behaved on a machine that is busy.
    let limits = Limits { connect_timeout: Duration::from_secs(5), ..Limits::default() };
    let listeners = vec![listener(pki.server("server").tls())];
    let threads = NonZeroUsize::MIN;
    let broker = Broker::start(Config { listeners, threads, limits, ..Config::default() }).unwrap();
    let mut flooder = tcp(broker.local_addr());
    thread::scope(|scope| {
        scope.spawn(move || {
            let warnings = WARNING.repeat(10_000);
            let deadline = Instant::now() + PATIENCE;
            while flooder.write_all(&warnings).is_ok() {
                assert!(Instant::now() < deadline, "the flooder is never closed");
            }
        });
        serves(&broker, &pki);
    });
    serves(&broker, &pki);
}

#[test]
fn garbage_hurts_nobody() {
    const ROUNDS: u64 = 300;
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name().is_some_and(|name| name.starts_with("sol-")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    let hello = client_hello();
    let mut random = Random(1);
    for _ in 0..ROUNDS {
        let mut bytes = hello.clone();
        match random.next() % 4 {
            // Bytes changed, the header as it was.
            0 => {
                for _ in 0..=random.next() % 8 {
                    let at = 5 + random.index(bytes.len() - 5);
                    bytes[at] = random.byte();
                }
            }
            // Anything changed.
            1 => {
                let at = random.index(bytes.len());
                bytes[at] = random.byte();
            }
            // A record of any kind, with nonsense in it.
            2 => {
                let length = random.index(300);
                bytes = vec![20 + random.byte() % 5, 3, 3, 0, 0];
                bytes[3..5].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
                bytes.extend((0..length).map(|_| random.byte()));
            }
            // Nonsense.
            _ => bytes = (0..random.index(300)).map(|_| random.byte()).collect(),
        }
        if random.next().is_multiple_of(2) {
            bytes.extend((0..random.index(20_000)).map(|_| random.byte()));
        }
        let mut stream = tcp(broker.local_addr());
        // The broker may have closed it by now.
        _ = stream.write_all(&bytes);
        _ = stream.shutdown(Shutdown::Write);
        read_to_end(&mut stream);
    }
    serves(&broker, &pki);
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

/// Garbage that is encrypted properly, and bytes changed behind a good handshake.
#[test]
fn garbage_behind_the_handshake_hurts_nobody() {
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    let mut client_of_garbage = client(broker.local_addr(), &pki.cafile(), "garbage");
    client_of_garbage.send_bytes(&[0; 100]);
    client_of_garbage.expect_closed();

    let mut torn = client(broker.local_addr(), &pki.cafile(), "torn");
    torn.subscribe("t", QoS::AtMostOnce);
    torn.stream.sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
    torn.stream.sock.write_all(&[0; 20]).unwrap();
    let error = torn.stream.read(&mut [0; 8]).unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
    serves(&broker, &pki);
}

/// What the broker logs, from level info on.
struct Log;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Log {
    fn start() -> Self {
        log::set_logger(&Self).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        Self
    }

    fn lines_of(&self, address: &str) -> Vec<String> {
        LINES.lock().unwrap().iter().filter(|line| line.contains(address)).cloned().collect()
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("sol")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Xorshift: the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.next()).unwrap() % length
    }
}
