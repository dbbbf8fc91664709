//! Listening sockets that were open before the process began, as systemd opens them for a service (sd_listen_fds(3)).

use std::net::TcpListener;

use socket2::Socket;

use crate::config::Endpoint;

/// Sockets to listen on in place of opening them. Each is for the listener whose endpoint it has.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Endpoint, Socket)>);

impl Inherited {
    /// Takes a socket in.
    ///
    /// # Errors
    ///
    /// What the system says when asked where it listens.
    pub fn push_tcp(&mut self, listening: TcpListener) -> std::io::Result<()> {
        let endpoint = Endpoint::Tcp(listening.local_addr()?);
        self.0.push((endpoint, listening.into()));
        Ok(())
    }

    /// Takes a socket in; one without a path is for no listener.
    ///
    /// # Errors
    ///
    /// What the system says when asked where it listens.
    #[cfg(unix)]
    pub fn push_unix(&mut self, listening: std::os::unix::net::UnixListener) -> std::io::Result<()> {
        let path = listening.local_addr()?.as_pathname().unwrap_or(std::path::Path::new("")).to_owned();
        self.0.push((Endpoint::Unix { path, mode: None }, listening.into()));
        Ok(())
    }

    /// The socket for a listener, if there is one.
    pub(super) fn take(&mut self, wanted: &Endpoint) -> Option<Socket> {
        let found = self.0.iter().position(|(endpoint, _)| is_for(endpoint, wanted))?;
        Some(self.0.swap_remove(found).1)
    }

    /// One that no listener took.
    pub(super) fn left(self) -> Option<Endpoint> {
        self.0.into_iter().next().map(|(endpoint, _)| endpoint)
    }
}

fn is_for(endpoint: &Endpoint, wanted: &Endpoint) -> bool {
    match (endpoint, wanted) {
        (Endpoint::Tcp(address), Endpoint::Any(port)) => {
            address.ip().is_unspecified() && address.port() == *port
        }
        // Its permissions are those that it came with.
        (Endpoint::Unix { path, .. }, Endpoint::Unix { path: wanted, .. }) => path == wanted,
        (endpoint, wanted) => endpoint == wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_socket_is_for_the_listener_of_its_endpoint() {
        let mut inherited = Inherited::default();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        inherited.push_tcp(socket).unwrap();
        let other = SocketAddr::from(([127, 0, 0, 1], address.port() ^ 1));
        assert!(inherited.take(&Endpoint::Tcp(other)).is_none());
        assert!(inherited.take(&Endpoint::Any(address.port())).is_none());
        assert!(inherited.take(&Endpoint::Tcp(address)).is_some());
        assert!(inherited.take(&Endpoint::Tcp(address)).is_none());
        assert_eq!(inherited.left(), None);
    }

    #[test]
    fn one_of_all_addresses_is_for_a_listener_without_one() {
        for everywhere in ["[::]:0", "0.0.0.0:0"] {
            let mut inherited = Inherited::default();
            let Ok(socket) = TcpListener::bind(everywhere) else { continue };
            let port = socket.local_addr().unwrap().port();
            inherited.push_tcp(socket).unwrap();
            assert!(inherited.take(&Endpoint::Any(port)).is_some(), "{everywhere}");
        }
    }
}
