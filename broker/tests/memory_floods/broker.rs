//! The broker as a process, and what it takes.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::common::Port;
use crate::common::process::{self, Place, Sol};

pub(crate) struct Broker {
    sol: Sol,
    place: Place,
    _port: Port,
}

/// How long a start may take; a debug build is slow.
const PATIENCE: Duration = Duration::from_secs(600);

impl Broker {
    pub(crate) fn start() -> Self {
        let port = Port::new();
        let place = Place::new(&config(port.address().port()));
        Self { sol: place.start(), place, _port: port }
    }

    /// Waits until it takes connections again, on the same port.
    pub(crate) fn kill_and_start_again(self) -> Self {
        let Self { sol, place, _port } = self;
        let address = sol.address;
        sol.signal(Signal::KILL);
        _ = sol.end();
        let mut sol = Sol::spawn(process::sol(&["-c", &place.config()]));
        sol.address = address;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "does not listen again");
            thread::sleep(Duration::from_millis(1));
        }
        Self { sol, place, _port }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.sol.address
    }

    /// The most resident memory since the start or [`Broker::forget_peak`], in bytes.
    pub(crate) fn peak_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.sol.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }

    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.sol.id()), "5").unwrap();
    }

    /// What its store has in files.
    pub(crate) fn disk_bytes(&self) -> usize {
        let files = fs::read_dir(self.place.path("store")).unwrap();
        // One may be removed meanwhile.
        files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len() as usize).sum()
    }
}

/// With room for all that is sent.
fn config(port: u16) -> String {
    format!(
        "ip_port {port}\nthreads 2\npersistence true\npersistence_location $D/store\n\
         max_stored_messages 10000000\nmax_stored_bytes 10GB\nmax_queued_messages 1000000\nmax_queued_bytes 1GB\n"
    )
}
