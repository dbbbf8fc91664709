//! mosquitto with the same file.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::peers::{exit_status, has};
use crate::common::process::Place;

/// mosquitto at work.
pub(crate) struct Mosquitto {
    process: Child,
    pub(crate) place: Place,
    pub(crate) addresses: Vec<SocketAddr>,
}

pub(crate) fn is_installed() -> bool {
    has("mosquitto", exit_status("mosquitto", &["-h"]).is_some())
}

impl Mosquitto {
    /// Waits until it listens at so many ports. One that is taken meanwhile by somebody else is no reason to fail.
    pub(crate) fn start(file: &str, listeners: usize) -> Self {
        for _ in 0..20 {
            let mut addresses = Vec::new();
            let place = crate::place(file, || {
                let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                addresses.push(address);
                address.port()
            });
            addresses.truncate(listeners);
            // It would become a user who may not read the files.
            let config = std::fs::read_to_string(place.path("sol.conf")).unwrap();
            place.configure(&format!("user root\n{config}"));
            let mut command = Command::new("mosquitto");
            command
                .args(["-c", &place.config()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let process = command.spawn().unwrap();
            let mut mosquitto = Self { process, place, addresses };
            if mosquitto.listens() {
                return mosquitto;
            }
        }
        panic!("mosquitto does not start with {file}");
    }

    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.process.try_wait().unwrap().is_none() {
            if self.addresses.iter().all(|address| TcpStream::connect(address).is_ok()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
