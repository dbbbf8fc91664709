//! The bytes to and from the other broker: TCP, or TLS over it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use smol::Timer;
use smol::future::FutureExt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Bridge;
use crate::net::tls::Secured;

/// How long one address may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the other broker.
pub(super) struct Wire {
    socket: Async<TcpStream>,
    tls: Option<Secured>,
}

impl Wire {
    /// Connects to the first address of the given ones that answers. Gives also which it is.
    ///
    /// # Errors
    ///
    /// What went wrong, in words; the last if there are several.
    pub(super) async fn connect(bridge: &Bridge, first: usize) -> Result<(Self, String), String> {
        let addresses = &bridge.settings.addresses;
        let mut last = "it has no address".to_owned();
        for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
            let port = address.port(bridge.tls.is_some());
            let found = smol::net::resolve((address.host.as_str(), port)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    last = format!("{address}: cannot be resolved: {error}");
                    continue;
                }
            };
            for at in found {
                match Self::open(bridge, at).await {
                    Ok(socket) => {
                        let tls = bridge.tls.as_ref().map(|tls| tls.connection(&address.host)).transpose();
                        let tls = tls.map_err(|error| format!("{address}: {error}"))?;
                        return Ok((Self { socket, tls }, address.to_string()));
                    }
                    Err(error) => last = format!("{address} ({at}): {error}"),
                }
            }
        }
        Err(last)
    }

    async fn open(bridge: &Bridge, to: SocketAddr) -> io::Result<Async<TcpStream>> {
        let from = bridge.settings.bind_address;
        if from.is_some_and(|from| from.is_ipv4() != to.is_ipv4()) {
            return Err(io::Error::other("`bridge_bind_address` is of the other version of IP"));
        }
        let connect = async {
            let Some(from) = from else { return Async::<TcpStream>::connect(to).await };
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
            // Blocks at most for the time that an address may take, on a thread for such work.
            let connected = smol::unblock(move || {
                socket.connect_timeout(&to.into(), TIMEOUT).map(|()| TcpStream::from(socket))
            });
            Async::new(connected.await?)
        };
        let timeout = async {
            Timer::after(TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let socket = connect.or(timeout).await?;
        socket.get_ref().set_nodelay(true)?;
        Ok(socket)
    }

    /// Reads what is there; 0 is the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // The handshake, or what TLS answers by itself.
            let _ = self.poll_flush(cx)?;
            let read = match &mut self.tls {
                None => self.socket.get_ref().read(buffer),
                Some(tls) => tls.read(self.socket.get_ref(), buffer),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.tls.as_ref().is_some_and(Secured::wants_write) {
                        let _ = self.poll_flush(cx)?;
                    }
                    ready!(self.socket.poll_readable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes what goes without waiting. TLS may still hold some of it: [`Wire::poll_flush`] writes that.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.tls.is_some() {
                ready!(self.poll_flush(cx))?;
            }
            let written = match &mut self.tls {
                None => self.socket.get_ref().write(bytes),
                Some(tls) => tls.write(bytes),
            };
            match written {
                // TLS has no room before its handshake is over, which what is read moves on.
                Ok(0) if self.tls.is_some() => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_writable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes what TLS holds.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while tls.wants_write() {
            match tls.flush(self.socket.get_ref()) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_writable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be written, as far as that goes at once.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            _ = tls.flush(self.socket.get_ref());
        }
        _ = self.socket.get_ref().shutdown(std::net::Shutdown::Write);
    }
}
