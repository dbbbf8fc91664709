//! Reason codes (§2.4), and the packets that each may stand in.

use std::fmt;

use super::Error;
use super::fixed_header::PacketType;
use super::fixed_header::sets::*;

/// One row a code: its number, its name in the standard, and the packets that may carry it.
macro_rules! reasons {
    ($($number:literal $reason:ident $name:literal in $packets:expr;)+) => {
        /// What became of a request (§2.4). Its `u8` is its number, its `Display` its name in the standard.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub enum Reason {
            /// Success. In DISCONNECT: Normal disconnection.
            #[default]
            Success = 0,
            $(#[doc = concat!($name, ".")] $reason = $number,)+
        }

        impl Reason {
            /// The name in the standard.
            fn name(self) -> &'static str {
                match self {
                    Reason::Success => "Success",
                    $(Reason::$reason => $name,)+
                }
            }

            /// The set of packets that may carry it.
            fn packets(self) -> u16 {
                match self {
                    Reason::Success => {
                        CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH
                    }
                    $(Reason::$reason => $packets,)+
                }
            }
        }

        impl TryFrom<u8> for Reason {
            type Error = UnknownReason;

            fn try_from(number: u8) -> Result<Self, UnknownReason> {
                match number {
                    0 => Ok(Reason::Success),
                    $($number => Ok(Reason::$reason),)+
                    _ => Err(UnknownReason(number)),
                }
            }
        }
    };
}

reasons! {
    0x01 GrantedQos1 "Granted QoS 1" in SUBACK;
    0x02 GrantedQos2 "Granted QoS 2" in SUBACK;
    0x04 DisconnectWithWill "Disconnect with Will Message" in DISCONNECT;
    0x10 NoMatchingSubscribers "No matching subscribers" in PUBACK | PUBREC;
    0x11 NoSubscriptionExisted "No subscription existed" in UNSUBACK;
    0x18 ContinueAuthentication "Continue authentication" in AUTH;
    0x19 ReAuthenticate "Re-authenticate" in AUTH;
    0x80 Unspecified "Unspecified error" in CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x81 MalformedPacket "Malformed Packet" in CONNACK | DISCONNECT;
    0x82 ProtocolError "Protocol Error" in CONNACK | DISCONNECT;
    0x83 ImplementationSpecific "Implementation specific error"
        in CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x84 UnsupportedProtocolVersion "Unsupported Protocol Version" in CONNACK;
    0x85 ClientIdentifierNotValid "Client Identifier not valid" in CONNACK;
    0x86 BadUserNameOrPassword "Bad User Name or Password" in CONNACK;
    0x87 NotAuthorized "Not authorized" in CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x88 ServerUnavailable "Server unavailable" in CONNACK;
    0x89 ServerBusy "Server busy" in CONNACK | DISCONNECT;
    0x8a Banned "Banned" in CONNACK;
    0x8b ServerShuttingDown "Server shutting down" in DISCONNECT;
    0x8c BadAuthenticationMethod "Bad authentication method" in CONNACK | DISCONNECT;
    0x8d KeepAliveTimeout "Keep Alive timeout" in DISCONNECT;
    0x8e SessionTakenOver "Session taken over" in DISCONNECT;
    0x8f TopicFilterInvalid "Topic Filter invalid" in SUBACK | UNSUBACK | DISCONNECT;
    0x90 TopicNameInvalid "Topic Name invalid" in CONNACK | PUBACK | PUBREC | DISCONNECT;
    0x91 PacketIdentifierInUse "Packet Identifier in use" in PUBACK | PUBREC | SUBACK | UNSUBACK;
    0x92 PacketIdentifierNotFound "Packet Identifier not found" in PUBREL | PUBCOMP;
    0x93 ReceiveMaximumExceeded "Receive Maximum exceeded" in DISCONNECT;
    0x94 TopicAliasInvalid "Topic Alias invalid" in DISCONNECT;
    0x95 PacketTooLarge "Packet too large" in CONNACK | DISCONNECT;
    0x96 MessageRateTooHigh "Message rate too high" in DISCONNECT;
    0x97 QuotaExceeded "Quota exceeded" in CONNACK | PUBACK | PUBREC | SUBACK | DISCONNECT;
    0x98 AdministrativeAction "Administrative action" in DISCONNECT;
    0x99 PayloadFormatInvalid "Payload format invalid" in CONNACK | PUBACK | PUBREC | DISCONNECT;
    0x9a RetainNotSupported "Retain not supported" in CONNACK | DISCONNECT;
    0x9b QosNotSupported "QoS not supported" in CONNACK | DISCONNECT;
    0x9c UseAnotherServer "Use another server" in CONNACK | DISCONNECT;
    0x9d ServerMoved "Server moved" in CONNACK | DISCONNECT;
    0x9e SharedSubscriptionsNotSupported "Shared Subscriptions not supported" in SUBACK | DISCONNECT;
    0x9f ConnectionRateExceeded "Connection rate exceeded" in CONNACK | DISCONNECT;
    0xa0 MaximumConnectTime "Maximum connect time" in DISCONNECT;
    0xa1 SubscriptionIdentifiersNotSupported "Subscription Identifiers not supported" in SUBACK | DISCONNECT;
    0xa2 WildcardSubscriptionsNotSupported "Wildcard Subscriptions not supported" in SUBACK | DISCONNECT;
}

/// A number that is none of [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("reason code {0:#04x} does not exist")]
pub struct UnknownReason(pub u8);

impl Reason {
    /// Whether the request failed: 0x80 and above.
    pub fn is_error(self) -> bool {
        u8::from(self) >= 0x80
    }

    /// Whether the standard lets `packet` carry it; in SUBACK, `Success` is Granted QoS 0.
    pub fn may_stand_in(self, packet: PacketType) -> bool {
        self.packets() & packet.bit() != 0
    }

    /// The return code that CONNACK of 3.1 and 3.1.1 has for it (3.1.1, §3.2.2.3): 0 to 5.
    pub fn return_code(self) -> u8 {
        match self {
            Reason::Success => 0,
            Reason::UnsupportedProtocolVersion => 1,
            Reason::ClientIdentifierNotValid => 2,
            Reason::BadUserNameOrPassword => 4,
            Reason::NotAuthorized | Reason::Banned | Reason::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// What a return code of 3.1 and 3.1.1 means.
    pub(super) fn of_return_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            0 => Reason::Success,
            1 => Reason::UnsupportedProtocolVersion,
            2 => Reason::ClientIdentifierNotValid,
            3 => Reason::ServerUnavailable,
            4 => Reason::BadUserNameOrPassword,
            5 => Reason::NotAuthorized,
            _ => return Err(Error::ReturnCode(code)),
        })
    }

    /// The reason code of a `packet`.
    pub(super) fn decode(packet: PacketType, code: u8) -> Result<Self, Error> {
        let reason = Reason::try_from(code).map_err(|_| Error::ReasonCode { packet, code })?;
        reason.check(packet)?;
        Ok(reason)
    }

    // [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2]
    // [MQTT-3.14.2-1] [MQTT-3.15.2-1]
    pub(super) fn check(self, packet: PacketType) -> Result<(), Error> {
        if self.may_stand_in(packet) { Ok(()) } else { Err(Error::ReasonCode { packet, code: self.into() }) }
    }
}

impl From<Reason> for u8 {
    fn from(reason: Reason) -> u8 {
        reason as u8
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of §3.2.2.2 to §3.15.2.1, packet by packet. 0x8c in DISCONNECT is in §2.4 alone.
    const TABLES: [(PacketType, &[u8]); 9] = [
        (
            PacketType::Connack,
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95,
                0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
            ],
        ),
        (PacketType::Puback, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
        (PacketType::Pubrec, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
        (PacketType::Pubrel, &[0x00, 0x92]),
        (PacketType::Pubcomp, &[0x00, 0x92]),
        (PacketType::Suback, &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]),
        (PacketType::Unsuback, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]),
        (
            PacketType::Disconnect,
            &[
                0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93,
                0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
            ],
        ),
        (PacketType::Auth, &[0x00, 0x18, 0x19]),
    ];

    #[test]
    fn each_code_in_each_packet() {
        for (packet, codes) in TABLES {
            for code in 0..=255 {
                let expected = Reason::try_from(code)
                    .ok()
                    .filter(|_| codes.contains(&code))
                    .ok_or(Error::ReasonCode { packet, code });
                assert_eq!(Reason::decode(packet, code), expected, "{code:#04x} in {packet}");
                assert_eq!(expected.is_ok(), codes.contains(&code), "{code:#04x} in {packet}");
            }
        }
    }

    #[test]
    fn numbers_and_names() {
        let all: Vec<_> = (0..=255).filter_map(|code| Reason::try_from(code).ok()).collect();
        assert_eq!(all.len(), 43);
        for reason in all {
            assert_eq!(Reason::try_from(u8::from(reason)), Ok(reason));
            assert_eq!(reason.is_error(), u8::from(reason) >= 0x80);
            assert!(!reason.to_string().is_empty());
        }
        assert_eq!(Reason::try_from(3), Err(UnknownReason(3)));
        assert_eq!(Reason::try_from(0xa3), Err(UnknownReason(0xa3)));
        assert_eq!(Reason::QuotaExceeded.to_string(), "Quota exceeded");
    }

    #[test]
    fn return_codes_of_3_1_1() {
        for code in 0..=5 {
            assert_eq!(Reason::of_return_code(code).map(Reason::return_code), Ok(code));
        }
        assert_eq!(Reason::of_return_code(6), Err(Error::ReturnCode(6)));
        for (reason, code) in [
            (Reason::Banned, 5),
            (Reason::BadAuthenticationMethod, 5),
            (Reason::ServerBusy, 3),
            (Reason::QuotaExceeded, 3),
            (Reason::MalformedPacket, 3),
        ] {
            assert_eq!(reason.return_code(), code, "{reason}");
        }
    }
}
