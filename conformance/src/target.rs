//! The broker under test.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::actor::Plain;
use crate::frame::{Kind, Packet};
use crate::scenario::CAPABILITIES;

/// How long a `<` step waits unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// A broker, and what is known of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// How long a `<` step waits.
    pub deadline: Duration,
    /// What it is capable of, of [`CAPABILITIES`].
    pub capabilities: HashSet<String>,
    /// Whether it makes Sol's promises.
    pub promises: bool,
}

/// Why a target cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not of the form `mqtt://host:port`.
    #[error("{0:?} is not of the form mqtt://host:port")]
    Url(String),
    /// The host has no address.
    #[error("{host} has no address: {reason}")]
    Unknown {
        /// The host as written.
        host: String,
        /// Why.
        reason: std::io::Error,
    },
    /// Nobody answers.
    #[error("nothing answers at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// Somebody answers, but not as a broker that takes us in.
    #[error("{address} does not answer CONNECT as an open MQTT 3.1.1 broker does: {actual}")]
    NotMqtt {
        /// Where.
        address: SocketAddr,
        /// What it did.
        actual: String,
    },
}

impl Target {
    /// A broker at this address which has all that the standard takes for granted.
    pub fn new(address: SocketAddr) -> Self {
        let usual = CAPABILITIES.iter().filter(|(_, usual)| *usual);
        let capabilities = usual.map(|(name, _)| (*name).to_owned()).collect();
        Target { address, deadline: DEADLINE, capabilities, promises: false }
    }

    /// The broker at `mqtt://host:port`; without `:port`, 1883.
    ///
    /// # Errors
    /// Another form, or a host without an address.
    pub fn from_url(url: &str) -> Result<Self, TargetError> {
        let authority = url.strip_prefix("mqtt://").or_else(|| url.strip_prefix("tcp://"));
        let authority = authority.map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.is_empty());
        let host = authority.ok_or_else(|| TargetError::Url(url.to_owned()))?;
        let with_port = match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            Some((_, port)) if !port.ends_with(']') => return Err(TargetError::Url(url.to_owned())),
            _ => format!("{host}:1883"),
        };
        let unknown = |reason| TargetError::Unknown { host: host.to_owned(), reason };
        let none = || unknown(std::io::ErrorKind::NotFound.into());
        let address = with_port.to_socket_addrs().map_err(unknown)?.next().ok_or_else(none)?;
        Ok(Self::new(address))
    }

    /// Adds the words of `BROKER_HAS`, takes away those of `BROKER_LACKS` and sets the deadline of
    /// `CONFORMANCE_DEADLINE_MS`, read through `variable`.
    #[must_use]
    pub fn configured(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let words = |name| {
            variable(name)
                .unwrap_or_default()
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect::<Vec<_>>()
        };
        self.capabilities.extend(words("BROKER_HAS"));
        for word in words("BROKER_LACKS") {
            self.capabilities.remove(&word);
        }
        let deadline = variable("CONFORMANCE_DEADLINE_MS").and_then(|text| text.parse().ok());
        self.deadline = deadline.map_or(self.deadline, Duration::from_millis);
        self
    }

    /// Says once, before any scenario, whether there is a broker at all.
    ///
    /// # Errors
    /// Nothing answers, or not as a broker which takes in a client without a name.
    pub fn probe(&self) -> Result<(), TargetError> {
        let stream = TcpStream::connect_timeout(&self.address, self.deadline)
            .map_err(|reason| TargetError::Unreachable { address: self.address, reason })?;
        let not_mqtt = |actual| TargetError::NotMqtt { address: self.address, actual };
        let mut plain = Plain::over(stream, self.deadline).map_err(not_mqtt)?;
        plain.send(&Packet::new(Kind::Connect).with("client_id", "conformanceprobe")).map_err(not_mqtt)?;
        let answer = plain.receive().map_err(not_mqtt)?;
        if answer.kind != Kind::Connack || answer.number("reason") != Some(0) {
            return Err(not_mqtt(format!("it sends {answer}")));
        }
        plain.send(&Packet::new(Kind::Disconnect)).map_err(not_mqtt)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn reads_urls() {
        let address = |url| Target::from_url(url).map(|target| target.address.to_string());
        assert_eq!(address("mqtt://127.0.0.1:1884").expect("good"), "127.0.0.1:1884");
        assert_eq!(address("mqtt://127.0.0.1").expect("good"), "127.0.0.1:1883");
        assert_eq!(address("mqtt://[::1]").expect("good"), "[::1]:1883");
        for bad in ["127.0.0.1:1883", "http://127.0.0.1", "mqtt://", "mqtt://127.0.0.1:port"] {
            assert!(matches!(address(bad), Err(TargetError::Url(_))), "{bad}");
        }
    }

    #[test]
    fn reads_what_the_target_has() {
        let variable = |name: &str| match name {
            "BROKER_HAS" => Some("acl, sys".to_owned()),
            "BROKER_LACKS" => Some("wildcards".to_owned()),
            "CONFORMANCE_DEADLINE_MS" => Some("5000".to_owned()),
            _ => None,
        };
        let target = Target::from_url("mqtt://127.0.0.1").expect("good").configured(variable);
        assert_eq!(target.deadline, Duration::from_secs(5));
        assert_eq!(target.capabilities, ["acl", "sys", "retain", "large-packets"].map(str::to_owned).into());
    }

    #[test]
    fn says_that_nothing_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Target::new(listener.local_addr().expect("bound"));
        drop(listener);
        let error = target.probe().expect_err("nobody is there").to_string();
        assert!(error.starts_with(&format!("nothing answers at {}", target.address)), "{error}");
    }

    #[test]
    fn says_that_it_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Target::new(listener.local_addr().expect("bound"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
            stream
        });
        let error = target.probe().expect_err("no broker").to_string();
        assert!(error.contains("does not answer CONNECT as an open MQTT 3.1.1 broker does"), "{error}");
        drop(server.join());
    }
}
