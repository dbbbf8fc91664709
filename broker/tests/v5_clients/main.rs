//! Clients of MQTT 5.0 that others wrote: mosquitto's, paho, MQTT.js, rumqttc. MQTT.js shows AUTH in `v5_auth.rs`.
//!
//! A test whose program is not installed is skipped, see `common/peers.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod mosquitto;
mod mqtt_js;
mod paho;
mod rumqttc_v5;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use common::running;
use sol::codec::QoS;
use sol::config::{Listener, WebSocket};
use sol::{Broker, Config, Limits};

/// Limits that CONNACK tells of, each of which a client can run into.
fn strict() -> Limits {
    Limits {
        max_qos: QoS::AtLeastOnce,
        retain_available: false,
        wildcard_available: false,
        shared_available: false,
        subscription_ids_available: false,
        ..Limits::default()
    }
}

/// Runs one function of a script against a broker of its own, over TCP and over WebSocket.
fn script(program: &str, option: &str, text: &str, function: &str, limits: Limits) {
    let carried = |carrier: &str| {
        let mut listener = Listener::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        listener.websocket = (carrier == "ws").then(WebSocket::default);
        let config = Config { listeners: vec![listener], limits: limits.clone(), ..Config::default() };
        let broker = Broker::start(config).unwrap();
        let port = broker.local_addr().port().to_string();
        let mut command = Command::new(program);
        command.args([option, text, &port, function, carrier]).stdin(Stdio::null());
        let output = running(command).output();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{function} over {carrier}: {}", String::from_utf8_lossy(&said));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| carried("mqtt"));
        carried("ws");
    });
}
