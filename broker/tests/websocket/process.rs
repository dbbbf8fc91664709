//! `sol` with a file that asks for WebSocket.

use std::process::{Command, Stdio};

use crate::common::peers::has_mqtt_js;
use crate::common::process::{Place, listens_on};
use crate::common::running;
use crate::pki::Pki;

#[test]
fn each_listener_says_what_it_speaks_and_mqtt_js_speaks_it() {
    let pki = Pki::new("authority");
    let identity = pki.server("server");
    let place = Place::new(&format!(
        "allow_anonymous true\nlistener 0\nprotocol websockets\nwebsockets_path /mqtt\n\
         listener 0\nprotocol websockets\ncertfile {}\nkeyfile {}\n\
         listener 0\nprotocol mqtt\n",
        identity.certfile.display(),
        identity.keyfile.display()
    ));
    let mut sol = place.start();
    let lines = [sol.greeting.clone(), sol.line(" listens on "), sol.line(" listens on ")];
    for (line, speaks) in lines.iter().zip([", WebSocket, no TLS,", ", WebSocket, TLS,", ", no TLS,"]) {
        assert!(line.contains(speaks), "{line}");
    }
    assert!(!lines[2].contains("WebSocket"));
    if !has_mqtt_js() {
        return;
    }
    for (line, protocol) in lines.iter().zip(["ws", "wss", "mqtt"]) {
        for function in ["it_takes_topic_aliases", "sessions_expire", "what_is_too_large_is_not_sent"] {
            let mut command = Command::new("node");
            command.args(["-e", include_str!("../v5_clients/mqtt_js.js")]);
            command.args([&listens_on(line).port().to_string(), function, protocol]).stdin(Stdio::null());
            let output = running(command).output();
            let said = [output.stdout, output.stderr].concat();
            assert!(
                output.status.success(),
                "{function} over {protocol}: {}",
                String::from_utf8_lossy(&said)
            );
        }
    }
}
