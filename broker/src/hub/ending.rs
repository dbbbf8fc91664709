//! Why a connection ends.

use std::borrow::Cow;

use thiserror::Error;

use super::reached::Limit;
use crate::codec::{self, EncodeError, PacketType, Reason, Version};

/// The reason a connection ends, as the log tells it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Ending {
    /// The client said DISCONNECT: the only ending after which its will is not sent.
    #[error("the client disconnected")]
    Disconnect,
    /// The client said DISCONNECT of 5.0 with a reason, and wants its will sent.
    #[error("the client disconnected: {0}")]
    DisconnectWith(Reason),
    /// The network connection closed or failed under it.
    #[error("the connection was closed without DISCONNECT")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Network(std::io::ErrorKind),
    /// The handshake failed, or bytes came that are no TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The handshake failed, or frames came that may not.
    #[error("WebSocket failed: {0}")]
    WebSocket(String),
    /// Bytes that are no valid packet.
    #[error("malformed packet: {0}")]
    Malformed(#[from] codec::Error),
    /// The first packet was another.
    #[error("{0} before CONNECT [MQTT-3.1.0-1]")]
    NotConnected(PacketType),
    /// CONNECT came twice.
    #[error("a second CONNECT [MQTT-3.1.0-2]")]
    SecondConnect,
    /// An answer is larger than a packet can be.
    #[error("no answer can be encoded: {0}")]
    Unanswerable(#[from] EncodeError),
    /// Anything else that 5.0 forbids, or that this broker told the client not to do.
    #[error("{what}")]
    Violation {
        /// The one that DISCONNECT has for it.
        reason: Reason,
        /// What the client did, with the statement it broke.
        what: Cow<'static, str>,
    },
    /// A packet that only servers send.
    #[error("{0}, which only servers send [MQTT-4.8.0-1]")]
    ServerPacket(PacketType),
    /// CONNECT was refused with the code.
    #[error("refused with CONNACK code {}: {reason}", shown(*.version, *.code))]
    Refused {
        /// What the client speaks.
        version: Version,
        /// The code sent in CONNACK, of 5.0; before, its return code.
        code: Reason,
        /// What the client did, or what the broker lacked.
        reason: String,
    },
    /// No CONNECT in time.
    #[error("no CONNECT within the time for it")]
    ConnectTimeout,
    /// No packet for one and a half keep-alive intervals [MQTT-3.1.2-24].
    #[error("no packet for one and a half times the keep alive of {0} s [MQTT-3.1.2-24]")]
    KeepAliveTimeout(u16),
    /// It did not read what was sent to it.
    #[error("the client has read nothing for too long")]
    WriteTimeout,
    /// A new connection uses the client identifier [MQTT-3.1.4-2].
    #[error("another connection took over the client identifier [MQTT-3.1.4-2]")]
    TakenOver,
    /// Memory is short, and the client holds much of it.
    #[error("memory is short, and it holds more than others: see `max_memory`")]
    MemoryShort,
    /// An operator disconnected the client.
    #[error("an operator disconnected it")]
    Dismissed,
    /// The listener that it came by is no more.
    #[error("its listener was taken out of the configuration")]
    ListenerRemoved,
    /// The broker failed while it served this connection.
    #[error("the broker panicked while serving it: this is a bug in the broker")]
    Panicked,
    /// The broker stops.
    #[error("the broker stops")]
    Stopping,
}

impl Ending {
    /// Whether the client did what the standard forbids, or what this broker does not allow.
    pub fn is_violation(&self) -> bool {
        !matches!(
            self,
            Self::Disconnect
                | Self::DisconnectWith(_)
                | Self::Closed
                | Self::Network(_)
                | Self::TakenOver
                | Self::ListenerRemoved
                | Self::Stopping
        )
    }

    /// A word for machines that read the log.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DisconnectWith(_) => "disconnect_with_reason",
            Self::Closed => "closed",
            Self::Network(_) => "network",
            Self::Tls(_) => "tls",
            Self::WebSocket(_) => "websocket",
            Self::Malformed(codec::Error::PacketTooLarge { .. }) => "packet_too_large",
            Self::Malformed(_) => "malformed",
            Self::Refused { code: Reason::BadUserNameOrPassword | Reason::NotAuthorized, .. } => {
                "not_authorized"
            }
            Self::Refused { .. } => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAliveTimeout(_) => "keep_alive_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::TakenOver => "taken_over",
            Self::MemoryShort => "memory_short",
            Self::Dismissed => "dismissed",
            Self::Panicked => "panicked",
            Self::Stopping => "stopping",
            _ => "protocol_error",
        }
    }

    /// The limit that was reached, if that is why.
    pub(super) fn limit(&self) -> Option<Limit> {
        match self {
            Self::Malformed(codec::Error::PacketTooLarge { .. }) => Some(Limit::PacketSize),
            Self::ConnectTimeout => Some(Limit::Silent),
            Self::WriteTimeout => Some(Limit::Unread),
            Self::MemoryShort => Some(Limit::Memory),
            Self::Violation { reason: code, .. } | Self::Refused { code, .. } => match code {
                Reason::TopicNameInvalid => Some(Limit::Topic),
                Reason::QuotaExceeded if matches!(self, Self::Refused { .. }) => Some(Limit::Sessions),
                Reason::ServerUnavailable => Some(Limit::Unavailable),
                Reason::ServerBusy => Some(Limit::Memory),
                Reason::PacketTooLarge => Some(Limit::PacketSize),
                _ => None,
            },
            _ => None,
        }
    }

    /// The one that the server's DISCONNECT of 5.0 has for it; none where there is nobody to be told, or the standard
    /// forbids it.
    pub fn reason(&self) -> Option<Reason> {
        let reason = match self {
            Self::Disconnect | Self::DisconnectWith(_) => return None,
            Self::Closed | Self::Network(_) | Self::Tls(_) | Self::WebSocket(_) | Self::Panicked => {
                return None;
            }
            // Before CONNACK [5.0 MQTT-3.14.0-1].
            Self::NotConnected(_) | Self::Refused { .. } | Self::ConnectTimeout => return None,
            Self::Malformed(error) => error.reason(),
            Self::SecondConnect | Self::ServerPacket(_) => Reason::ProtocolError,
            Self::Violation { reason, .. } => *reason,
            Self::Unanswerable(_) => Reason::ImplementationSpecific,
            Self::KeepAliveTimeout(_) => Reason::KeepAliveTimeout,
            Self::WriteTimeout | Self::MemoryShort => Reason::QuotaExceeded,
            Self::TakenOver => Reason::SessionTakenOver,
            Self::Dismissed => Reason::AdministrativeAction,
            Self::ListenerRemoved | Self::Stopping => Reason::ServerShuttingDown,
        };
        // A second CONNECT, for one, can be broken in ways that only CONNACK has a code for.
        Some(if reason.may_stand_in(PacketType::Disconnect) { reason } else { Reason::ProtocolError })
    }
}

/// A code of CONNACK as its version has it.
fn shown(version: Version, code: Reason) -> String {
    match version {
        Version::V5 => format!("{:#04x} ({code})", u8::from(code)),
        Version::V31 | Version::V311 => code.return_code().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_be_told_is_told_the_code_for_it() {
        let violation = Ending::Violation { reason: Reason::ReceiveMaximumExceeded, what: "too many".into() };
        for (ending, reason) in [
            (Ending::Malformed(codec::Error::RemainingLength), Reason::MalformedPacket),
            (Ending::Malformed(codec::Error::PacketTooLarge { length: 2, limit: 1 }), Reason::PacketTooLarge),
            // Only CONNACK has 0x84.
            (Ending::Malformed(codec::Error::ProtocolName), Reason::ProtocolError),
            (Ending::SecondConnect, Reason::ProtocolError),
            (Ending::ServerPacket(PacketType::Suback), Reason::ProtocolError),
            (violation, Reason::ReceiveMaximumExceeded),
            (Ending::KeepAliveTimeout(1), Reason::KeepAliveTimeout),
            (Ending::WriteTimeout, Reason::QuotaExceeded),
            (Ending::MemoryShort, Reason::QuotaExceeded),
            (Ending::TakenOver, Reason::SessionTakenOver),
            (Ending::Dismissed, Reason::AdministrativeAction),
            (Ending::ListenerRemoved, Reason::ServerShuttingDown),
            (Ending::Stopping, Reason::ServerShuttingDown),
        ] {
            assert_eq!(ending.reason(), Some(reason), "{ending}");
        }
        let refused =
            Ending::Refused { version: Version::V5, code: Reason::Banned, reason: "banned".to_owned() };
        for ending in [
            Ending::Disconnect,
            Ending::DisconnectWith(Reason::DisconnectWithWill),
            Ending::Closed,
            Ending::Network(std::io::ErrorKind::TimedOut),
            Ending::NotConnected(PacketType::Publish),
            Ending::ConnectTimeout,
            Ending::Panicked,
            refused,
        ] {
            assert_eq!(ending.reason(), None, "{ending}");
        }
    }

    #[test]
    fn a_refusal_is_shown_as_its_version_has_it() {
        let refused =
            |version| Ending::Refused { version, code: Reason::NotAuthorized, reason: "who?".to_owned() };
        assert_eq!(refused(Version::V311).to_string(), "refused with CONNACK code 5: who?");
        assert_eq!(refused(Version::V5).to_string(), "refused with CONNACK code 0x87 (Not authorized): who?");
    }
}
