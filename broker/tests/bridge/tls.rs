//! TLS between a bridge and the other broker.

use std::net::SocketAddr;

use sol::codec::QoS;
use sol::config::Direction::Both;
use sol::config::{Bridge, BridgeTls, Listener, Tls, TlsVersions};
use sol::{Broker, Config};

use crate::brokers::{Mosquitto, Remote, awaits_state, bridge, bridging, has_mosquitto_broker, topic};
use crate::common::{Client, eventually, publish};
use crate::messages::publish_to_end;
use crate::pki::Pki;

/// With a second listener, without TLS, to look at it.
fn sol(address: &str, tls: Tls) -> (Broker, SocketAddr) {
    let address: SocketAddr = address.parse().unwrap();
    let secure = Listener { tls: Some(tls), ..Listener::from(address) };
    let plain = Listener::from("127.0.0.1:0".parse::<SocketAddr>().unwrap());
    let broker = Broker::start(Config { listeners: vec![secure, plain], ..Config::on(address) }).unwrap();
    let plain = broker.local_addrs()[1];
    (broker, plain)
}

fn secured(to: SocketAddr, pki: &Pki) -> Bridge {
    let tls = BridgeTls {
        cafile: pki.cafile(),
        identity: None,
        is_insecure: false,
        versions: TlsVersions::V1_2AndV1_3,
        alpn: None,
    };
    Bridge { tls: Some(tls), ..bridge("b", to, vec![topic("t/#", Both, QoS::ExactlyOnce)]) }
}

/// A large message there and back, and small ones.
fn goes_both_ways(here: SocketAddr, there: SocketAddr) {
    awaits_state(there, "state/b", b"1");
    let mut near = Client::subscribed(here, "near", "t/in", QoS::AtLeastOnce);
    let mut far = Client::subscribed(there, "far", "t/out", QoS::AtLeastOnce);
    let (mut from_near, mut from_far) =
        (Client::connect(here, "from-near"), Client::connect(there, "from-far"));
    for payload in [vec![1; 400_000], vec![2; 1], vec![3; 70_000]] {
        publish_to_end(&mut from_near, publish("t/out", &payload, QoS::AtLeastOnce));
        publish_to_end(&mut from_far, publish("t/in", &payload, QoS::AtLeastOnce));
        assert!(far.message() == payload && near.message() == payload);
    }
}

#[test]
fn messages_go_over_tls_of_each_version_with_a_certificate_of_its_own() {
    let pki = Pki::new("authority");
    let identity = pki.client("bridge");
    for versions in [TlsVersions::V1_2, TlsVersions::V1_3] {
        let server = pki.server("server");
        let tls = Tls { cafile: Some(pki.cafile()), require_certificate: true, ..server.tls() };
        let (broker, there) = sol("127.0.0.1:0", tls);
        let mut settings = secured(broker.local_addr(), &pki);
        let tls = settings.tls.as_mut().unwrap();
        tls.versions = versions;
        tls.identity = Some((identity.certfile.clone(), identity.keyfile.clone()));
        let here = bridging(vec![settings]);
        goes_both_ways(here.local_addr(), there);
    }
}

#[test]
fn mosquitto_is_spoken_to_over_tls() {
    if !has_mosquitto_broker() {
        return;
    }
    let pki = Pki::new("authority");
    let server = pki.server("server");
    let mosquitto = Mosquitto::start(&format!(
        "allow_anonymous true\ncertfile {}\nkeyfile {}\nlistener $P 127.0.0.1\nallow_anonymous true",
        server.certfile.display(),
        server.keyfile.display()
    ));
    let plain = mosquitto.second;
    let remote = Remote::Mosquitto(mosquitto);
    let here = bridging(vec![secured(remote.address(), &pki)]);
    goes_both_ways(here.local_addr(), plain);
}

#[test]
fn who_cannot_show_a_certificate_of_the_authority_is_not_spoken_to() {
    let (pki, other) = (Pki::new("authority"), Pki::new("other"));
    let (broker, there) = sol("127.0.0.1:0", other.server("server").tls());
    let here = bridging(vec![secured(broker.local_addr(), &pki)]);
    eventually("it tried", || broker.stats().sockets >= 3);
    assert_eq!(broker.stats().connects, 0);
    drop(here);
    // With the right one it connects.
    let here = bridging(vec![secured(broker.local_addr(), &other)]);
    goes_both_ways(here.local_addr(), there);
}

/// 127.0.0.2 is this machine on Linux alone.
#[test]
#[cfg(target_os = "linux")]
fn a_certificate_for_another_name_will_do_where_that_is_said() {
    let pki = Pki::new("authority");
    let (broker, there) = sol("127.0.0.2:0", pki.server("server").tls());
    let mut settings = secured(broker.local_addr(), &pki);
    let here = bridging(vec![settings.clone()]);
    eventually("it tried", || broker.stats().sockets >= 3);
    assert_eq!(broker.stats().connects, 0);
    drop(here);
    settings.tls.as_mut().unwrap().is_insecure = true;
    let here = bridging(vec![settings.clone()]);
    goes_both_ways(here.local_addr(), there);
    drop(here);
    // The authority's file is gone with its directory.
    settings.tls.as_mut().unwrap().cafile = Pki::new("other").cafile();
    let missing = Broker::start(crate::brokers::config(vec![settings])).err().unwrap();
    assert!(missing.to_string().contains("cannot speak TLS over the bridge b: cannot read"), "{missing}");
}
