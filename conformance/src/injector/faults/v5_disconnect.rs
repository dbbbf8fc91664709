//! Chapter 3.14 of 5.0: DISCONNECT, from both sides.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, down, fault_5_0};

/// DISCONNECT from the broker is changed.
fn goodbye(change: fn(Packet) -> Vec<Packet>) -> Meddler {
    down(Kind::Disconnect, move |_, packet| change(packet))
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0(
        "goodbye-with-session-expiry",
        "Its DISCONNECT has a Session Expiry Interval.",
        "3.14.2-2",
        || goodbye(|packet| vec![packet.set("session_expiry", 0u64)]),
    ),
    fault_5_0(
        "goodbye-code-of-clients",
        "Its DISCONNECT has a code that only clients send.",
        "3.14.2-1",
        || goodbye(|packet| vec![packet.set("reason", 4u64)]),
    ),
];
