//! What one hostile connection sends: random bytes, mutated packets, and valid packets where nobody expects them.
//!
//! A script begins with CONNECT, most often a good one. What the broker must take goes in the middle; the one piece
//! that must end the connection goes last, so that the broker comes to see every piece. What would stay behind is kept
//! small, or else memory could not be level: few client identifiers, and retained messages for few topics.

use sol::codec::{Connect, Decoded, MAX_PACKET_BYTES, Packet, Properties, Version, decode};

use crate::random::Random;

/// What was done to a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Bytes at random.
    Random,
    /// A well-formed packet with random fields, in no state that fits.
    OutOfState,
    /// One to four bits turned over.
    BitFlip,
    /// The end left out.
    Truncated,
    /// Another remaining length.
    Length,
    /// Another packet type or flags.
    Type,
    /// A part, or all, twice.
    Duplicated,
    /// The beginning of one packet and the end of another.
    Spliced,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 8] = [
        Self::Random,
        Self::OutOfState,
        Self::BitFlip,
        Self::Truncated,
        Self::Length,
        Self::Type,
        Self::Duplicated,
        Self::Spliced,
    ];
}

/// Levels of the topics.
const LEVELS: [&str; 4] = ["a", "b", "\u{e9}", ""];
/// Filters that only few connections use: each gets the messages of all the others.
const WIDE_FILTERS: [&str; 5] = ["#", "+/#", "+/+", "/#", "+/+/#"];
const NARROW_FILTERS: [&str; 7] = ["a/b/a", "b/+/b", "a", "/", "$SYS/#", "$SYS/+/x", "a/b/\u{e9}/#"];
/// The broker takes no more in a filter or a topic name.
const MOST_LEVELS: usize = 256;
/// Deeper than that, and as deep as a topic can be.
const DEEP: usize = 300;
const DEEPEST: usize = 65_536;

/// A connection's worth of bytes.
pub(crate) struct Script {
    /// All pieces, one behind the other.
    pub(crate) bytes: Vec<u8>,
    /// What the pieces are, but for a good CONNECT.
    pub(crate) kinds: Vec<Kind>,
    /// The version of its CONNECT, if that is a good one.
    pub(crate) version: Option<Version>,
    /// Its client identifier is used by other connections too: the broker may close it early.
    pub(crate) is_contested: bool,
}

impl Script {
    /// The script of a seed. `lane` tells the connections of one time apart.
    pub(crate) fn new(seed: u64, lane: usize) -> Self {
        let mut writer = Writer { random: Random::new(seed), is_wide: false };
        writer.is_wide = writer.random.once_in(8);
        writer.script(lane)
    }

    /// How many PINGREQs the broker must come to.
    pub(crate) fn pings(&self) -> u64 {
        let mut rest = self.bytes.as_slice();
        let mut pings = 0;
        while let Some(version) = self.version
            && let Ok(Decoded::Packet { packet, length }) = decode(rest, Some(version), MAX_PACKET_BYTES)
        {
            pings += u64::from(packet == Packet::Pingreq);
            rest = &rest[length..];
        }
        pings
    }
}

struct Writer {
    random: Random,
    is_wide: bool,
}

impl Writer {
    fn script(&mut self, lane: usize) -> Script {
        if self.random.once_in(10) {
            return self.without_connect();
        }
        let is_contested = self.random.once_in(20);
        let client_id = if is_contested { "everybody".to_owned() } else { format!("lane-{lane}") };
        let version = *self.random.pick(&[Version::V311, Version::V311, Version::V31]);
        let mut bytes = self.connect(version, &client_id);
        let mut kinds = Vec::new();
        let wanted = 10 + self.random.below(40);
        let mut last = None;
        while kinds.len() < wanted {
            let (kind, mut piece) = self.piece();
            if is_survivable(&piece, version) {
                forget_retain(&mut piece);
                bytes.extend(piece);
                kinds.push(kind);
            } else if is_bounded(&piece) {
                last = Some((kind, piece));
            }
        }
        if let Some((kind, piece)) = last {
            bytes.extend(piece);
            kinds.push(kind);
        }
        Script { bytes, kinds, version: Some(version), is_contested }
    }

    /// A connection whose first packet is no good.
    fn without_connect(&mut self) -> Script {
        let (kind, bytes) = loop {
            let packet =
                if self.random.once_in(2) { self.packet() } else { self.connect(Version::V311, "lane-0") };
            let (kind, piece) = self.mutated(packet);
            // A CONNECT that came out well would leave a session behind.
            let is_connect = |version| {
                matches!(
                    decode(&piece, version, MAX_PACKET_BYTES),
                    Ok(Decoded::Packet { packet: Packet::Connect(_), .. })
                )
            };
            if !piece.is_empty() && !is_connect(None) {
                break (kind, piece);
            }
        };
        Script { bytes, kinds: vec![kind], version: None, is_contested: false }
    }

    /// A good CONNECT, often with a will.
    fn connect(&mut self, version: Version, client_id: &str) -> Vec<u8> {
        let topic = self.topic();
        let payload = self.random.bytes(8);
        let will = sol::codec::Will {
            topic: sol::topic::Name::new(&topic).unwrap(),
            payload: &payload,
            qos: [0, 1, 2][self.random.below(3)].try_into().unwrap(),
            retain: self.random.once_in(2),
            properties: Properties::EMPTY,
        };
        let connect = Connect {
            version,
            clean_session: self.random.once_in(2),
            keep_alive: *self.random.pick(&[0, 60, 65_535]),
            client_id,
            will: self.random.once_in(4).then_some(will),
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(version, &mut bytes).unwrap();
        bytes
    }

    fn piece(&mut self) -> (Kind, Vec<u8>) {
        let packet = self.packet();
        if self.random.once_in(10) { (Kind::OutOfState, packet) } else { self.mutated(packet) }
    }

    /// Most are PUBLISH.
    fn packet(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(40) {
            0..20 => self.publish(),
            20..23 => self.subscribe(),
            23..25 => self.unsubscribe(),
            // PUBACK to PUBCOMP, PUBREL with its flags, for identifiers that may be in use.
            number @ 25..36 => {
                let first = [0x40, 0x50, 0x62, 0x70][number % 4];
                let range = *random.pick(&[10, 100, 65_536]);
                let packet_id = random.below(range) as u16;
                framed(first, &packet_id.to_be_bytes())
            }
            36..38 => vec![0xc0, 0],
            38 => vec![0xe0, 0],
            // A second CONNECT, or what only servers send.
            _ => match random.below(5) {
                0 => self.connect(Version::V311, "lane-0"),
                1 => framed(0x20, &[0, 0]),
                2 => framed(0x90, &[0, 1, 0]),
                3 => framed(0xb0, &[0, 1]),
                _ => vec![0xd0, 0],
            },
        }
    }

    fn publish(&mut self) -> Vec<u8> {
        let topic = self.topic();
        let random = &mut self.random;
        let qos = random.below(3) as u8;
        let flags =
            (qos << 1) | u8::from(random.once_in(4)) | if qos > 0 && random.once_in(4) { 8 } else { 0 };
        let mut body = text(&topic);
        if qos > 0 {
            body.extend((random.below(20) as u16 + 1).to_be_bytes());
        }
        let size = if random.once_in(500) { random.below(20_000) } else { random.below(64) };
        body.extend(random.bytes(size));
        framed(0x30 | flags, &body)
    }

    fn subscribe(&mut self) -> Vec<u8> {
        let mut body = vec![0, 1 + self.random.byte() % 20];
        for _ in 0..=self.random.below(3) {
            body.extend(text(&self.filter()));
            body.push(self.random.below(3) as u8);
        }
        framed(0x82, &body)
    }

    fn unsubscribe(&mut self) -> Vec<u8> {
        let mut body = vec![0, 1 + self.random.byte() % 20];
        for _ in 0..=self.random.below(3) {
            body.extend(text(&self.filter()));
        }
        framed(0xa2, &body)
    }

    fn topic(&mut self) -> String {
        match self.random.below(3000) {
            0 => return deep("", DEEPEST),
            1..30 => return deep("a", DEEP),
            _ => {}
        }
        let levels: Vec<_> = (0..=self.random.below(3)).map(|_| *self.random.pick(&LEVELS)).collect();
        // One empty level alone would be no topic.
        if levels == [""] { "/".to_owned() } else { levels.join("/") }
    }

    fn filter(&mut self) -> String {
        match self.random.below(20) {
            0 => deep("+", DEEP),
            _ if self.is_wide => (*self.random.pick(&WIDE_FILTERS)).to_owned(),
            _ => (*self.random.pick(&NARROW_FILTERS)).to_owned(),
        }
    }

    fn mutated(&mut self, mut packet: Vec<u8>) -> (Kind, Vec<u8>) {
        let random = &mut self.random;
        let at = random.below(packet.len());
        match random.below(16) {
            0 => {
                let count = 1 + random.below(200);
                (Kind::Random, random.bytes(count))
            }
            1..8 => {
                for _ in 0..=random.below(4) {
                    let at = random.below(packet.len());
                    packet[at] ^= 1 << random.below(8);
                }
                (Kind::BitFlip, packet)
            }
            8 => {
                packet.truncate(at.max(1));
                (Kind::Truncated, packet)
            }
            9 => {
                let count = 1 + random.below(5);
                packet.splice(1..2, random.bytes(count));
                (Kind::Length, packet)
            }
            10..12 => {
                packet[0] = random.byte();
                (Kind::Type, packet)
            }
            12..14 => {
                let again = if random.once_in(2) { packet.clone() } else { packet[at..].to_vec() };
                packet.extend(again);
                (Kind::Duplicated, packet)
            }
            _ => {
                let other = self.packet();
                let from = self.random.below(other.len());
                packet.truncate(at + 1);
                packet.extend(&other[from..]);
                (Kind::Spliced, packet)
            }
        }
    }
}

/// Whether the broker must take every packet of the piece and keep the connection.
fn is_survivable(mut piece: &[u8], version: Version) -> bool {
    while !piece.is_empty() {
        match decode(piece, Some(version), MAX_PACKET_BYTES) {
            Ok(Decoded::Packet { packet, length }) if !is_last(&packet) => piece = &piece[length..],
            _ => return false,
        }
    }
    true
}

/// Whether the packet ends its connection.
fn is_last(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Publish(publish) => {
            publish.topic.is_some_and(|topic| topic.levels().nth(MOST_LEVELS).is_some())
        }
        Packet::Puback(_)
        | Packet::Pubrec(_)
        | Packet::Pubrel(_)
        | Packet::Pubcomp(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::Pingreq => false,
        Packet::Connect(_)
        | Packet::Connack(_)
        | Packet::Suback(_)
        | Packet::Unsuback(_)
        | Packet::Pingresp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => true,
    }
}

/// Lets RETAIN stand only for the topics that scripts know: what a mutation made of one would be kept for ever.
fn forget_retain(mut piece: &mut [u8]) {
    while let Ok(Decoded::Packet { packet, length }) = decode(piece, Some(Version::V31), MAX_PACKET_BYTES) {
        let forget = matches!(packet, Packet::Publish(publish) if publish.retain && !is_known(publish.topic.unwrap().as_str()));
        piece[0] &= if forget { 0xfe } else { 0xff };
        piece = &mut piece[length..];
    }
}

/// Whether nothing in a piece that ends its connection is retained.
fn is_bounded(piece: &[u8]) -> bool {
    let mut kept = piece.to_vec();
    forget_retain(&mut kept);
    kept == piece
}

fn is_known(topic: &str) -> bool {
    let is_deepest = topic.len() == DEEPEST - 1 && topic.bytes().all(|byte| byte == b'/');
    let is_short = topic.split('/').count() <= 3;
    is_deepest
        || (topic.len() > DEEP && topic == deep("a", DEEP))
        || (is_short && topic.split('/').all(|level| LEVELS.contains(&level)))
}

fn deep(level: &str, levels: usize) -> String {
    vec![level; levels].join("/")
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// A packet of any first byte and a body of less than 2 MiB.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    while rest > 0x7f {
        packet.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    packet.push(rest as u8);
    packet.extend_from_slice(body);
    packet
}
