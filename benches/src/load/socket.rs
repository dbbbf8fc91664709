//! What carries the bytes, without ever blocking: TCP, or TLS over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls_client::pki_types::ServerName;
use rustls_client::{ClientConfig, ClientConnection};

/// A connection to the broker.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Socket {
    /// Connects; over loopback that is done at once while the broker's backlog has room.
    pub(super) fn open(broker: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let tcp = TcpStream::connect(broker)?;
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        let session = |config| {
            let name = ServerName::from(broker.ip());
            ClientConnection::new(Arc::clone(config), name).map(Box::new).map_err(io::Error::other)
        };
        Ok(Self { tcp, tls: tls.map(session).transpose()? })
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads once. None: there is nothing now, and the poller will say when there is.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let Self { tcp, tls: Some(tls) } = self else { return some_bytes(self.tcp.read(room)) };
        loop {
            match tls.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return some_bytes(read),
            }
            let Some(_) = some_bytes(tls.read_tls(tcp))? else { return Ok(None) };
            tls.process_new_packets().map_err(io::Error::other)?;
            // What the handshake answers.
            write_tls(tls, tcp)?;
        }
    }

    /// Whether a read of less than there was room for took all there was.
    pub(super) fn is_drained_by(&self, read: usize, room: usize) -> bool {
        self.tls.is_none() && read < room
    }

    /// Writes what goes, which may be nothing. With TLS, what was taken before and did not go yet is tried first.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { tcp, tls } = self;
        let written = match tls {
            None => tcp.write(bytes),
            Some(tls) => {
                write_tls(tls, tcp)?;
                let taken = tls.writer().write(bytes)?;
                write_tls(tls, tcp)?;
                return Ok(taken);
            }
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }
}

fn write_tls(tls: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            written => written?,
        };
    }
    Ok(())
}

fn some_bytes(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker closed a connection")),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
