//! The broker of this repository, in this process, and beside it for scenarios that kill it.

pub(crate) mod process;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use conformance::instance::{Launch, Restarts};
use conformance::target::{Credentials, Target};
use conformance::transport::{Endpoint, Trust};
use tempfile::{NamedTempFile, TempDir};

/// The broker of this repository, as often as there are configurations to be tested.
pub(crate) struct Bundled {
    brokers: Vec<sol::Broker>,
    _files: [NamedTempFile; 4],
    _store: TempDir,
}

/// A user of the bundled broker, and how it knows the password: `openssl passwd -6`, with as few rounds as there can be.
const USERNAME: &str = "kit";
const PASSWORD: &str = "right pässword";
const HASH: &str = "$6$rounds=1000$conformancekit$9uHst4tWf.GvmJB/X6K7dyyGkEVbPbpGiG/V8K3ClBvkOKGPbtI2ZH2hrhfgn7Z9HhTVQ0uh.ZPXgSIDNnGJd/";
/// The same for clients that may log in by SCRAM, too: `sol passwd -H scram-sha-256`, with as few iterations.
const SECRET: &str = "SCRAM-SHA-256$4096:Y29uZm9ybWFuY2Uga2l0Lg==$ARLOGdHRIi70PrNXNclYghS7g+HFV4Y2ypbcMdWnvvg=:4rGrNGsUQIjtMc9OaUZ9bYu5WuA49qDwSpfIi4UqmkU=";

/// Brokers beside the usual one, so that whatever a scenario `needs`, one of them has it. What each has is found out, as it
/// is of any broker; a scenario runs against the first that does.
const OTHERS: [fn(sol::Limits) -> sol::Limits; 3] = [narrow, bare, strict];

/// One that has everything, within limits that CONNACK tells of.
fn narrow(limits: sol::Limits) -> sol::Limits {
    sol::Limits {
        max_packet_bytes: 64 << 10,
        max_qos: sol::codec::QoS::AtLeastOnce,
        max_received_messages: 10,
        max_topic_alias: 3,
        max_keep_alive: NonZeroU16::new(2),
        max_session_expiry: Some(Duration::from_secs(5)),
        ..limits
    }
}

/// One that looks at payloads, and takes few QoS 2 messages at once.
fn strict(limits: sol::Limits) -> sol::Limits {
    sol::Limits { check_payload_format: true, max_received_messages: 5, ..limits }
}

/// One that lacks what it may lack.
fn bare(limits: sol::Limits) -> sol::Limits {
    sol::Limits {
        max_qos: sol::codec::QoS::AtMostOnce,
        retain_available: false,
        max_topic_alias: 0,
        wildcard_available: false,
        shared_available: false,
        subscription_ids_available: false,
        ..limits
    }
}

/// A certificate that nobody signed, and its key.
fn identity() -> Result<[NamedTempFile; 2], String> {
    let error = |error: &dyn std::fmt::Display| format!("no certificate: {error}");
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|e| error(&e))?;
    let file = |pem: String| -> std::io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new()?;
        file.write_all(pem.as_bytes())?;
        Ok(file)
    };
    let files = [file(cert.pem()), file(signing_key.serialize_pem())].map(|file| file.map_err(|e| error(&e)));
    let [certificate, key] = files;
    Ok([certificate?, key?])
}

impl Bundled {
    /// The usual one stores what it acknowledges, the others keep nothing. It is open at one port, which is the first
    /// target, closed at another, and closed with SCRAM at a third: looking at passwords takes time. It speaks WebSocket,
    /// without and with TLS, at two more. The last target has scenarios restart brokers that keep nothing.
    pub(crate) fn start() -> Result<(Self, Vec<Target>), String> {
        let password_file = |known: &str| -> Result<NamedTempFile, String> {
            let file = || -> std::io::Result<NamedTempFile> {
                let mut file = NamedTempFile::new()?;
                writeln!(file, "{USERNAME}:{known}")?;
                Ok(file)
            };
            file().map_err(|error| format!("no password file: {error}"))
        };
        let passwords = [password_file(HASH)?, password_file(SECRET)?];
        let identity = identity()?;
        let anywhere = || sol::config::Listener::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let [closed, scram] = passwords.each_ref().map(|passwords| sol::config::Listener {
            allow_anonymous: false,
            password_file: Some(passwords.path().to_owned()),
            ..anywhere()
        });
        let usual = sol::Limits::default();
        let limits = sol::Limits {
            // Room for the scenarios that need `large-packets`.
            max_packet_bytes: 4 << 20,
            // They are many who come with wrong passwords from one address.
            login_delay: sol::auth::DelayLimits { longest: Duration::from_millis(10), ..usual.login_delay },
            ..usual
        };
        let websocket = sol::config::WebSocket { path: Some("/mqtt".to_owned()), origins: Vec::new() };
        let websocket = sol::config::Listener { websocket: Some(websocket), ..anywhere() };
        let [certfile, keyfile] = identity.each_ref().map(|file| file.path().to_owned());
        let tls = sol::config::Tls {
            certfile,
            keyfile,
            cafile: None,
            require_certificate: false,
            versions: sol::config::TlsVersions::V1_2AndV1_3,
        };
        let secure = sol::config::Listener { tls: Some(tls), ..websocket.clone() };
        let listeners = vec![anywhere(), closed, scram, websocket, secure];
        let store = TempDir::new().map_err(|error| format!("no directory to store in: {error}"))?;
        let persistence = Some(sol::config::Persistence::at(store.path()));
        let mut configurations =
            vec![sol::Config { listeners, limits, persistence, ..sol::Config::default() }];
        configurations.extend(OTHERS.map(|change| sol::Config {
            listeners: vec![anywhere()],
            limits: change(sol::Limits::default()),
            response_information: Some("replies/".to_owned()),
            ..sol::Config::default()
        }));
        let start = |config| {
            sol::Broker::start(config).map_err(|error| format!("the bundled broker does not start: {error}"))
        };
        let brokers = configurations.into_iter().map(start).collect::<Result<Vec<_>, String>>()?;

        let mut targets: Vec<_> =
            brokers.iter().flat_map(sol::Broker::local_addrs).map(Target::new).collect();
        let credentials =
            Credentials { username: USERNAME.to_owned(), password: Some(PASSWORD.as_bytes().to_vec()) };
        for closed in targets.iter_mut().skip(1).take(2) {
            *closed = closed.clone().with_credentials(credentials.clone());
        }
        for (target, scheme) in targets.extract_if(3..5, |_| true).zip(["ws", "wss"]).collect::<Vec<_>>() {
            let url = format!("{scheme}://{}/mqtt", target.endpoint);
            let target = Target::from_url(&url, &Trust { insecure: true, ..Trust::default() });
            targets.push(target.map_err(|error| error.to_string())?);
        }
        targets.iter_mut().for_each(|target| target.promises = true);
        // Scenarios that restart a broker each have one of their own. What needs one that keeps nothing has that.
        let restarts = |is_durable| -> Result<Restarts, String> {
            let anywhere = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            let launch = Launch::of(process::command(is_durable)?, anywhere);
            Ok(Restarts::Own { launch: launch.map_err(|error| error.to_string())?, usual: None })
        };
        if let Some(usual) = targets.first_mut() {
            usual.restarts = Some(restarts(true)?);
            let mut forgetful = Target { restarts: Some(restarts(false)?), ..usual.clone() };
            forgetful.capabilities.remove("durable");
            forgetful.capabilities.insert("no-durable".to_owned());
            targets.push(forgetful);
        }
        let ([hash, secret], [certificate, key]) = (passwords, identity);
        Ok((Bundled { brokers, _files: [hash, secret, certificate, key], _store: store }, targets))
    }

    pub(crate) fn stop(self) {
        self.brokers.into_iter().for_each(sol::Broker::stop);
    }
}
