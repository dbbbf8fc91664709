//! Accepting connections.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::io;

use async_io::Async;
use log::{debug, warn};
use smol::{Executor, Timer};
use socket2::{Domain, Protocol, Type};

use super::connection;
use super::socket::Tcp;
use crate::hub::Hub;

/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Opens a listening socket.
pub(super) fn bind(address: SocketAddr, backlog: i32) -> io::Result<Async<TcpListener>> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As mosquitto does: a restart must not wait for the old connections' last packets.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Async::new(socket.into())
}

/// Accepts connections as long as there is an executor, each served by a task of its own.
///
/// This is a task of the executor itself. If it owned it, neither would ever be dropped, nor the socket closed.
pub(super) async fn accept(listener: Async<TcpListener>, hub: Arc<Hub>, executor: Weak<Executor<'static>>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => match executor.upgrade() {
                Some(executor) => admit(stream, address, &hub, &executor),
                None => return,
            },
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                Timer::after(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn admit(stream: Async<TcpStream>, address: SocketAddr, hub: &Arc<Hub>, executor: &Executor<'static>) {
    // Batches are as large as they can be already; what is small should not wait.
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        debug!("{address}: TCP_NODELAY: {error}");
    }
    match hub.accept(address, Instant::now()) {
        Some(peer) => {
            executor.spawn(connection::serve(Tcp::new(stream), peer, Arc::clone(hub))).detach();
        }
        None => warn!("{address} was not let in: there are as many connections as the limit allows"),
    }
}
