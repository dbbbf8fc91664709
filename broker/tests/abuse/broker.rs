//! The broker as a process, with a listener for each kind of client.

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;
use sol::auth::{Hash, Make};
use sol::codec::QoS;

use crate::common::Client;
use crate::common::process::{Place, Sol, listens_on};

pub(crate) struct Broker {
    sol: Sol,
    /// For the pair, and for who says nothing.
    pub(crate) quiet: SocketAddr,
    pub(crate) with_passwords: SocketAddr,
    pub(crate) with_rate: SocketAddr,
    _place: Place,
}

impl Broker {
    /// With the default limits, but for how fast a client may publish on the listener for that.
    pub(crate) fn start(rate: u32, threads: u32) -> Self {
        let place = Place::new(&format!(
            "ip_port 0\nthreads {threads}\nstats_publish_interval 1s\ntcp_backlog 4096\nper_listener_settings true\n\
             listener 0 127.0.0.1\nallow_anonymous false\npassword_file $D/passwords\n\
             listener 0 127.0.0.1\nallow_anonymous true\nmax_publish_messages_per_second {rate}\n"
        ));
        let hash = Hash::make(b"right", Make::Crypt, [7; 12]).unwrap();
        fs::write(place.path("passwords"), format!("user:{hash}\n")).unwrap();
        let mut sol = place.start();
        let quiet = sol.address;
        let [with_passwords, with_rate] = [(); 2].map(|()| listens_on(&sol.line(" listens on ")));
        Self { sol, quiet, with_passwords, with_rate, _place: place }
    }

    /// PUBLISH packets that it took so far.
    pub(crate) fn taken(&self) -> u64 {
        // A value is published when it has changed, which the time does each second. The first is of before.
        let mut client = Client::subscribed(self.quiet, "", "$SYS/broker/uptime", QoS::AtMostOnce);
        (0..3).for_each(|_| _ = client.message());
        let topic = "$SYS/broker/publish/messages/received";
        let mut client = Client::subscribed(self.quiet, "", topic, QoS::AtMostOnce);
        String::from_utf8(client.message()).unwrap().parse().unwrap()
    }

    pub(crate) fn ends_well(self) {
        self.sol.signal(Signal::TERM);
        let (code, log) = self.sol.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
