//! What a client that has no socket was sent.

use std::io::IoSlice;

use sol::codec::{Decoded, Packet, Version, decode};
use sol::session::Outbox;

/// Writes all that is unsent.
pub(crate) fn drain(unsent: &mut Outbox) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !unsent.is_empty() {
        let mut room = [IoSlice::new(&[]); 4];
        let before = bytes.len();
        unsent.slices(&mut room).iter().for_each(|slice| bytes.extend_from_slice(slice));
        unsent.advance(bytes.len() - before);
    }
    bytes
}

/// Takes whole packets apart.
pub(crate) fn packets_in(mut bytes: &[u8], version: Version) -> Vec<Packet<'_>> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        match decode(bytes, Some(version), usize::MAX) {
            Ok(Decoded::Packet { packet, length }) => {
                packets.push(packet);
                bytes = &bytes[length..];
            }
            other => panic!("{other:?} from {bytes:?}"),
        }
    }
    packets
}
