//! A connection without an actor: asks, waits, reads. For probing a target and for cleaning up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Version;
use crate::frame::decode::{Frame, Frames};
use crate::frame::{Kind, Packet, Side, encode::encode};
use crate::target::Target;
use crate::transport::Transport;

/// A plain, blocking connection. Errors are sentences.
#[derive(Debug)]
pub struct Plain {
    transport: Arc<dyn Transport>,
    version: Version,
    frames: Frames,
    /// How long a whole packet may take.
    patience: Duration,
}

impl Plain {
    /// Speaks this version on this connection; no call waits longer than `deadline`.
    ///
    /// # Errors
    /// It takes no deadline.
    pub fn over(transport: Arc<dyn Transport>, version: Version, deadline: Duration) -> Result<Self, String> {
        transport.set_read_timeout(Some(deadline)).map_err(|error| error.to_string())?;
        let frames = Frames::of(Side::Broker, version);
        Ok(Plain { transport, version, frames, patience: deadline * 4 })
    }

    /// Connects in this version with the target's credentials and a clean session under this identifier.
    ///
    /// # Errors
    /// Nobody answers, or not by CONNACK with code 0.
    pub fn connect(target: &Target, version: Version, client_id: &[u8]) -> Result<Self, String> {
        let transport =
            target.endpoint.connect(target.deadline).map_err(|error| format!("cannot connect: {error}"))?;
        let mut plain = Self::over(transport, version, target.deadline)?;
        let mut connect = Packet::new(Kind::Connect).with("client_id", client_id.to_vec());
        if let Some(credentials) = &target.credentials {
            credentials.sign(&mut connect);
        }
        plain.send(&connect)?;
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
        self.transport
            .write_all(&encode(packet, self.version))
            .map_err(|error| format!("cannot send {packet}: {error}"))
    }

    /// The next packet.
    ///
    /// # Errors
    /// None comes in time, the connection ends, or what comes is malformed.
    pub fn receive(&mut self) -> Result<Packet, String> {
        self.receive_frame()?.packet.map_err(|reason| format!("it sends a malformed packet: {reason}"))
    }

    /// The next packet, which must be of this kind.
    ///
    /// # Errors
    /// As [`Plain::receive`], or another comes.
    pub fn await_kind(&mut self, kind: Kind) -> Result<Packet, String> {
        match self.receive()? {
            packet if packet.kind == kind => Ok(packet),
            other => Err(format!("it sends {other} where {kind} should come")),
        }
    }

    /// The next frame, whether it is a packet or not.
    ///
    /// # Errors
    /// None comes in time, or the connection ends.
    pub fn receive_frame(&mut self) -> Result<Frame, String> {
        let mut buffer = [0; 4096];
        let until = Instant::now() + self.patience;
        loop {
            if let Some(frame) = self.frames.next() {
                return Ok(frame);
            }
            if Instant::now() >= until {
                return Err("it sends nothing whole in time".to_owned());
            }
            match self.transport.read(&mut buffer) {
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

impl Drop for Plain {
    fn drop(&mut self) {
        self.transport.close();
    }
}
