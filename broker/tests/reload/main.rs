//! The configuration changes, in each of its sections, while clients go on: nobody is lost but who came by a listener that
//! is gone.
//!
//! `cargo test` has a few clients and reloads. All of it:
//!
//! ```text
//! SOL_FLOODS=full cargo test --release -p sol --test reload -- --nocapture
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../tls/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
#[path = "../tls/pki.rs"]
#[allow(dead_code)]
mod pki;
mod site;

use std::net::TcpStream;

use common::{Client, eventually, publish};
use crowd::Crowd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use site::{Site, connect_v5};
use sol::codec::{Packet, QoS, Reason};
use sol::config::{Endpoint, Listener};
use sol::{Broker, Config};

#[test]
fn nobody_is_lost_but_who_came_by_a_listener_that_is_gone() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let is_full = std::env::var("SOL_FLOODS").is_ok_and(|size| size == "full");
    let (clients, reloads) = if is_full { (1000, 100) } else { (40, 8) };

    let mut site = Site::new();
    let crowd = Crowd::new(site.plain, clients);
    eventually("all clients go on", || crowd.messages() >= clients as u64);
    // Connected before the rights change, and held to them all the same.
    let mut witness = Client::subscribed(site.plain, "witness", "only/+", QoS::AtMostOnce);
    let mut guests = Vec::new();
    let mut extra = None;
    for reload in 1..=reloads {
        if reload % 4 == 1 {
            site.stumble();
        }
        let before = crowd.messages();
        site.next();
        let n = site.number;
        for (topic, payload) in [(n - 1, "old"), (n, "new")] {
            let topic = format!("only/{topic}");
            witness.send(&[Packet::Publish(publish(&topic, payload.as_bytes(), QoS::AtMostOnce))]);
        }
        assert_eq!(witness.message(), b"new");
        if n % 2 == 1 {
            let address = site.extra();
            let mut guest = Client::open(address);
            guest.send(&[connect_v5("guest")]);
            assert!(matches!(guest.receive(), Packet::Connack(connack) if connack.reason == Reason::Success));
            guests = vec![guest, Client::connect(address, "older guest")];
            extra = Some(address);
        } else {
            let mut told = guests.drain(..);
            match told.next().unwrap().receive_or_end() {
                Some(Packet::Disconnect(it)) => assert_eq!(it.reason, Reason::ServerShuttingDown),
                other => panic!("{other:?}"),
            }
            // Before 5.0 there is no way to tell.
            told.next().unwrap().expect_closed();
            assert!(TcpStream::connect(extra.take().unwrap()).is_err(), "the listener is gone");
        }
        eventually("the clients go on", || crowd.messages() > before);
    }
    let messages = crowd.messages();
    crowd.finish();
    witness.ping();
    println!("{clients} clients, {reloads} reloads, {messages} messages meanwhile: none lost");
}

#[test]
fn a_listener_that_goes_leaves_its_port_to_one_that_comes() {
    let broker = Broker::start(Config::on("127.0.0.1:0".parse().unwrap())).unwrap();
    let (here, port) = (broker.local_addr(), broker.local_addr().port());
    let change = |endpoints: &[Endpoint]| {
        let listener = |endpoint: &Endpoint| Listener { endpoint: endpoint.clone(), ..Listener::default() };
        broker.change(Config { listeners: endpoints.iter().map(listener).collect(), ..Config::default() })
    };
    let nowhere = Endpoint::Unix { path: "/nowhere/sol.sock".into(), mode: None };
    let mut guest = Client::connect(here, "guest");
    change(&[Endpoint::Any(port), nowhere]).unwrap_err();
    guest.ping();
    Client::connect(here, "another").ping();
    for endpoint in [Endpoint::Any(port), Endpoint::Tcp(here), Endpoint::Any(port)] {
        change(std::slice::from_ref(&endpoint)).unwrap();
        assert_eq!(broker.endpoints(), [endpoint]);
        guest.expect_closed();
        guest = Client::connect(here, "guest");
    }
}
