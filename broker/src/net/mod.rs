//! Sockets, timers and threads: the only floor that has them.

mod connection;
mod listener;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_io::Timer;
use log::{info, warn};
use smol::{Executor, Task, channel};
use thiserror::Error;

use crate::config::Config;
use crate::hub::{Batch, Hub, Stats};

/// How often a stop looks whether the clients are gone.
const STOP_POLL: Duration = Duration::from_millis(5);

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// No address to listen on.
    #[error("no address to listen on: give at least one in `listen`")]
    NoListener,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A broker that runs in this process, until it is stopped or dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let config = sol::Config { listen: vec!["127.0.0.1:0".parse()?], ..sol::Config::default() };
/// let broker = sol::Broker::start(config)?;
///
/// let mut client = TcpStream::connect(broker.local_addr())?;
/// client.write_all(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03you")?; // CONNECT
/// let mut connack = [0; 4];
/// client.read_exact(&mut connack)?;
/// assert_eq!(connack, [0x20, 2, 0, 0]); // accepted
///
/// broker.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broker {
    hub: Arc<Hub>,
    addresses: Vec<SocketAddr>,
    listeners: Vec<Task<()>>,
    /// Closing it ends the threads.
    running: Option<channel::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}
