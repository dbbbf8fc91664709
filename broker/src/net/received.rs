//! Bytes received of a packet that is not whole yet.

/// Bytes in a piece. One buffer that grew with the packet would be copied again and again, and leave holes in memory that
/// no other packet fits into.
const PIECE_BYTES: usize = 64 * 1024;

/// Up to here a piece grows little by little.
const SMALL_BYTES: usize = 4 * 1024;

/// Bytes in the order in which they came.
#[derive(Default)]
pub(super) struct Received {
    pieces: Vec<Vec<u8>>,
    len: usize,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.capacity() + size_of::<Vec<u8>>()).sum()
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let is_first = self.pieces.is_empty();
            if let Some(piece) = self.pieces.last_mut().filter(|piece| piece.len() < PIECE_BYTES) {
                let (front, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - piece.len()));
                let len = piece.len() + front.len();
                if len > piece.capacity() && len > SMALL_BYTES {
                    piece.reserve_exact(PIECE_BYTES - piece.len());
                }
                piece.extend_from_slice(front);
                bytes = rest;
            } else {
                // Most packets need no more than a small one.
                self.pieces.push(if is_first { Vec::new() } else { Vec::with_capacity(PIECE_BYTES) });
            }
        }
    }

    /// Moves all bytes to a place that has as many.
    pub(super) fn copy_into(&mut self, mut place: &mut [u8]) {
        for piece in self.pieces.drain(..) {
            let (front, rest) = place.split_at_mut(piece.len().min(place.len()));
            front.copy_from_slice(piece.get(..front.len()).unwrap_or_default());
            place = rest;
        }
        *self = Self::default();
    }

    /// Moves all bytes behind those in `whole`.
    pub(super) fn move_into(&mut self, whole: &mut Vec<u8>) {
        whole.reserve_exact(self.len);
        self.pieces.drain(..).for_each(|piece| whole.extend_from_slice(&piece));
        // An idle client keeps no buffer.
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_portions_is_whole_again() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        for portion in [1, 1000, PIECE_BYTES, PIECE_BYTES + 1, 300_000] {
            let mut received = Received::default();
            bytes.chunks(portion).for_each(|portion| received.append(portion));
            assert_eq!(received.len(), bytes.len());
            assert!(received.bytes() < bytes.len() + 2 * PIECE_BYTES);
            let mut whole = Vec::new();
            received.move_into(&mut whole);
            assert_eq!(whole, bytes);
            assert_eq!((received.len(), received.bytes()), (0, 0));
        }
    }
}
