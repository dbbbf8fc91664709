//! The broker under test.

mod url;

use std::collections::HashSet;
use std::time::Duration;

use crate::Version;
use crate::actor::Plain;
use crate::frame::{Kind, Packet};
use crate::instance::{Launch, LaunchError, Restarts, Turn};
use crate::run;
use crate::scenario::{CAPABILITIES, Scenario, WEBSOCKET};
use crate::transport::{Endpoint, TlsError, Trust};

/// How long a `<` step waits unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// A broker, and what is known of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// As whom to come, if it asks.
    pub credentials: Option<Credentials>,
    /// How long a `<` step waits.
    pub deadline: Duration,
    /// What it speaks.
    pub versions: Vec<Version>,
    /// What it is capable of, of [`CAPABILITIES`].
    pub capabilities: HashSet<String>,
    /// Whether it makes Sol's promises.
    pub promises: bool,
    /// Whom scenarios may restart, if anybody.
    pub restarts: Option<Restarts>,
}

/// A user whom the broker lets in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password, if there is one.
    pub password: Option<Vec<u8>>,
}

/// Without the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Adds them to a CONNECT.
    pub fn sign(&self, connect: &mut Packet) {
        connect.fields.push(("username", self.username.as_str().into()));
        connect.fields.extend(self.password.clone().map(|password| ("password", password.into())));
    }
}

/// Why a target cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not of a known form. The URL is without its password.
    #[error(
        "{0:?} is not of the form mqtt://[user[:password]@]host[:port], mqtts://…, ws://…[/path], wss://… or unix:///path"
    )]
    Url(String),
    /// The host has no address.
    #[error("{host} has no address: {reason}")]
    Unknown {
        /// The host as written.
        host: String,
        /// Why.
        reason: std::io::Error,
    },
    /// TLS cannot be spoken as told.
    #[error("no TLS: {0}")]
    Tls(#[from] TlsError),
    /// A password without a user name.
    #[error("BROKER_PASSWORD without BROKER_USERNAME")]
    PasswordAlone,
    /// Nobody answers.
    #[error("no connection to {endpoint}: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why.
        reason: std::io::Error,
    },
    /// A broker that does not let us in.
    #[error("{endpoint} {}: CONNACK reason={reason}", match username {
        Some(username) => format!("refuses the user {username:?} with this password"),
        None => "wants credentials (BROKER_USERNAME, BROKER_PASSWORD)".to_owned(),
    })]
    Refused {
        /// Where.
        endpoint: String,
        /// As whom we came.
        username: Option<String>,
        /// 4 or 5; in 5.0 0x86 or 0x87.
        reason: u64,
    },
    /// Somebody answers, but not as a broker that takes us in.
    #[error("{endpoint} does not answer CONNECT as an MQTT 3.1.1 broker does: {actual}")]
    NotMqtt {
        /// Where.
        endpoint: String,
        /// What it did.
        actual: String,
    },
}

impl Target {
    /// An open broker of every version which has all that the standard takes for granted.
    pub fn new(endpoint: impl Into<Endpoint>) -> Self {
        let usual = CAPABILITIES.iter().filter(|capability| capability.usual);
        let mut capabilities: HashSet<_> = usual.map(|capability| capability.name.to_owned()).collect();
        let endpoint = endpoint.into();
        if matches!(endpoint, Endpoint::WebSocket(..)) {
            capabilities.insert(WEBSOCKET.to_owned());
        }
        let versions = Version::ALL.to_vec();
        Target {
            endpoint,
            credentials: None,
            deadline: DEADLINE,
            versions,
            capabilities,
            promises: false,
            restarts: None,
        }
    }

    /// The broker at `mqtt://[user[:password]@]host[:port]` (port 1883), `mqtts://…` (port 8883), `ws://…[/path]` (port 80,
    /// path `/mqtt`), `wss://…` (port 443) or `unix:///path`.
    ///
    /// # Errors
    /// Another form, a host without an address, or files for TLS that cannot be used.
    pub fn from_url(url: &str, trust: &Trust) -> Result<Self, TargetError> {
        let (endpoint, credentials) = url::parse(url, trust)?;
        let target = Self::new(endpoint);
        Ok(match credentials {
            Some(credentials) => target.with_credentials(credentials),
            None => target,
        })
    }

    /// The URL as it may be shown: without its password.
    pub fn shown(url: &str) -> String {
        url::without_password(url)
    }

    /// The same broker, which lets this user in with this password and with no other.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        match credentials.password {
            Some(_) => self.capabilities.insert("passwords".to_owned()),
            None => self.capabilities.remove("passwords"),
        };
        self.credentials = Some(credentials);
        self.capabilities.remove("open");
        self
    }

    /// Takes the credentials of `BROKER_USERNAME` and `BROKER_PASSWORD`, adds the words of `BROKER_HAS`, takes away those
    /// of `BROKER_LACKS` and sets the deadline of `CONFORMANCE_DEADLINE_MS`, read through `variable`.
    ///
    /// # Errors
    /// A password without a user name.
    pub fn configured(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, TargetError> {
        match (variable("BROKER_USERNAME"), variable("BROKER_PASSWORD").map(String::into_bytes)) {
            (Some(username), password) => self = self.with_credentials(Credentials { username, password }),
            (None, None) => {}
            (None, Some(password)) => match &mut self.credentials {
                Some(Credentials { username, .. }) => {
                    let username = std::mem::take(username);
                    self = self.with_credentials(Credentials { username, password: Some(password) });
                }
                None => return Err(TargetError::PasswordAlone),
            },
        }
        let words = |name| {
            variable(name)
                .unwrap_or_default()
                .split(',')
                .map(|word| word.trim().to_owned())
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
        };
        self.capabilities.extend(words("BROKER_HAS"));
        for word in words("BROKER_LACKS") {
            self.capabilities.remove(&word);
        }
        let deadline = variable("CONFORMANCE_DEADLINE_MS").and_then(|text| text.parse().ok());
        self.deadline = deadline.map_or(self.deadline, Duration::from_millis);
        Ok(self)
    }

    /// The broker that this command starts, words as in a shell, at the place of this target. See [`Launch`].
    ///
    /// # Errors
    /// It does not start, or does not accept connections within `patience`.
    pub fn started(self, command: &str, patience: Duration) -> Result<Self, LaunchError> {
        let launch = Launch::parse(command, self.endpoint.clone())?.with_patience(patience);
        Ok(Target { restarts: Some(Restarts::start(launch)?), ..self })
    }

    /// The broker that this scenario is to have for itself, if so, and which lives as long as this target.
    ///
    /// # Errors
    /// It does not start.
    pub fn owned(&self, scenario: &Scenario) -> Result<Option<Target>, LaunchError> {
        let own = self.restarts.as_ref().map(|restarts| restarts.own(scenario)).transpose()?.flatten();
        let target = own.map(|instance| {
            let endpoint = instance.endpoint().clone();
            Target { endpoint, restarts: Some(Restarts::This(instance)), ..self.clone() }
        });
        Ok(target)
    }

    /// How often it was restarted by the kit.
    pub(crate) fn restarted(&self) -> u64 {
        match &self.restarts {
            Some(Restarts::This(instance)) => instance.restarts(),
            Some(Restarts::Own { .. }) | None => 0,
        }
    }

    /// Waits until this scenario may run. Who restarts the broker runs alone.
    pub(crate) fn turn(&self, scenario: &Scenario) -> Option<Turn<'_>> {
        match &self.restarts {
            Some(Restarts::This(instance)) => Some(instance.turn(scenario.restarts())),
            Some(Restarts::Own { .. }) | None => None,
        }
    }

    /// Says once, before any scenario, whether there is a broker at all, and finds out which versions it speaks and whether
    /// it takes clients without an identifier and asks everybody for credentials.
    ///
    /// # Errors
    /// Nothing answers, or not as a broker which takes us in.
    pub fn probe(&mut self) -> Result<(), TargetError> {
        let not_mqtt = |actual| TargetError::NotMqtt { endpoint: self.endpoint.to_string(), actual };
        // Nobody else's, so that two runs at once do not take over each other's connections.
        let id = run::token() + "hello";
        let mut version = Version::V3_1_1;
        let mut answer = self.ask(version, &id, self.credentials.as_ref());
        // Perhaps it speaks 5.0 alone.
        if matches!(answer, Ok(1) | Err(TargetError::NotMqtt { .. })) {
            let newer = self.ask(Version::V5_0, &id, self.credentials.as_ref());
            if newer.is_ok() {
                (version, answer) = (Version::V5_0, newer);
            }
        }
        match answer? {
            0 => {}
            reason @ (4 | 5 | 0x86 | 0x87) => {
                let username = self.credentials.as_ref().map(|credentials| credentials.username.clone());
                return Err(TargetError::Refused { endpoint: self.endpoint.to_string(), username, reason });
            }
            reason => return Err(not_mqtt(format!("it sends CONNACK reason={reason}"))),
        }
        // Closing without a word refuses as well.
        if matches!(self.ask(version, "", self.credentials.as_ref()), Ok(0)) {
            self.capabilities.insert("empty-client-id".to_owned());
        }
        if self.credentials.is_some() && !matches!(self.ask(version, &id, None), Ok(0)) {
            self.capabilities.insert("closed".to_owned());
        }
        let others = Version::ALL.into_iter().filter(|other| *other > version);
        let spoken = others.filter(|other| matches!(self.ask(*other, &id, self.credentials.as_ref()), Ok(0)));
        self.versions = std::iter::once(version).chain(spoken).collect();
        Ok(())
    }

    /// The code with which a client is answered.
    fn ask(
        &self,
        version: Version,
        client_id: &str,
        credentials: Option<&Credentials>,
    ) -> Result<u64, TargetError> {
        let endpoint = || self.endpoint.to_string();
        let transport = self
            .endpoint
            .connect(self.deadline)
            .map_err(|reason| TargetError::Unreachable { endpoint: endpoint(), reason })?;
        let not_mqtt = |actual| TargetError::NotMqtt { endpoint: endpoint(), actual };
        let mut plain = Plain::over(transport, version, self.deadline).map_err(not_mqtt)?;
        let mut connect = Packet::new(Kind::Connect).with("client_id", client_id);
        if let Some(credentials) = credentials {
            credentials.sign(&mut connect);
        }
        plain.send(&connect).map_err(not_mqtt)?;
        let answer = plain.receive().map_err(not_mqtt)?;
        match (answer.kind, answer.number("reason")) {
            (Kind::Connack, Some(reason)) => {
                if reason == 0 {
                    plain.send(&Packet::new(Kind::Disconnect)).map_err(not_mqtt)?;
                }
                Ok(reason)
            }
            _ => Err(not_mqtt(format!("it sends {answer}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::*;

    fn nowhere() -> Target {
        Target::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    #[test]
    fn reads_what_the_target_has() {
        let variable = |name: &str| match name {
            "BROKER_HAS" => Some("acl, sys".to_owned()),
            "BROKER_LACKS" => Some("wildcards".to_owned()),
            "CONFORMANCE_DEADLINE_MS" => Some("5000".to_owned()),
            _ => None,
        };
        let target = nowhere().configured(variable).expect("good");
        assert_eq!(target.deadline, Duration::from_secs(5));
        let has = |word: &str| target.capabilities.contains(word);
        assert!(has("acl") && has("sys") && has("retain") && !has("wildcards"));
    }

    #[test]
    fn reads_the_credentials() {
        let of = |url: &str, username: Option<&str>, password: Option<&str>| {
            let target = Target::from_url(url, &Trust::default()).expect("good");
            target.configured(|name| match name {
                "BROKER_USERNAME" => username.map(str::to_owned),
                "BROKER_PASSWORD" => password.map(str::to_owned),
                _ => None,
            })
        };
        let known = |target: Result<Target, _>| {
            let target = target.expect("good");
            let credentials = target.credentials.expect("some");
            assert_eq!(target.capabilities.contains("passwords"), credentials.password.is_some());
            assert!(!target.capabilities.contains("open"));
            credentials
        };
        let some = |username: &str, password: Option<&str>| Credentials {
            username: username.to_owned(),
            password: password.map(|text| text.as_bytes().to_vec()),
        };
        assert_eq!(known(of("mqtt://u:p@127.0.0.1", None, None)), some("u", Some("p")));
        assert_eq!(known(of("mqtt://u@127.0.0.1", None, Some("q"))), some("u", Some("q")));
        assert_eq!(known(of("mqtt://u:p@127.0.0.1", Some("v"), None)), some("v", None));
        assert_eq!(known(of("mqtt://127.0.0.1", Some("v"), Some("q"))), some("v", Some("q")));
        let alone = of("mqtt://127.0.0.1", None, Some("q"));
        assert!(matches!(alone, Err(TargetError::PasswordAlone)), "{alone:?}");
        assert!(!format!("{:?}", some("u", Some("secret"))).contains("secret"));
    }

    #[test]
    fn says_that_nothing_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut target = Target::new(listener.local_addr().expect("bound"));
        drop(listener);
        let error = target.probe().expect_err("nobody is there").to_string();
        assert!(error.starts_with(&format!("no connection to {}", target.endpoint)), "{error}");
    }

    /// What the probe says of a server that answers each connection's CONNECT with the next of these.
    fn probed(answers: &'static [&'static [u8]], mut target: Target) -> (Target, Result<(), String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        target.endpoint = listener.local_addr().expect("bound").into();
        let server = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a client");
                let _ = stream.read(&mut [0; 256]).expect("a CONNECT");
                stream.write_all(answer).expect("written");
            }
        });
        let said = target.probe().map_err(|error| error.to_string());
        server.join().expect("no panic");
        (target, said)
    }

    #[test]
    fn says_that_it_is_no_broker() {
        let error = probed(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], nowhere()).1.expect_err("no broker");
        assert!(error.contains("does not answer CONNECT as an MQTT 3.1.1 broker does"), "{error}");
    }

    #[test]
    fn says_who_is_not_let_in() {
        let error = probed(&[&[0x20, 2, 0, 5]], nowhere()).1.expect_err("refused");
        assert!(error.contains("wants credentials (BROKER_USERNAME, BROKER_PASSWORD)"), "{error}");
        let credentials = Credentials { username: "u".to_owned(), password: Some(b"secret".to_vec()) };
        let error =
            probed(&[&[0x20, 2, 0, 4]], nowhere().with_credentials(credentials)).1.expect_err("refused");
        assert!(error.contains("refuses the user \"u\" with this password: CONNACK reason=4"), "{error}");
    }

    #[test]
    fn finds_out_who_is_taken_in() {
        let known = || {
            let credentials = Credentials { username: "u".to_owned(), password: None };
            nowhere().with_credentials(credentials)
        };
        let (open, said) = probed(&[&[0x20, 2, 0, 0], &[0x20, 2, 0, 2], &[0x20, 2, 0, 0]], known());
        assert!(said.is_ok() && !open.capabilities.contains("closed"), "{said:?}");
        assert!(!open.capabilities.contains("empty-client-id"));
        let (closed, said) = probed(&[&[0x20, 2, 0, 0], &[0x20, 2, 0, 0], &[0x20, 2, 0, 5]], known());
        assert!(closed.capabilities.contains("empty-client-id"));
        assert!(said.is_ok() && closed.capabilities.contains("closed"), "{said:?}");
    }
}
