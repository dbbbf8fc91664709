//! Files, credentials, notifications, and when a bridge connects.

use std::time::Duration;

use sol::codec::{Connect, QoS};
use sol::config::Direction::{In, Out};
use sol::config::{BridgeStart, Notifications, Secret};
use sol::{Broker, Config, Limits};

use crate::brokers::{
    Mosquitto, awaits_state, bridge, bridging, connected, has_mosquitto_broker, remotes, topic,
};
use crate::common::process::{Place, output, said};
use crate::common::{Client, broker, connect, eventually, publish, running};
use crate::cut::subscribed;
use crate::messages::publish_to_end;

#[test]
fn a_bridge_of_a_mosquitto_file_is_served_and_told_of() {
    if !has_mosquitto_broker() {
        return;
    }
    let passwords = "allow_anonymous false\npassword_file $D/passwords";
    let mosquitto = {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("passwords");
        let mut command = std::process::Command::new("mosquitto_passwd");
        command.args(["-b", "-c", file.to_str().unwrap(), "berlin", "two words"]);
        assert!(running(command).output().status.success());
        let hashes = std::fs::read_to_string(&file).unwrap();
        Mosquitto::with_files(passwords, &[("passwords", &hashes)])
    };
    let config = |password: &str| {
        format!(
            "ip_port 0\nconnection office\naddress 127.0.0.1:{}\ntopic out/# out 1 \"\" berlin/\ntopic # in 0 office/\n\
             remote_username berlin\nremote_password {password}\nremote_clientid berlin-1\nrestart_timeout 1\n\
             cleansession false\nnotifications true\ntry_private true\nkeepalive_interval 60\nstart_type automatic\n",
            mosquitto.address.port()
        )
    };
    let place = Place::new(&config("two words"));
    let mut sol = place.start();
    sol.line("bridge office: connected to 127.0.0.1:");
    let mut far = Client::connect_as(
        mosquitto.address,
        Connect { user_name: Some("berlin"), password: Some(b"two words"), ..connect("far") },
        false,
    );
    far.subscribe("berlin/out/x", QoS::AtLeastOnce);
    let mut near = Client::connect(sol.address, "near");
    publish_to_end(&mut near, publish("out/x", b"x", QoS::AtLeastOnce));
    assert_eq!(far.message(), b"x");
    // Its topic comes from the name that it has there.
    awaits_state(sol.address, "$SYS/broker/connection/berlin-1/state", b"1");
    far.subscribe("$SYS/broker/connection/berlin-1/state", QoS::AtMostOnce);
    assert_eq!(far.message(), b"1");
    // A stop says so on both sides.
    sol.signal(rustix::process::Signal::TERM);
    assert_eq!(far.message(), b"0");
    assert_eq!(sol.end().0, Some(0));

    let place = Place::new(&config("wrong"));
    let mut sol = place.start();
    sol.line("bridge office: cannot connect: it refused CONNECT: ");
    awaits_state(sol.address, "$SYS/broker/connection/berlin-1/state", b"0");
}

#[test]
fn a_file_that_a_bridge_cannot_use_is_told_of_with_its_line() {
    let place = Place::new("connection b\naddress a\ntopic t\nbridge_cafile $D/missing\n");
    let (code, _, errors) = said(output(&["-t", "-c", &place.config()]));
    assert_eq!(code, Some(78), "{errors}");
    assert!(errors.contains("sol.conf:4: `bridge_cafile`: cannot read "), "{errors}");
}

#[test]
fn sol_lets_a_bridge_in_as_any_client() {
    let place = Place::new("ip_port 0\nallow_anonymous false\npassword_file $D/passwords\n");
    std::fs::write(place.path("passwords"), "").unwrap();
    let passwords = place.path("passwords");
    let mut command =
        crate::common::process::sol(&["passwd", "-b", passwords.to_str().unwrap(), "berlin", "secret"]);
    command.stdin(std::process::Stdio::null());
    let output = running(command).output();
    assert!(output.status.success(), "{output:?}");
    let remote = place.start();
    let mut settings = bridge("b", remote.address, vec![topic("t", In, QoS::AtLeastOnce)]);
    settings.user_name = Some("berlin".to_owned());
    settings.password = Some(Secret("secret".to_owned()));
    let here = bridging(vec![settings]);
    awaits_state(here.local_addr(), "state/b", b"1");
}

#[test]
fn each_side_is_told_when_the_other_is_gone() {
    for remote in remotes() {
        let there = remote.address();
        let mut settings = bridge("b", there, vec![topic("t", Out, QoS::AtMostOnce)]);
        settings.notifications = Some(Notifications::default());
        settings.remote_client_id = Some("site".to_owned());
        let state = "$SYS/broker/connection/site/state";
        let here = bridging(vec![settings.clone()]);
        awaits_state(there, state, b"1");
        awaits_state(here.local_addr(), state, b"1");
        here.stop();
        awaits_state(there, state, b"0");
        // And that it is not, by its will, when it cannot say so.
        let proxy = crate::proxy::Proxy::to(there);
        let address =
            sol::config::RemoteAddress { host: "127.0.0.1".into(), port: Some(proxy.address().port()) };
        settings.addresses = vec![address];
        let here = bridging(vec![settings]);
        awaits_state(there, state, b"1");
        proxy.cut();
        awaits_state(there, state, b"0");
        awaits_state(here.local_addr(), state, b"0");
    }
}

#[test]
fn of_several_addresses_one_that_answers_is_taken() {
    let remote = broker(Limits::default());
    let dead = crate::proxy::Proxy::to(remote.local_addr());
    dead.cut();
    let mut settings = bridge("b", dead.address(), vec![topic("t", Out, QoS::AtMostOnce)]);
    settings.round_robin = true;
    settings.addresses.extend(bridge("x", remote.local_addr(), Vec::new()).addresses);
    let _here = bridging(vec![settings]);
    connected(remote.local_addr(), "b");
}

#[test]
fn a_lazy_bridge_connects_when_enough_waits_and_leaves_when_nothing_goes() {
    let remote = broker(Limits::default());
    let there = remote.local_addr();
    let mut settings = bridge("b", there, vec![topic("t", Out, QoS::AtLeastOnce)]);
    settings.start = BridgeStart::Lazy { threshold: 3, idle: Duration::from_millis(50) };
    let here = bridging(vec![settings]);
    eventually("there is a session", || here.stats().subscriptions == 1);
    let mut far = subscribed(there, "far", "t", QoS::AtLeastOnce);
    let mut near = Client::connect(here.local_addr(), "near");
    for _ in 0..2 {
        publish_to_end(&mut near, publish("t", b"1", QoS::AtLeastOnce));
        publish_to_end(&mut near, publish("t", b"2", QoS::AtLeastOnce));
        publish_to_end(&mut near, publish("t", b"3", QoS::AtLeastOnce));
        assert_eq!([far.message(), far.message(), far.message()], [b"1", b"2", b"3"]);
        awaits_state(there, "state/b", b"0");
    }
}

#[test]
fn one_that_connects_once_does_not_come_again() {
    let remote = broker(Limits::default());
    let proxy = crate::proxy::Proxy::to(remote.local_addr());
    let mut settings = bridge("b", proxy.address(), vec![topic("t", Out, QoS::AtLeastOnce)]);
    settings.start = BridgeStart::Once;
    let here = bridging(vec![settings]);
    connected(remote.local_addr(), "b");
    proxy.cut();
    awaits_state(here.local_addr(), "state/b", b"0");
    proxy.mend();
    let mut near = Client::connect(here.local_addr(), "near");
    publish_to_end(&mut near, publish("t", b"x", QoS::AtLeastOnce));
    assert_eq!(here.stats().queued, 1);
    here.stop();
}

#[test]
fn what_an_earlier_configuration_asked_for_is_not_asked_for_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let remote = broker(Limits::default());
    let there = remote.local_addr();
    let start = |topics| {
        let persistence = Some(sol::config::Persistence::at(directory.path().join("store")));
        let bridges = vec![bridge("b", there, topics)];
        Broker::start(Config { persistence, ..crate::brokers::config(bridges) }).unwrap()
    };
    let old = start(vec![topic("old", Out, QoS::AtLeastOnce), topic("back", In, QoS::AtLeastOnce)]);
    connected(there, "b");
    eventually("each has one", || old.stats().subscriptions == 1 && remote.stats().subscriptions == 1);
    old.stop();
    awaits_state(there, "state/b", b"0");
    // What came in now goes out.
    let new = start(vec![topic("new", Out, QoS::AtLeastOnce), topic("back", Out, QoS::AtLeastOnce)]);
    connected(there, "b");
    eventually("both go out", || new.stats().subscriptions == 2);
    eventually("the other broker was told", || remote.stats().subscriptions == 0);
    let mut far = subscribed(there, "far", "#", QoS::AtLeastOnce);
    assert_eq!(far.message(), b"1");
    let mut near = Client::connect(new.local_addr(), "near");
    for topic in ["old", "new"] {
        publish_to_end(&mut near, publish(topic, topic.as_bytes(), QoS::AtLeastOnce));
    }
    assert_eq!(far.message(), b"new");
}
