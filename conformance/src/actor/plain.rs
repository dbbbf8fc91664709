//! A connection without an actor: asks, waits, reads. For probing a target and for cleaning up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::frame::{Kind, Packet, decode::Frames, encode::encode};

/// A plain, blocking connection. Errors are sentences.
#[derive(Debug)]
pub struct Plain {
    stream: TcpStream,
    frames: Frames,
}

impl Plain {
    /// Uses this stream; no call waits longer than `deadline`.
    ///
    /// # Errors
    /// The stream takes no deadline.
    pub fn over(stream: TcpStream, deadline: Duration) -> Result<Self, String> {
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(deadline)).map_err(|error| error.to_string())?;
        stream.set_write_timeout(Some(deadline)).map_err(|error| error.to_string())?;
        Ok(Plain { stream, frames: Frames::default() })
    }

    /// Connects, with a clean session under this identifier.
    ///
    /// # Errors
    /// Nobody answers, or not by CONNACK with return code 0.
    pub fn connect(address: SocketAddr, client_id: &[u8], deadline: Duration) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&address, deadline)
            .map_err(|error| format!("cannot connect: {error}"))?;
        let mut plain = Self::over(stream, deadline)?;
        plain.send(&Packet::new(Kind::Connect).with("client_id", client_id.to_vec()))?;
        let answer = plain.receive()?;
        if answer.kind == Kind::Connack && answer.number("reason") == Some(0) {
            Ok(plain)
        } else {
            Err(format!("CONNECT is answered by {answer}"))
        }
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn send(&mut self, packet: &Packet) -> Result<(), String> {
        self.stream.write_all(&encode(packet)).map_err(|error| format!("cannot send {packet}: {error}"))
    }

    /// The next packet.
    ///
    /// # Errors
    /// None comes in time, the connection ends, or what comes is malformed.
    pub fn receive(&mut self) -> Result<Packet, String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.frames.next() {
                return frame.packet.map_err(|reason| format!("it sends a malformed packet: {reason}"));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("it closes the connection".to_owned()),
                Ok(length) => self.frames.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err("it sends nothing in time".to_owned());
                }
                Err(error) => return Err(format!("the connection breaks: {error}")),
            }
        }
    }
}
