//! A connection without an actor: asks, waits, reads. For probing a target and for cleaning up.

use std::sync::Arc;
use std::time::Duration;

use crate::frame::{Kind, Packet, decode::Frames, encode::encode};
use crate::target::Target;
use crate::transport::Transport;

/// A plain, blocking connection. Errors are sentences.
#[derive(Debug)]
pub struct Plain {
    transport: Arc<dyn Transport>,
    frames: Frames,
}

impl Plain {
    /// Uses this connection; no call waits longer than `deadline`.
    ///
    /// # Errors
    /// It takes no deadline.
    pub fn over(transport: Arc<dyn Transport>, deadline: Duration) -> Result<Self, String> {
        transport.set_read_timeout(Some(deadline)).map_err(|error| error.to_string())?;
        Ok(Plain { transport, frames: Frames::default() })
    }

    /// Connects with the target's credentials and a clean session under this identifier.
    ///
    /// # Errors
    /// Nobody answers, or not by CONNACK with return code 0.
    pub fn connect(target: &Target, client_id: &[u8]) -> Result<Self, String> {
        let transport =
            target.endpoint.connect(target.deadline).map_err(|error| format!("cannot connect: {error}"))?;
        let mut plain = Self::over(transport, target.deadline)?;
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
        self.transport.write_all(&encode(packet)).map_err(|error| format!("cannot send {packet}: {error}"))
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
