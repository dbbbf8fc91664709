//! Whatever is sent and however it is cut. What a broker makes of it is told by `tests/websocket/`.

use std::collections::VecDeque;
use std::io::{self, Cursor, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Bytes, Message};

use super::Framed;
use super::decoder::{Decoded, Decoder};
use super::encoder::Encoder;
use super::handshake::{self, answer};
use crate::config;
use crate::net::reactor::Until;
use crate::net::socket::Socket;

const MASK: [u8; 4] = [0x12, 0xed, 0x34, 0xcb];

/// As a client sends it.
fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { is_final, opcode, mask: Some(MASK), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    Frame::from_payload(header, Bytes::copy_from_slice(payload)).format(&mut bytes).unwrap();
    bytes
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Binary), true, payload)
}

fn control(kind: Control, payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Control(kind), true, payload)
}

fn decoded(bytes: &[u8]) -> (Vec<u8>, Decoded) {
    let mut bytes = bytes.to_vec();
    let decoded = Decoder::default().decode(&mut bytes);
    bytes.truncate(decoded.payload);
    (bytes, decoded)
}

/// A message in one or more frames, pings among them.
fn any_message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Option<Vec<u8>>)> {
    let part = (prop::collection::vec(any::<u8>(), 0..300), prop::option::of(0..126_usize));
    prop::collection::vec(part, 1..4).prop_map(|parts| {
        let (mut sent, mut payload, mut ping) = (Vec::new(), Vec::new(), None);
        for (n, (part, pinged)) in parts.iter().enumerate() {
            let opcode = if n == 0 { Data::Binary } else { Data::Continue };
            sent.extend(frame(OpCode::Data(opcode), n + 1 == parts.len(), part));
            payload.extend_from_slice(part);
            if let Some(length) = pinged {
                let asked = vec![u8::try_from(n).unwrap(); *length];
                sent.extend(control(Control::Ping, &asked));
                sent.extend(control(Control::Pong, &asked));
                ping = Some(asked);
            }
        }
        (sent, payload, ping)
    })
}

proptest! {
    #[test]
    fn what_frames_carry_comes_out_wherever_they_are_cut(
        messages in prop::collection::vec(any_message(), 0..6),
        cuts in prop::collection::vec(1..100_usize, 1..20),
    ) {
        let sent: Vec<u8> = messages.iter().flat_map(|(sent, ..)| sent.clone()).collect();
        let payload: Vec<u8> = messages.iter().flat_map(|(_, payload, _)| payload.clone()).collect();
        let last_ping = messages.into_iter().filter_map(|(.., ping)| ping).next_back();
        let (mut decoder, mut came, mut pinged) = (Decoder::default(), Vec::new(), None);
        let (mut rest, mut cuts) = (sent.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            let mut piece = piece.to_vec();
            let Decoded { payload, ping, end } = decoder.decode(&mut piece);
            prop_assert_eq!(end, None);
            came.extend_from_slice(&piece[..payload]);
            pinged = ping.or(pinged);
            rest = behind;
        }
        prop_assert_eq!(came, payload);
        prop_assert_eq!(pinged, last_ping);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let length = bytes.len();
        prop_assert!(Decoder::default().decode(&mut bytes).payload <= length);
        _ = answer(&bytes, &config::WebSocket::default());
    }
}

#[test]
fn a_wrong_frame_is_the_end_and_what_came_before_is_not_lost() {
    let (data, continued) = (OpCode::Data(Data::Binary), OpCode::Data(Data::Continue));
    let text = OpCode::Data(Data::Text);
    let mut unmasked = Vec::new();
    Frame::message(Bytes::new(), data, true).format(&mut unmasked).unwrap();
    let mut reserved = binary(b"x");
    reserved[0] |= 0x40;
    let ping = OpCode::Control(Control::Ping);
    for (bytes, code) in [
        (frame(text, true, b"\xc0\x00"), CloseCode::Unsupported),
        (frame(text, false, b""), CloseCode::Unsupported),
        (frame(continued, true, b"x"), CloseCode::Protocol),
        ([frame(data, false, b""), binary(b"x")].concat(), CloseCode::Protocol),
        (frame(ping, false, b"x"), CloseCode::Protocol),
        (control(Control::Ping, &[0; 126]), CloseCode::Protocol),
        (vec![0x83, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (vec![0x8b, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], CloseCode::Protocol),
        (unmasked, CloseCode::Protocol),
        (reserved, CloseCode::Protocol),
        (control(Control::Close, b"\x03"), CloseCode::Protocol),
        // 1005 is for those who got no code.
        (control(Control::Close, b"\x03\xed"), CloseCode::Protocol),
        (control(Control::Close, b"\x03\xe8\xff"), CloseCode::Invalid),
    ] {
        let (payload, decoded) = decoded(&[binary(b"before"), bytes, binary(b"behind")].concat());
        assert_eq!(payload, b"before");
        assert_eq!(decoded.end.unwrap().unwrap_err().code, Some(code));
    }
}

#[test]
fn a_close_is_answered_with_its_code() {
    for (payload, code) in [
        (&b""[..], CloseCode::Normal),
        (b"\x03\xe9", CloseCode::Away),
        (b"\x03\xe8bye", CloseCode::Normal),
        (b"\x0f\xa0", CloseCode::Library(4000)),
    ] {
        let bytes = [binary(b"before"), control(Control::Close, payload), binary(b"behind")].concat();
        assert_eq!(
            decoded(&bytes),
            (b"before".to_vec(), Decoded { payload: 6, ping: None, end: Some(Ok(code)) })
        );
    }
}

#[test]
fn a_frame_of_any_size_is_taken_as_it_comes() {
    let mut decoder = Decoder::default();
    let mut bytes = [&[0x82, 0xff][..], &i64::MAX.to_be_bytes(), &[0; 4], b"begin"].concat();
    assert_eq!(decoder.decode(&mut bytes), Decoded { payload: 5, ..Decoded::default() });
    for _ in 0..100 {
        assert_eq!(decoder.decode(&mut [7; 1000]), Decoded { payload: 1000, ..Decoded::default() });
    }
}

/// A socket that gives what it is told to, and takes so much in each call.
#[derive(Default)]
struct Fake {
    incoming: VecDeque<Vec<u8>>,
    room: VecDeque<usize>,
    sent: Vec<u8>,
    /// What was offered in vain: the next call must begin with it.
    offered: Vec<u8>,
    is_shut: bool,
}

impl Socket for Fake {
    fn poll_recv(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(bytes) = self.incoming.pop_front() else { return Poll::Pending };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>();
        assert!(!bytes.is_empty());
        assert!(bytes.starts_with(&self.offered));
        match self.room.pop_front().unwrap_or(usize::MAX).min(bytes.len()) {
            0 => {
                self.offered = bytes;
                Poll::Pending
            }
            n => {
                self.offered = Vec::new();
                self.sent.extend_from_slice(&bytes[..n]);
                Poll::Ready(Ok(n))
            }
        }
    }

    fn poll_time(&mut self, _: &mut Context<'_>, _: Until) -> Poll<()> {
        Poll::Pending
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.is_shut = true;
        Ok(())
    }

    fn leave(&mut self) {}

    fn join(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn messages(sent: &[u8]) -> Vec<Message> {
    /// Takes what a client answers.
    struct End(Cursor<Vec<u8>>);

    impl io::Read for End {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl io::Write for End {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut client = WebSocket::from_raw_socket(End(Cursor::new(sent.to_vec())), Role::Client, None);
    std::iter::from_fn(|| client.read().ok()).collect()
}

fn bytes_of(messages: &[Message]) -> Vec<u8> {
    let payloads = messages.iter().filter_map(|message| match message {
        Message::Binary(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    payloads.collect::<Vec<_>>().concat()
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

proptest! {
    #[test]
    fn what_counts_as_written_is_in_the_socket_whatever_that_takes(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..40),
        room in prop::collection::vec(0..300_usize, 0..60),
        pinged in prop::collection::vec(any::<bool>(), 200),
    ) {
        let mut socket = Fake { room: room.into(), ..Fake::default() };
        let mut encoder = Encoder::default();
        let whole = pieces.concat();
        let (mut written, mut pings) = (0, pinged.into_iter());
        while written < whole.len() {
            let pong = pings.next() == Some(true);
            if pong {
                encoder.pong(b"ping".to_vec());
                _ = encoder.poll_control(&mut socket, &mut context());
            }
            // As an outbox has it: what is written is gone, and at most 32 pieces are offered.
            let mut skip = written;
            let slices: Vec<_> = pieces.iter().filter_map(|piece| {
                let from = skip.min(piece.len());
                skip -= from;
                Some(IoSlice::new(&piece[from..])).filter(|slice| !slice.is_empty())
            }).take(32).collect();
            if let Poll::Ready(n) = encoder.poll_data(&mut socket, &mut context(), &slices) {
                written += n.unwrap();
            }
            // No header is longer than 4 bytes.
            prop_assert!(socket.sent.len() >= written);
        }
        encoder.close(CloseCode::Away);
        while encoder.poll_control(&mut socket, &mut context()).is_pending() {}
        let messages = messages(&socket.sent);
        prop_assert_eq!(bytes_of(&messages), whole);
        prop_assert!(matches!(messages.last(), Some(Message::Close(Some(close))) if close.code == CloseCode::Away));
    }
}

#[test]
fn one_write_is_one_frame_as_far_as_one_goes() {
    let (mut socket, mut encoder) = (Fake::default(), Encoder::default());
    let (small, large) = (vec![1; 100], vec![2; 100_000]);
    let mut written = 0;
    while written < 100_100 {
        let slices =
            [IoSlice::new(&small[written.min(100)..]), IoSlice::new(&large[written.saturating_sub(100)..])];
        let Poll::Ready(n) = encoder.poll_data(&mut socket, &mut context(), &slices) else {
            panic!("it waits")
        };
        written += n.unwrap();
    }
    let lengths: Vec<_> = messages(&socket.sent).iter().map(Message::len).collect();
    assert_eq!(lengths, [65_535, 34_565]);
}

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";

#[test]
fn a_request_is_accepted_or_refused_with_its_status() {
    let narrow = config::WebSocket {
        path: Some("/mqtt".to_owned()),
        origins: vec!["https://a.example".to_owned(), "http://b.example:8080".to_owned()],
    };
    let with = |from: &str, to: &str| {
        assert!(REQUEST.contains(from));
        REQUEST.replace(from, to)
    };
    let origin = |origin: &str| with("Host: h\r\n", &format!("Host: h\r\nOrigin: {origin}\r\n"));
    for (request, status) in [
        (REQUEST.to_owned(), "101"),
        (with("Protocol: mqtt", "Protocol: mqttv3.1"), "101"),
        (with("Protocol: mqtt", "Protocol: chat , mqtt"), "101"),
        (with("Protocol: mqtt", "Protocol: chat\r\nsec-websocket-protocol: mqtt"), "101"),
        (with("/mqtt ", "/mqtt?token=1 "), "101"),
        (origin("https://A.example"), "101"),
        (origin("http://b.example:8080"), "101"),
        (origin("http://a.example"), "403"),
        (origin("null"), "403"),
        (origin("https://a.example\r\nOrigin: http://c.example"), "403"),
        (with("/mqtt ", "/ "), "404"),
        (with("/mqtt ", "/mqtt/ "), "404"),
        (with("Sec-WebSocket-Protocol: mqtt\r\n", ""), "400"),
        (with("Protocol: mqtt", "Protocol: MQTT"), "400"),
        (with("Protocol: mqtt", "Protocol: chat"), "400"),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"),
        (with("Version: 13", "Version: 12"), "426"),
        (with("Upgrade: WebSocket\r\n", ""), "426"),
        (with("Connection: keep-alive, Upgrade\r\n", ""), "426"),
        (with("GET", "POST"), "405"),
        (with("HTTP/1.1", "HTTP/1.0"), "400"),
        (with("Host: h", "Host h"), "400"),
        ("\x10\x0f\0\x04MQTT".to_owned(), "400"),
    ] {
        let (status_line, ends_well) = match answer(request.as_bytes(), &narrow) {
            Ok(Some((length, response))) => {
                assert_eq!(length, request.len());
                (String::from_utf8(response).unwrap(), status == "101")
            }
            Ok(None) => panic!("not whole: {request}"),
            Err(refusal) => (String::from_utf8(refusal.response()).unwrap(), status != "101"),
        };
        assert!(
            status_line.starts_with(&format!("HTTP/1.1 {status} ")) && ends_well,
            "{request}{status_line}"
        );
    }
    for length in 0..REQUEST.len() {
        assert_eq!(answer(&REQUEST.as_bytes()[..length], &narrow), Ok(None));
    }
}

#[test]
fn the_subprotocol_of_the_standard_goes_first() {
    for (offered, selected) in [("mqttv3.1, mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1")] {
        let request = REQUEST.replace("Protocol: mqtt", &format!("Protocol: {offered}"));
        let (_, response) = answer(request.as_bytes(), &config::WebSocket::default()).unwrap().unwrap();
        let response = String::from_utf8(response).unwrap();
        assert!(response.contains(&format!("sec-websocket-protocol: {selected}\r\n")), "{response}");
        // Of the standard's own example.
        assert!(response.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    }
}

fn framed(incoming: impl IntoIterator<Item = Vec<u8>>) -> Framed<Fake> {
    let socket = Fake { incoming: incoming.into_iter().collect(), ..Fake::default() };
    Framed::new(Arc::default(), socket)
}

/// All that comes until nothing does, and what comes then.
fn drained(framed: &mut Framed<Fake>) -> (Vec<u8>, Option<io::Result<usize>>) {
    let (mut came, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match framed.poll_recv(&mut context(), &mut buffer) {
            Poll::Ready(Ok(n @ 1..)) => came.extend_from_slice(&buffer[..n]),
            Poll::Ready(end) => return (came, Some(end)),
            Poll::Pending if framed.socket.incoming.is_empty() => return (came, None),
            Poll::Pending => {}
        }
    }
}

#[test]
fn the_handshake_comes_in_pieces_or_with_more_behind_it() {
    let all = [REQUEST.as_bytes(), &binary(b"one"), &control(Control::Ping, b"?"), &binary(b"two")].concat();
    for size in [1, 7, all.len()] {
        let mut framed = framed(all.chunks(size).map(<[u8]>::to_vec));
        let (came, end) = drained(&mut framed);
        assert_eq!((came.as_slice(), end.is_none()), (&b"onetwo"[..], true));
        // The pong goes out at once.
        let sent = &framed.socket.sent;
        let head = sent.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        assert!(sent.starts_with(b"HTTP/1.1 101 "));
        assert_eq!(messages(&sent[head..]), [Message::Pong(Bytes::from_static(b"?"))]);
    }
}

#[test]
fn a_request_without_end_is_refused() {
    let line = [b'x'; 1000];
    let begin = b"GET / HTTP/1.1\r\nX: ".to_vec();
    let mut framed = framed(std::iter::once(begin).chain(vec![line.to_vec(); 20]));
    let (came, end) = drained(&mut framed);
    let error = end.unwrap().unwrap_err();
    assert!(came.is_empty() && super::is_failure(&error), "{error}");
    assert!(framed.extra_bytes() < 2 * handshake::MAX_BYTES);
    framed.shut_down().unwrap();
    assert!(framed.socket.sent.starts_with(b"HTTP/1.1 431 ") && framed.socket.is_shut);
    // There are no frames, so none says goodbye.
    assert!(framed.socket.sent.ends_with(b"8 KiB\n"));
}

#[test]
fn what_came_before_the_end_can_still_be_answered() {
    let text = frame(OpCode::Data(Data::Text), true, b"text");
    for (last, code) in [
        (text, CloseCode::Unsupported),
        (control(Control::Close, b"\x03\xe9"), CloseCode::Away),
        (Vec::new(), CloseCode::Normal),
    ] {
        let mut framed = framed([REQUEST.into(), [binary(b"question"), last].concat()]);
        let (came, _) = drained(&mut framed);
        assert_eq!(came, b"question");
        let response = framed.socket.sent.len();
        let sent = framed.poll_send(&mut context(), &[IoSlice::new(b"answer")]);
        assert!(matches!(sent, Poll::Ready(Ok(6))));
        framed.say_goodbye();
        framed.shut_down().unwrap();
        let messages = messages(&framed.socket.sent[response..]);
        let [Message::Binary(answer), Message::Close(Some(close))] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!((&answer[..], close.code), (&b"answer"[..], code));
    }
}

#[test]
fn a_close_frame_does_not_break_into_another() {
    let mut framed = framed([REQUEST.into()]);
    drained(&mut framed);
    let response = framed.socket.sent.len();
    framed.socket.room = [5, 0].into();
    let sent = framed.poll_send(&mut context(), &[IoSlice::new(b"answer")]);
    assert!(matches!(sent, Poll::Ready(Ok(3))));
    framed.shut_down().unwrap();
    assert_eq!(framed.socket.sent[response..], *b"\x82\x06ans");
    assert!(framed.socket.is_shut);
}

#[test]
fn nothing_is_said_before_the_handshake() {
    let mut framed = framed([b"GET / HTT".to_vec()]);
    assert!(drained(&mut framed).1.is_none());
    let sent = framed.poll_send(&mut context(), &[IoSlice::new(b"x")]);
    assert!(matches!(sent, Poll::Ready(Err(_))));
    framed.say_goodbye();
    assert!(framed.socket.sent.is_empty());
}

/// Empty frames must not keep the thread.
#[test]
fn a_turn_ends_though_more_is_there() {
    let mut framed = framed(std::iter::once(REQUEST.into()).chain(vec![binary(b""); 100]));
    let mut buffer = vec![0; 1024];
    assert!(framed.poll_recv(&mut context(), &mut buffer).is_pending());
    assert!(framed.socket.incoming.len() > 90);
}
