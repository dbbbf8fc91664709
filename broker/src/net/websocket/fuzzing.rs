//! See [`crate::fuzzing`].

use super::decoder::{Decoded, Decoder};
use super::handshake::answer;
use crate::config::WebSocket;

/// A handshake; and frames, which carry the same whether they come at once or in pieces as long as the first byte says.
pub fn websocket(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    if let Ok(Some((length, response))) = answer(bytes, &WebSocket::default()) {
        assert!(length <= bytes.len() && response.starts_with(b"HTTP/1.1 101 "));
    }
    let mut whole = bytes.to_vec();
    let Decoded { payload, end, .. } = Decoder::default().decode(&mut whole);
    let (mut decoder, mut came, mut came_to_an_end) = (Decoder::default(), Vec::new(), None);
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece);
        came.extend_from_slice(piece.get(..decoded.payload).unwrap_or_default());
        came_to_an_end = decoded.end;
        if came_to_an_end.is_some() {
            break;
        }
    }
    assert_eq!(whole.get(..payload), Some(came.as_slice()));
    assert_eq!(end, came_to_an_end);
}
