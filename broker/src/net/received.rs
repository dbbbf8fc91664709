//! Bytes received of a packet that is not whole yet.

/// Bytes in a piece. One buffer that grew with the packet would be copied again and again, and leave holes in memory that
/// no other packet fits into.
const PIECE_BYTES: usize = 64 * 1024;

/// Up to here a piece grows little by little.
const SMALL_BYTES: usize = 4 * 1024;

/// Bytes in the order in which they came. None take no memory: an idle client keeps no buffer.
#[derive(Default)]
pub(super) struct Received(Option<Box<Pieces>>);

#[derive(Default)]
struct Pieces {
    /// Most packets need no other.
    first: Vec<u8>,
    others: Vec<Vec<u8>>,
    len: usize,
}

impl Pieces {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        [&self.first].into_iter().chain(&self.others).map(Vec::as_slice)
    }
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |pieces| pieces.len)
    }

    /// Memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let others = |pieces: &Pieces| -> usize {
            pieces.others.iter().map(|piece| piece.capacity() + size_of::<Vec<u8>>()).sum()
        };
        self.0.as_ref().map_or(0, |pieces| size_of::<Pieces>() + pieces.first.capacity() + others(pieces))
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let Pieces { first, others, len } = &mut **self.0.get_or_insert_default();
        *len += bytes.len();
        loop {
            let piece = others.last_mut().unwrap_or(first);
            let (front, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES.saturating_sub(piece.len())));
            let whole = piece.len() + front.len();
            if whole > piece.capacity() && whole > SMALL_BYTES {
                piece.reserve_exact(PIECE_BYTES - piece.len());
            }
            piece.extend_from_slice(front);
            if rest.is_empty() {
                return;
            }
            bytes = rest;
            others.push(Vec::with_capacity(PIECE_BYTES));
        }
    }

    /// Moves all bytes to a place that has as many.
    pub(super) fn copy_into(&mut self, mut place: &mut [u8]) {
        for piece in self.0.take().iter().flat_map(|pieces| pieces.iter()) {
            let (front, rest) = place.split_at_mut(piece.len().min(place.len()));
            front.copy_from_slice(piece.get(..front.len()).unwrap_or_default());
            place = rest;
        }
    }

    /// Moves all bytes behind those in `whole`.
    pub(super) fn move_into(&mut self, whole: &mut Vec<u8>) {
        whole.reserve_exact(self.len());
        self.0
            .take()
            .iter()
            .flat_map(|pieces| pieces.iter())
            .for_each(|piece| whole.extend_from_slice(piece));
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
