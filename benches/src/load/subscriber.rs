//! The side that gets messages.

use std::io;
use std::net::TcpStream;

use smol::Async;
use smol::io::AsyncWriteExt;
use sol::codec::{AckType, PacketType, QoS, encode_ack};

use super::progress::Progress;
use super::reader::Reader;

#[derive(Debug)]
pub(super) struct Subscriber {
    stream: Async<TcpStream>,
    reader: Reader,
    qos: QoS,
    acknowledgements: Vec<u8>,
}

impl Subscriber {
    pub(super) fn new(stream: TcpStream, qos: QoS) -> io::Result<Self> {
        Ok(Self { stream: Async::new(stream)?, reader: Reader::new(), qos, acknowledgements: Vec::new() })
    }

    /// Receives and acknowledges all messages.
    pub(super) async fn run(&mut self, progress: &Progress) -> io::Result<()> {
        let Self { stream, reader, qos, acknowledgements } = self;
        let mut stream = &*stream;
        let (mut received, mut released) = (0, 0);
        while received < progress.messages || (*qos == QoS::ExactlyOnce && released < progress.messages) {
            let before = received;
            reader
                .read(stream, |frame| {
                    if frame.is_publish_at(*qos) && received < progress.messages {
                        received += 1;
                        match qos {
                            QoS::AtMostOnce => {}
                            QoS::AtLeastOnce => {
                                encode_ack(acknowledgements, AckType::Puback, frame.packet_id()?)
                            }
                            QoS::ExactlyOnce => {
                                encode_ack(acknowledgements, AckType::Pubrec, frame.packet_id()?)
                            }
                        }
                    } else if frame.is(PacketType::Pubrel) && released < progress.messages {
                        released += 1;
                        encode_ack(acknowledgements, AckType::Pubcomp, frame.packet_id()?);
                    } else {
                        return Err(frame.unexpected());
                    }
                    Ok(())
                })
                .await?;
            stream.write_all(acknowledgements).await?;
            acknowledgements.clear();
            progress.add(|counts| counts.delivered += received - before);
        }
        Ok(())
    }
}
