//! The side that sends messages.

use std::io;
use std::net::TcpStream;

use smol::io::AsyncWriteExt;
use smol::{Async, future};
use sol::codec::{AckType, Delivery, PacketId, PacketType, QoS, encode_ack, encode_publish};
use sol::topic::Name;

use super::progress::{Next, Progress};
use super::reader::Reader;
use super::{AHEAD, PAYLOAD_BYTES, WINDOW};

/// Packet identifiers in use: many more than are in flight.
const IDENTIFIERS: u16 = 1000;

#[derive(Debug)]
pub(super) struct Publisher {
    stream: Async<TcpStream>,
    reader: Reader,
    qos: QoS,
    publishes: Ring,
    pubrels: Ring,
}

impl Publisher {
    pub(super) fn new(stream: TcpStream, topic: Name<'_>, qos: QoS) -> io::Result<Self> {
        let publish = |out: &mut Vec<u8>, id| {
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
                QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
            };
            encode_publish(out, false, delivery, false, Some(topic), None, &[b'x'; PAYLOAD_BYTES]);
        };
        Ok(Self {
            stream: Async::new(stream)?,
            reader: Reader::new(),
            qos,
            publishes: Ring::new(publish),
            pubrels: Ring::new(|out, id| encode_ack(out, AckType::Pubrel, id)),
        })
    }

    /// At QoS 0 nothing is acknowledged, and [`AHEAD`] is the only limit.
    pub(super) fn window(&self) -> u64 {
        if self.qos == QoS::AtMostOnce { AHEAD } else { WINDOW }
    }

    pub(super) async fn run(&mut self, progress: &Progress) -> io::Result<()> {
        let Self { stream, reader, qos, publishes, pubrels } = self;
        let stream = &*stream;
        let sending = send(stream, *qos, publishes, pubrels, progress);
        let receiving = async {
            while progress.counts().completed < progress.messages && *qos != QoS::AtMostOnce {
                receive(stream, reader, *qos, progress).await?;
            }
            Ok(())
        };
        future::try_zip(sending, receiving).await?;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn shut_down(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(std::net::Shutdown::Both)
    }
}

/// Sends all PUBLISHes, and a PUBREL for each PUBREC.
///
/// PUBRECs come in the order of the PUBLISHes [MQTT-4.6.0-3], so counting them tells which they are.
async fn send(
    mut stream: &Async<TcpStream>,
    qos: QoS,
    publishes: &Ring,
    pubrels: &Ring,
    progress: &Progress,
) -> io::Result<()> {
    loop {
        match progress.next().await {
            Next::Release(count) => {
                let (packets, count) = pubrels.packets(progress.counts().released, count);
                progress.add(|counts| counts.released += count);
                stream.write_all(packets).await?;
            }
            Next::Publish(count) => {
                let (packets, count) = publishes.packets(progress.counts().sent, count);
                progress.add(|counts| counts.sent += count);
                stream.write_all(packets).await?;
                if qos == QoS::AtMostOnce {
                    progress.add(|counts| counts.completed += count);
                }
            }
            Next::Done => return Ok(()),
        }
    }
}

/// Counts the acknowledgements of one read.
async fn receive(
    stream: &Async<TcpStream>,
    reader: &mut Reader,
    qos: QoS,
    progress: &Progress,
) -> io::Result<()> {
    let (mut recorded, mut completed) = (0, 0);
    reader
        .read(stream, |frame| {
            match qos {
                QoS::AtLeastOnce if frame.is(PacketType::Puback) => completed += 1,
                QoS::ExactlyOnce if frame.is(PacketType::Pubrec) => recorded += 1,
                QoS::ExactlyOnce if frame.is(PacketType::Pubcomp) => completed += 1,
                _ => return Err(frame.unexpected()),
            }
            Ok(())
        })
        .await?;
    progress.add(|counts| {
        counts.recorded += recorded;
        counts.completed += completed;
    });
    Ok(())
}

/// One packet for each identifier, all of a length, encoded once and sent again and again.
#[derive(Debug)]
struct Ring {
    bytes: Vec<u8>,
    packet_bytes: usize,
}

impl Ring {
    fn new(mut encode: impl FnMut(&mut Vec<u8>, PacketId)) -> Self {
        let mut bytes = Vec::new();
        (1..=IDENTIFIERS).filter_map(PacketId::new).for_each(|id| encode(&mut bytes, id));
        Self { packet_bytes: bytes.len() / usize::from(IDENTIFIERS), bytes }
    }

    /// The packets from the given place of an endless row: `count` of them, or as many as stand together, and how many
    /// they are.
    fn packets(&self, from: u64, count: u64) -> (&[u8], u64) {
        let from = from % u64::from(IDENTIFIERS);
        let count = count.min(u64::from(IDENTIFIERS) - from);
        let bytes = |packets: u64| packets as usize * self.packet_bytes;
        (self.bytes.get(bytes(from)..bytes(from + count)).unwrap_or_default(), count)
    }
}
