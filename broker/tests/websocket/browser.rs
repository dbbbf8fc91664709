//! MQTT.js in Chromium. What it does and expects stands in `browser.html`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use sol::config::{Listener, WebSocket};
use sol::{Broker, Config};

use crate::client::{ANY, listener, terms};
use crate::common::peers::{exit_status, has, has_mqtt_js};
use crate::common::{PATIENCE, running};
use crate::pki::Pki;

#[test]
fn mqtt_js_in_chromium_publishes_and_subscribes() {
    let is_there = exit_status("chromium", &["--version"]).is_some();
    if !has("chromium", is_there) || !has_mqtt_js() {
        return;
    }
    let site = TcpListener::bind(ANY).unwrap();
    let origin = format!("http://{}", site.local_addr().unwrap());
    let (told, results) = channel();
    thread::spawn(move || serve(&site, &told));

    let pki = Pki::new("authority");
    let ours = WebSocket { origins: vec![origin.clone()], ..terms() };
    let foreign = WebSocket { origins: vec!["https://elsewhere.example".to_owned()], ..terms() };
    let listeners = vec![
        listener(ours.clone()),
        Listener { tls: Some(pki.server("server").tls()), ..listener(ours) },
        listener(foreign),
    ];
    let broker = Broker::start(Config { listeners, ..Config::default() }).unwrap();
    let [ws, wss, foreign] = *broker.local_addrs() else { panic!("three") };
    let brokers =
        format!(r#"{{"good":["ws://{ws}/mqtt","wss://{wss}/mqtt"],"foreign":"ws://{foreign}/mqtt"}}"#);

    let mut chromium = Command::new("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--no-first-run"])
        // It stays until it is ended.
        .args(["--ignore-certificate-errors", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", pki.path("profile").display()))
        .arg(format!("{origin}/#{}", escaped(&brokers)))
        .stdin(Stdio::null());
    let chromium = running(chromium);
    let result = results.recv_timeout(PATIENCE * 4).expect("the page tells how it went");
    assert_eq!(result, "ok");
    chromium.kill();
    assert!(broker.stats().messages_received >= 2 * 2 * 9);
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// The site that the page comes from, which takes its result.
fn serve(site: &TcpListener, told: &Sender<String>) {
    let find =
        "console.log(require('path').dirname(require.resolve('mqtt/package.json')) + '/dist/mqtt.min.js')";
    let found = Command::new("node").args(["-e", find]).output().unwrap();
    let script = std::fs::read_to_string(String::from_utf8(found.stdout).unwrap().trim()).unwrap();
    for stream in site.incoming() {
        answer(stream.unwrap(), &script, told);
    }
}

fn answer(stream: TcpStream, script: &str, told: &Sender<String>) {
    let mut reader = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    _ = reader.read_line(&mut request);
    for header in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (kind, content) = match request.split(' ').nth(1) {
        Some("/") => ("text/html", include_str!("browser.html")),
        Some("/mqtt.min.js") => ("text/javascript", script),
        Some("/result") => {
            _ = told.send(String::from_utf8(body).unwrap());
            ("text/plain", "")
        }
        _ => ("text/plain", ""),
    };
    let length = content.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // A browser opens connections that it may not use.
    _ = reader.into_inner().write_all(format!("{head}{content}").as_bytes());
}
