//! One network connection of a client that has many in its life.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use smol::Async;
use sol::codec::{Connack, Connect, Decoded, Packet, PropertiesBuf, Property, Reason, Version, decode};

/// The network connection is over.
#[derive(Debug)]
pub(crate) struct Gone;

pub(crate) struct Connection {
    stream: Async<TcpStream>,
    version: Version,
    received: Vec<u8>,
    /// Packets to send with the next [`Connection::flush`]. What is still here when the connection is dropped was never
    /// sent.
    pub(crate) out: Out,
}

/// Encoded packets.
pub(crate) struct Out {
    version: Version,
    bytes: Vec<u8>,
}

impl Out {
    pub(crate) fn put(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.bytes).unwrap();
    }
}

impl Connection {
    /// Connects with a session that stays, and gives whether it was there.
    pub(crate) async fn resume(
        address: SocketAddr,
        version: Version,
        client_id: &str,
        receive_maximum: Option<u16>,
    ) -> Result<(Self, bool), Gone> {
        let mut properties = PropertiesBuf::new();
        if version == Version::V5 {
            properties.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
            if let Some(maximum) = receive_maximum.and_then(|maximum| maximum.try_into().ok()) {
                properties.push(Property::ReceiveMaximum(maximum)).unwrap();
            }
        }
        let connect = Connect {
            version,
            clean_session: false,
            properties: properties.as_properties(),
            ..crate::common::connect(client_id)
        };
        Self::open(address, connect).await
    }

    /// Connects, and gives whether there was a session.
    pub(crate) async fn open(address: SocketAddr, connect: Connect<'_>) -> Result<(Self, bool), Gone> {
        let version = connect.version;
        let stream = Async::<TcpStream>::connect(address).await.map_err(|_| Gone)?;
        stream.get_ref().set_nodelay(true).map_err(|_| Gone)?;
        let mut connection =
            Self { stream, version, received: Vec::new(), out: Out { version, bytes: Vec::new() } };
        connection.out.put(&Packet::Connect(connect));
        connection.flush().await?;
        let mut session_present = None;
        while session_present.is_none() {
            // What comes in one piece with CONNACK must not be taken off with it.
            connection.fill().await?;
            if let Decoded::Packet { packet, length } =
                decode(&connection.received, Some(version), usize::MAX).expect("the broker sent nonsense")
            {
                let Packet::Connack(Connack { session_present: is_present, reason, properties }) = packet
                else {
                    panic!("{packet:?} for CONNACK")
                };
                assert_eq!(reason, Reason::Success);
                for property in properties.iter() {
                    if let Property::ReceiveMaximum(maximum) = property {
                        assert!(maximum.get() >= crate::publisher::WINDOW as u16, "{property:?}");
                    }
                }
                session_present = Some(is_present);
                connection.received.drain(..length);
            }
        }
        Ok((connection, session_present == Some(true)))
    }

    /// Sends `out`.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        let mut sent = 0;
        while sent < self.out.bytes.len() {
            match self.stream.get_ref().write(&self.out.bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.writable().await.map_err(|_| Gone)?;
                }
                // What it said before it went is still to be read.
                Err(_) => break,
            }
        }
        self.out.bytes.clear();
        Ok(())
    }

    /// Waits until there is something to [`Connection::take`].
    pub(crate) async fn fill(&mut self) -> Result<(), Gone> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.get_ref().read(&mut buffer) {
                Ok(0) => return Err(Gone),
                Ok(n) => {
                    self.received.extend_from_slice(&buffer[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.readable().await.map_err(|_| Gone)?;
                }
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Handles all whole packets that are there. What is owed for them goes into `out`.
    pub(crate) fn take(&mut self, mut handle: impl FnMut(&Packet<'_>, &mut Out)) {
        let mut at = 0;
        while let Decoded::Packet { packet, length } =
            decode(&self.received[at..], Some(self.version), usize::MAX).expect("the broker sent nonsense")
        {
            at += length;
            handle(&packet, &mut self.out);
        }
        self.received.drain(..at);
    }
}
