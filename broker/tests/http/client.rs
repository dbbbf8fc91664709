//! A blocking client of HTTP/1.1: a connection a request.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use sol::Broker;

use crate::common::PATIENCE;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What an error says.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks, with these headers beside those that every request has.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|header| header.to_lowercase().starts_with("host:")) {
        request += &format!("host: {address}\r\n");
    }
    headers.iter().for_each(|header| request += &format!("{header}\r\n"));
    if !body.is_empty() {
        request += &format!("content-length: {}\r\n", body.len());
    }
    request += "\r\n";
    let mut stream = open(address);
    stream.write_all(request.as_bytes()).unwrap();
    // An answer may come before all is sent.
    _ = stream.write_all(body);
    answer(stream)
}

/// Reads an answer up to the end of the connection.
pub(crate) fn answer(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "nothing came: {error}");
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the head of an answer");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: bytes.split_off(end + 4), head }
}

pub(crate) fn get(broker: &Broker, path: &str) -> Answer {
    ask(broker.http_addrs()[0], "GET", path, &[], b"")
}

pub(crate) fn get_json(broker: &Broker, path: &str) -> Value {
    let answer = get(broker, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    answer.json()
}

pub(crate) fn delete(broker: &Broker, path: &str) -> Answer {
    ask(broker.http_addrs()[0], "DELETE", path, &["x-sol: 1"], b"")
}

pub(crate) fn post(broker: &Broker, path: &str, body: &Value) -> Answer {
    let headers = ["content-type: application/json"];
    ask(broker.http_addrs()[0], "POST", path, &headers, body.to_string().as_bytes())
}

/// Server-sent events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) fn open(broker: &Broker, path: &str) -> Self {
        let mut stream = open(broker.http_addrs()[0]);
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(events.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        events
    }

    /// The next event and its data; none at the end.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        let mut name = "message".to_owned();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            // Sizes of chunks, their ends, and comments stand between.
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
                return Some((name, data));
            } else if line == "0" {
                return None;
            }
        }
    }

    /// The next message: topic, payload, RETAIN.
    pub(crate) fn message(&mut self) -> (String, String, bool) {
        let (name, data) = self.next().expect("a message");
        assert_eq!(name, "message", "{data}");
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        (text("topic"), text("payload"), data["retain"].as_bool().unwrap())
    }
}
