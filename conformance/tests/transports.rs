//! The kit speaks TLS, WebSocket and over UNIX sockets as it does over TCP.

// Helpers of tests are tests, which clippy.toml does not see outside `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod fake;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use conformance::frame::{Kind, Packet};
use conformance::injector::{FAULTS, Face, Proxy};
use conformance::scenario::parse;
use conformance::target::{Target, TargetError};
use conformance::transport::{Endpoint, Trust};
use conformance::verdict::Outcome;
use conformance::{Version, run};
use fake::{FakeBroker, Reply};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket, accept_hdr};

/// Both kinds of actor; what is longer than a record and than what a socket holds; every way in which a connection ends.
const SCENARIO: &str = "proves 3.1.1 [MQTT-7.1.1-1]
raw a
client b
a > CONNECT
a < CONNACK reason=0
a > PUBLISH topic=\"a\" payload=bytes(2000000)
a < PUBLISH topic=\"a\" payload=bytes(2000000)
a < silence
a > drop
a > CONNECT chunk=1
a < CONNACK reason=0
a > PUBCOMP id=1
a < close
b > CONNECT
b < CONNACK reason=0
b > PUBLISH topic=\"b\" payload=bytes(40000)
b < PUBLISH topic=\"b\" payload=bytes(40000)
b > drop
";

fn manners(packet: &Packet) -> Option<Vec<Reply>> {
    (packet.kind == Kind::Pubcomp).then(|| vec![Reply::Close])
}

fn passes(mut target: Target) {
    target.probe().expect("it answers");
    let scenario = parse("test", "scenarios/test.scenario", SCENARIO).expect("a good scenario");
    let verdict = run::run(&scenario, Version::V3_1_1, &target);
    assert!(matches!(verdict.outcome, Outcome::Passed), "{verdict}");
}

#[cfg(unix)]
#[test]
fn over_a_unix_socket() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("broker.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let url = format!("unix://{}", path.display());
    let target = Target::from_url(&url, &Trust::default()).expect("good");
    let accept = move || Some(listener.accept().ok()?.0);
    let broker = FakeBroker::serving(target.endpoint.clone(), accept, manners);
    passes(Target { endpoint: broker.endpoint(), ..target });
}

/// An authority, and what it signed for a broker and for a client.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let authority = Authority { directory: TempDir::new().expect("a directory"), issuer };
        std::fs::write(authority.file("ca.pem"), authority.issuer.pem()).expect("written");
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `name.pem` and `name.key` for this host.
    fn sign(&self, name: &str, host: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a good host");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    fn trust(&self) -> Trust {
        Trust { ca: Some(self.file("ca.pem")), ..Trust::default() }
    }

    /// A broker with the certificate `broker`, in one version of TLS; one that asks for client certificates or not.
    fn broker(&self, version: &'static SupportedProtocolVersion, asks: bool) -> FakeBroker {
        let (endpoint, accept) = self.listener(version, asks);
        FakeBroker::serving(endpoint, accept, manners)
    }

    /// What lets in that broker's clients, and where.
    fn listener(
        &self,
        version: &'static SupportedProtocolVersion,
        asks: bool,
    ) -> (Endpoint, impl Fn() -> Option<StreamOwned<ServerConnection, TcpStream>> + Send + 'static) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let read = |name| CertificateDer::from_pem_file(self.file(name)).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(read("ca.pem")).expect("good");
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .expect("a version");
        let builder = if asks {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().expect("good"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.file("broker.key")).expect("a key");
        let config =
            Arc::new(builder.with_single_cert(vec![read("broker.pem")], key).expect("a good certificate"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = listener.local_addr().expect("bound").into();
        let accept = move || {
            let stream = listener.accept().ok()?.0;
            let session = ServerConnection::new(config.clone()).expect("a session");
            Some(StreamOwned::new(session, stream))
        };
        (endpoint, accept)
    }
}

fn target(broker: &FakeBroker, trust: &Trust) -> Result<Target, TargetError> {
    Target::from_url(&format!("mqtts://{}", broker.endpoint()), trust)
}

/// For what does not come.
const SHORT: Duration = Duration::from_millis(200);

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn over_tls() {
    let authority = Authority::new();
    authority.sign("broker", "127.0.0.1");
    for version in VERSIONS {
        passes(target(&authority.broker(version, false), &authority.trust()).expect("good"));
    }
}

#[test]
fn over_tls_with_a_client_certificate() {
    let authority = Authority::new();
    authority.sign("broker", "127.0.0.1");
    authority.sign("client", "client");
    let known = Trust {
        certificate: Some(authority.file("client.pem")),
        key: Some(authority.file("client.key")),
        ..authority.trust()
    };
    for version in VERSIONS {
        let broker = authority.broker(version, true);
        passes(target(&broker, &known).expect("good"));
        let error = target(&broker, &authority.trust()).expect("good").probe().expect_err("refused");
        assert!(error.to_string().to_lowercase().contains("alert"), "{error}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_named_unless_any_will_do() {
    let authority = Authority::new();
    authority.sign("broker", "127.0.0.1");
    let broker = authority.broker(&rustls::version::TLS13, false);
    let stranger = Authority::new();
    let error =
        target(&broker, &stranger.trust()).expect("good").probe().expect_err("not trusted").to_string();
    assert!(error.contains("certificate"), "{error}");
    passes(target(&broker, &Trust { insecure: true, ..stranger.trust() }).expect("good"));

    authority.sign("broker", "elsewhere.example");
    let broker = authority.broker(&rustls::version::TLS13, false);
    let error =
        target(&broker, &authority.trust()).expect("good").probe().expect_err("not trusted").to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    authority.sign("client", "client");
    let says =
        |trust: &Trust| Target::from_url("mqtts://127.0.0.1", trust).expect_err("unusable").to_string();
    let missing = authority.file("missing.pem");
    let key = authority.file("client.key");
    for (trust, path) in [
        (Trust { ca: Some(missing.clone()), ..Trust::default() }, &missing),
        (Trust { ca: Some(key.clone()), ..Trust::default() }, &key),
        (Trust { certificate: Some(missing.clone()), key: Some(key.clone()), ..authority.trust() }, &missing),
    ] {
        assert!(says(&trust).contains(&path.display().to_string()), "{}", says(&trust));
    }
    let half = Trust { key: Some(key), ..authority.trust() };
    assert!(says(&half).contains("one of the two is missing"), "{}", says(&half));
}

#[test]
fn a_broker_without_tls_is_no_broker_with_it() {
    let broker = FakeBroker::start(|_| Some(vec![Reply::Close]));
    let mut plain = target(&broker, &Trust { insecure: true, ..Trust::default() }).expect("good");
    plain.deadline = SHORT;
    let error = plain.probe().expect_err("no TLS").to_string();
    assert!(error.starts_with("no connection to"), "{error}");
}

/// The server's end of a WebSocket connection.
struct Served<S: Read + Write> {
    socket: WebSocket<S>,
    came: Vec<u8>,
}

impl<S: Read + Write> Read for Served<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.came.is_empty() {
            self.came = match self.socket.read() {
                Ok(Message::Binary(bytes)) => bytes.to_vec(),
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                _ => return Ok(0),
            };
        }
        let length = self.came.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.came[..length]);
        self.came.drain(..length);
        Ok(length)
    }
}

impl<S: Read + Write> Write for Served<S> {
    /// In three frames, with a PING of WebSocket's own between them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(bytes.len().div_ceil(3)) {
            self.socket.send(Message::binary(piece.to_vec())).map_err(io::Error::other)?;
            self.socket.send(Message::Ping("still there?".into())).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Read + Write> Drop for Served<S> {
    fn drop(&mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }
}

/// Shakes hands at the path `/mqtt`, and selects the subprotocol `mqtt`.
fn welcome<S: Read + Write>(stream: S) -> Option<Served<S>> {
    #[expect(clippy::result_large_err, reason = "tungstenite's callback")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        if request.uri().path() != "/mqtt" {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = tungstenite::http::StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        let mqtt = HeaderValue::from_static("mqtt");
        assert_eq!(request.headers().get("Sec-WebSocket-Protocol"), Some(&mqtt), "MQTT-6.0.0-3");
        response.headers_mut().insert("Sec-WebSocket-Protocol", mqtt);
        Ok(response)
    };
    let socket = accept_hdr(stream, answer).ok()?;
    Some(Served { socket, came: Vec::new() })
}

fn websocket() -> FakeBroker {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = listener.local_addr().expect("bound").into();
    let accept = move || {
        loop {
            if let Some(served) = welcome(listener.accept().ok()?.0) {
                return Some(served);
            }
        }
    };
    FakeBroker::serving(endpoint, accept, manners)
}

#[test]
fn over_websocket() {
    let broker = websocket();
    passes(Target::from_url(&format!("ws://{}", broker.endpoint()), &Trust::default()).expect("good"));
}

#[test]
fn over_websocket_over_tls() {
    let authority = Authority::new();
    authority.sign("broker", "127.0.0.1");
    let (endpoint, accept) = authority.listener(&rustls::version::TLS13, false);
    let url = format!("wss://{endpoint}/mqtt");
    let welcomed = move || welcome(accept()?);
    let _broker = FakeBroker::serving(endpoint, welcomed, manners);
    passes(Target::from_url(&url, &authority.trust()).expect("good"));
}

/// Where this broker seems to have a fault of WebSocket's, as long as the man in the middle lives.
fn feigned(name: &str, broker: &FakeBroker) -> (String, Proxy) {
    let fault = FAULTS.iter().copied().flatten().find(|fault| fault.name == name).expect("a fault");
    let proxy = Proxy::start(&Target::new(broker.endpoint()), Face::WebSocket, Some(fault)).expect("a port");
    match proxy.endpoint() {
        Endpoint::WebSocket(below, _) => (format!("ws://{below}"), proxy),
        endpoint => panic!("{endpoint}"),
    }
}

/// The one line that the program says, and its exit code.
fn said(url: &str, deadline: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    let output = command.args(["run", url, "--deadline", deadline]).stdin(Stdio::null()).output();
    let output = output.expect("it starts");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn who_speaks_no_mqtt_over_websocket_is_told_apart_in_one_line() {
    let behind = FakeBroker::start(|_| None);
    let [other, none, texts] =
        ["subprotocol-of-3.1", "subprotocol-missing", "connack-in-text"].map(|name| feigned(name, &behind));
    let good = websocket();
    let raw = FakeBroker::start(|_| Some(vec![Reply::Close]));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (address.to_string(), silent)).expect("bound");
    // Who says so at once has its time, however busy the machine is; the others are waited for.
    for (url, deadline, words) in [
        (other.0, "10s", "must select the subprotocol `mqtt` [MQTT-6.0.0-4]"),
        (none.0, "10s", "must select the subprotocol `mqtt` [MQTT-6.0.0-4]"),
        (texts.0, "3s", "text frame"),
        (format!("ws://{}/elsewhere", good.endpoint()), "10s", "HTTP 404 Not Found instead of 101"),
        (format!("ws://{}", raw.endpoint()), "500ms", "no WebSocket handshake"),
        (format!("ws://{}", silent.0), "500ms", "no answer in time"),
    ] {
        let (code, stderr) = said(&url, deadline);
        assert_eq!(code, Some(3), "{url}: {stderr}");
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{url}: {stderr}");
    }
}

/// A frame of a megabyte that comes byte by byte.
#[test]
fn a_frame_without_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let mut served = welcome(listener.accept().ok()?.0)?;
        let stream = served.socket.get_mut();
        stream.write_all(b"\x82\x7f\0\0\0\0\0\x10\0\0").ok()?;
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(SHORT / 20);
        }
        Some(())
    });
    let mut target = Target::from_url(&url, &Trust::default()).expect("good");
    target.deadline = SHORT;
    let error = target.probe().expect_err("no CONNACK").to_string();
    assert!(error.contains("in time"), "{error}");
}
