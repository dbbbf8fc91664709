//! Connections that come by way of a proxy, which says in front of all else whom it speaks for.
//!
//! The header is read by the thread that keeps house, before the connection counts as anybody's: the limits of an address are
//! those of the client's.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod header;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use async_io::Async;
use smol::Timer;
use smol::future::or;
use socket2::Socket;

use header::{Header, MAX_BYTES, decode};

/// Why a connection is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It ended before its header did. Who looks whether the port is open does no more than that.
    Ended,
    /// Something to be told.
    Wrong(&'static str),
}

/// Takes the header off a connection, in so long. Gives the client's address, where the proxy speaks for one.
pub(super) async fn receive(
    socket: Socket,
    patience: Duration,
) -> Result<(Socket, Option<SocketAddr>), Refusal> {
    let socket = Async::new(socket).map_err(|_| Refusal::Ended)?;
    let late = async {
        Timer::after(patience).await;
        Err(Refusal::Wrong("the header of its PROXY protocol did not come in time"))
    };
    let source = or(read(&socket), late).await?;
    Ok((socket.into_inner().map_err(|_| Refusal::Ended)?, source))
}

/// Reads no byte that is behind it: what carries MQTT must find all of its own.
async fn read(socket: &Async<Socket>) -> Result<Option<SocketAddr>, Refusal> {
    let mut buffer = Vec::new();
    loop {
        let needed = match decode(&buffer).map_err(Refusal::Wrong)? {
            Header::Whole(source) => return Ok(source),
            Header::Needs(needed) => needed.min(MAX_BYTES),
        };
        let length = buffer.len();
        buffer.resize(length + needed, 0);
        let free = buffer.get_mut(length..).unwrap_or_default();
        match socket.read_with(|mut socket: &Socket| socket.read(free)).await {
            Ok(n @ 1..) => buffer.truncate(length + n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => buffer.truncate(length),
            _ => return Err(Refusal::Ended),
        }
    }
}
