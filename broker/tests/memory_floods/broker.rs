//! The broker as a process, and what it takes.

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;

use crate::common::process::{Place, Sol};

pub(crate) struct Broker {
    sol: Sol,
    place: Place,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let place = Place::new(
            "ip_port 0\nthreads 2\npersistence true\npersistence_location $D/store\n\
             max_stored_messages 10000000\nmax_stored_bytes 10GB\n",
        );
        Self { sol: place.start(), place }
    }

    /// On another port.
    pub(crate) fn kill_and_start_again(self) -> Self {
        let Self { sol, place } = self;
        sol.signal(Signal::KILL);
        _ = sol.end();
        Self { sol: place.start(), place }
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
