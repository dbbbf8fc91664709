//! A disk that is full, or that has become read-only, and then is neither: nothing is acknowledged that is not stored,
//! whoever does not need the disk is served meanwhile, and all goes on by itself.
//!
//! The disk is a small one in memory, mounted where only the test and its broker see it; that takes root.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod publisher;
mod subscriber;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::process::{Place, Sol};
use common::{Client, PATIENCE};
use disk::Disk;
use publisher::Publishers;
use rustix::process::Signal;
use sol::codec::{Ack, Delivery, Packet, QoS, Reason, Version};
use subscriber::Absent;

const MIB: usize = 1 << 20;

const CANNOT: &str = "the store cannot be written";
const CAN_AGAIN: &str = "the store can be written again";

/// The broker, with its store on the disk.
struct Broker {
    place: Place,
    sol: Sol,
}

impl Broker {
    fn start(disk: &Disk) -> Self {
        let place = Place::new(&format!(
            "ip_port 0\nhttp_listener 127.0.0.1:0\nstats_publish_interval 1s\npersistence true\npersistence_location {}\n\
             persistence_sync always\nmax_persistence_backlog_bytes 1MB\n",
            disk.path().join("store").display()
        ));
        Self { sol: place.start(), place }
    }

    fn address(&self) -> SocketAddr {
        self.sol.address
    }

    /// Where it speaks HTTP.
    fn http(&mut self) -> SocketAddr {
        let line = self.sol.line(" tells of itself on http://");
        let (_, behind) = line.split_once("http://").unwrap();
        behind.split(',').next().unwrap().parse().unwrap()
    }

    fn kill(self) -> Place {
        self.sol.signal(Signal::KILL);
        _ = self.sol.end();
        self.place
    }

    fn start_again(place: Place) -> Self {
        Self { sol: place.start(), place }
    }

    /// Stops it, and gives its log.
    fn stop(self) -> String {
        self.sol.signal(Signal::TERM);
        let (code, log) = self.sol.end();
        assert_eq!(code, Some(0), "{log}");
        log
    }
}

/// Waits until the broker says in `$SYS` that the store fails, or does not.
fn until_failing(watch: &mut Client, is_failing: bool) {
    let wanted = u8::from(is_failing).to_string();
    while watch.message() != wanted.as_bytes() {}
}

/// Waits until `/readyz` answers that clients are served, or that they are not because of the store.
fn until_ready(http: SocketAddr, is_ready: bool) {
    let wanted = if is_ready { "HTTP/1.1 200 " } else { "HTTP/1.1 503 " };
    common::eventually(wanted, || {
        let mut stream = TcpStream::connect(http).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.starts_with(wanted) && is_ready != answer.contains("the store has not been written")
    });
}

fn watch(address: SocketAddr) -> Client {
    let watch = Client::subscribed(address, "watch", "$SYS/broker/store/failing", QoS::AtMostOnce);
    // Nothing comes while the disk fills.
    watch.stream.set_read_timeout(Some(10 * PATIENCE)).unwrap();
    watch
}

/// Clients with clean sessions, whose messages nobody else gets.
struct Bystander(Client);

impl Bystander {
    fn new(address: SocketAddr) -> Self {
        Self(Client::subscribed(address, "bystander", "live", QoS::AtLeastOnce))
    }

    /// It gets its own message, and the acknowledgement.
    fn is_served(&mut self) {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            self.0.send(&[Packet::Publish(common::publish("live", b"on", qos))]);
            let (mut arrived, mut acknowledged) = (false, qos == QoS::AtMostOnce);
            while !(arrived && acknowledged) {
                let answer = match self.0.receive() {
                    Packet::Puback(_) => {
                        acknowledged = true;
                        continue;
                    }
                    Packet::Publish(publish) => {
                        arrived = true;
                        match publish.delivery {
                            Delivery::AtLeastOnce(packet_id) => Ack::new(packet_id),
                            _ => continue,
                        }
                    }
                    other => panic!("{other:?}"),
                };
                self.0.send(&[Packet::Puback(answer)]);
            }
        }
    }
}

/// What CONNACK says to somebody whose session is to stay.
fn new_session(address: SocketAddr) -> Reason {
    let mut client = Client::open(address);
    client.send(&[Packet::Connect(subscriber::connect("new", Version::V311))]);
    let Packet::Connack(connack) = client.receive() else { panic!("no CONNACK") };
    connack.reason
}

/// Something is done to the disk, messages come until it shows, something is done about it, and nothing was lost.
fn fails_and_goes_on(disk: &Disk, payload_bytes: usize, spoil: impl FnOnce(&Disk), mend: impl FnOnce(&Disk)) {
    let mut broker = Broker::start(disk);
    let (address, http) = (broker.address(), broker.http());
    let mut absent = Absent::subscribe_all(address);
    let (mut watch, mut bystander) = (watch(address), Bystander::new(address));
    until_failing(&mut watch, false);
    bystander.is_served();

    spoil(disk);
    let publishers = Publishers::start(address, payload_bytes);
    until_failing(&mut watch, true);
    until_ready(http, false);
    for _ in 0..10 {
        bystander.is_served();
    }
    // A session that is to stay cannot be promised now.
    assert_eq!(new_session(address), Reason::ServerUnavailable);
    bystander.is_served();

    mend(disk);
    until_failing(&mut watch, false);
    until_ready(http, true);
    assert_eq!(new_session(address), Reason::Success);
    bystander.is_served();
    let acknowledged = publishers.finish();
    println!("{} messages were acknowledged", acknowledged.len());
    for absent in &mut absent {
        absent.come_back(address, &acknowledged);
    }
    let log = broker.stop();
    assert_eq!(log.matches(CANNOT).count(), 1, "{log}");
    assert_eq!(log.matches(CAN_AGAIN).count(), 1, "{log}");
}

#[test]
fn a_full_disk_and_room_again() {
    disk::with_disk_of(8 * MIB, |disk| {
        fails_and_goes_on(disk, 1000, |_| {}, |disk| disk.resize(256 * MIB));
    });
}

/// What is open for writing stays so; it shows when the next file is needed.
#[test]
fn a_disk_that_is_read_only_for_a_time() {
    disk::with_disk_of(256 * MIB, |disk| {
        fails_and_goes_on(disk, 20_000, |disk| disk.set_read_only(true), |disk| disk.set_read_only(false));
    });
}

#[test]
fn killed_while_the_disk_is_full() {
    disk::with_disk_of(8 * MIB, |disk| {
        let broker = Broker::start(disk);
        let address = broker.address();
        let mut absent = Absent::subscribe_all(address);
        let mut watch = watch(address);
        let publishers = Publishers::start(address, 1000);
        until_failing(&mut watch, true);
        let place = broker.kill();
        let acknowledged = publishers.broken_off();
        println!("{} messages were acknowledged", acknowledged.len());
        disk.resize(64 * MIB);
        let broker = Broker::start_again(place);
        for absent in &mut absent {
            absent.come_back(broker.address(), &acknowledged);
        }
        broker.stop();
    });
}
