//! The codes that each packet may have: the tables of the standard.

use super::{Kind, Side};
use crate::Version;

/// Whether the table of this packet has the code, for this sender.
pub(super) fn is_listed(kind: Kind, version: Version, side: Side, code: u8) -> bool {
    if version < Version::V5_0 {
        return match kind {
            Kind::Connack => code <= 5,
            Kind::Suback => matches!(code, 0..=2 | 0x80),
            _ => false,
        };
    }
    match (kind, side) {
        // [MQTT-3.2.2-8]
        (Kind::Connack, _) => {
            matches!(code, 0 | 0x80..=0x8a | 0x8c | 0x90 | 0x95 | 0x97 | 0x99..=0x9d | 0x9f)
        }
        // [MQTT-3.4.2-1] [MQTT-3.5.2-1]
        (Kind::Puback | Kind::Pubrec, _) => {
            matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        // [MQTT-3.6.2-1] [MQTT-3.7.2-1]
        (Kind::Pubrel | Kind::Pubcomp, _) => matches!(code, 0 | 0x92),
        // [MQTT-3.9.3-2]
        (Kind::Suback, _) => {
            matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2)
        }
        // [MQTT-3.11.3-2]
        (Kind::Unsuback, _) => matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91),
        // [MQTT-3.14.2-1]
        (Kind::Disconnect, Side::Client) => {
            matches!(code, 0 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
        }
        (Kind::Disconnect, Side::Broker) => {
            matches!(code, 0 | 0x80..=0x83 | 0x87 | 0x89 | 0x8b | 0x8d..=0x90 | 0x93..=0xa2)
        }
        // [MQTT-3.15.2-1]
        (Kind::Auth, Side::Client) => matches!(code, 0x18 | 0x19),
        (Kind::Auth, Side::Broker) => matches!(code, 0 | 0x18),
        _ => false,
    }
}
