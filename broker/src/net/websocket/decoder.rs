//! Frames from a client.

use std::io::Cursor;

use smallvec::SmallVec;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::failure::Failure;

/// The longest header: that of a masked frame whose length takes 8 bytes.
const HEADER_BYTES: usize = 14;
/// The longest payload of a control frame.
const CONTROL_BYTES: u64 = 125;

/// Takes the bytes of MQTT out of frames, wherever they are cut.
#[derive(Default)]
pub(super) struct Decoder {
    /// What came of a header.
    header: SmallVec<[u8; HEADER_BYTES]>,
    frame: Option<Frame>,
    /// What came of a control frame's payload.
    control: Vec<u8>,
    /// Whether a message goes on in the next data frame.
    continues: bool,
}

/// A frame whose header is known.
struct Frame {
    kind: Kind,
    /// Bytes that are still to come.
    left: u64,
    /// Turned so that its first byte is for the next one.
    mask: [u8; 4],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Ping,
    Pong,
    Close,
}

/// What bytes from the socket were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    /// So many bytes of MQTT lie in front now.
    pub(super) payload: usize,
    /// What the last ping wants to have back.
    pub(super) ping: Option<Vec<u8>>,
    /// The client closes, and the answer has this code; or else it must go. What lies behind is not looked at.
    pub(super) end: Option<Result<CloseCode, Failure>>,
}

impl Decoder {
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Decoded {
        let (mut decoded, mut at) = (Decoded::default(), 0);
        loop {
            let mut frame = match self.begin(bytes.get(at..).unwrap_or_default()) {
                Ok(None) => return decoded,
                Ok(Some((consumed, frame))) => {
                    at += consumed;
                    frame
                }
                Err(failure) => return Decoded { end: Some(Err(failure)), ..decoded },
            };
            let rest = bytes.get_mut(at..).unwrap_or_default();
            let n = usize::try_from(frame.left).map_or(rest.len(), |left| left.min(rest.len()));
            let taken = rest.get_mut(..n).unwrap_or_default();
            frame.take(taken);
            if frame.kind == Kind::Data {
                bytes.copy_within(at..at + n, decoded.payload);
                decoded.payload += n;
            } else {
                self.control.extend_from_slice(taken);
            }
            at += n;
            if frame.left > 0 {
                self.frame = Some(frame);
                return decoded;
            }
            match frame.kind {
                Kind::Data => {}
                Kind::Ping => decoded.ping = Some(std::mem::take(&mut self.control)),
                Kind::Pong => self.control = Vec::new(),
                Kind::Close => return Decoded { end: Some(answer(&self.control)), ..decoded },
            }
        }
    }

    /// The frame that the bytes begin in, and how many of them are its header; none if there is only part of that.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<(usize, Frame)>, Failure> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some((0, frame)));
        }
        let before = self.header.len();
        let missing = HEADER_BYTES.saturating_sub(before);
        self.header.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        let mut cursor = Cursor::new(&self.header);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| protocol("a frame of an unknown kind"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let consumed = usize::try_from(cursor.position()).unwrap_or(HEADER_BYTES).saturating_sub(before);
        self.header.clear();
        Ok(Some((consumed, self.frame(&header, length)?)))
    }

    /// A frame that may come now.
    fn frame(&mut self, header: &FrameHeader, length: u64) -> Result<Frame, Failure> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol("a frame with reserved bits, and no extension was agreed on"));
        }
        let Some(mask) = header.mask else { return Err(protocol("a frame without a mask")) };
        if length > i64::MAX.unsigned_abs() {
            return Err(protocol("a frame of more than 63 bits of length"));
        }
        let kind = match header.opcode {
            OpCode::Control(_) if !header.is_final || length > CONTROL_BYTES => {
                return Err(protocol("a control frame that is too long or goes on in another"));
            }
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(Data::Continue) if !self.continues => {
                return Err(protocol("a frame that continues none"));
            }
            OpCode::Data(Data::Text | Data::Binary) if self.continues => {
                return Err(protocol("a new message within another"));
            }
            // [MQTT-6.0.0-1]
            OpCode::Data(Data::Text) => {
                return Err(Failure {
                    code: Some(CloseCode::Unsupported),
                    what: "a text frame, and only binary ones carry MQTT [MQTT-6.0.0-1]",
                });
            }
            OpCode::Data(Data::Binary | Data::Continue) => {
                self.continues = !header.is_final;
                Kind::Data
            }
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return Err(protocol("a frame of an unknown kind"));
            }
        };
        Ok(Frame { kind, left: length, mask })
    }
}

impl Frame {
    /// Unmasks the next bytes of its payload.
    fn take(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.mask;
        let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
        rest.iter_mut().zip(self.mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        self.mask.rotate_left(rest.len() % 4);
        self.left = self.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

/// What is answered to the payload of a close frame: its own code, if it may have it.
fn answer(payload: &[u8]) -> Result<CloseCode, Failure> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(CloseCode::Normal)
        } else {
            Err(protocol("a close frame with half a code"))
        };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(protocol("a close frame with a code that none may have"));
    }
    if str::from_utf8(reason).is_err() {
        let what = "a close frame whose reason is not UTF-8";
        return Err(Failure { code: Some(CloseCode::Invalid), what });
    }
    Ok(code)
}

fn protocol(what: &'static str) -> Failure {
    Failure { code: Some(CloseCode::Protocol), what }
}
