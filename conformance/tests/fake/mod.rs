//! A broker of a few lines that answers every packet on its own, well or badly.

// Not every test asks for everything.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use conformance::Version;
use conformance::frame::decode::Frames;
use conformance::frame::{Kind, Packet, Side, encode::encode};
use conformance::transport::Endpoint;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Send(Packet),
    Bytes(Vec<u8>),
    Close,
}

type Manners = dyn Fn(&Packet) -> Option<Vec<Reply>> + Send + Sync;

/// Listens until the test ends.
pub(crate) struct FakeBroker {
    endpoint: Endpoint,
    heard: Arc<Mutex<Vec<Packet>>>,
}

impl FakeBroker {
    /// Listens on a port of its own. Answers as `manners` says; where it says `None`, as a broker would.
    pub(crate) fn start(manners: impl Fn(&Packet) -> Option<Vec<Reply>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = listener.local_addr().expect("bound").into();
        Self::serving(endpoint, move || Some(listener.accept().ok()?.0), manners)
    }

    /// Serves those whom `accept` lets in, until it lets in nobody.
    pub(crate) fn serving<S: Read + Write + Send + 'static>(
        endpoint: Endpoint,
        accept: impl Fn() -> Option<S> + Send + 'static,
        manners: impl Fn(&Packet) -> Option<Vec<Reply>> + Send + Sync + 'static,
    ) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (manners, all): (Arc<Manners>, _) = (Arc::new(manners), heard.clone());
        thread::spawn(move || {
            while let Some(stream) = accept() {
                let (manners, all) = (manners.clone(), all.clone());
                thread::spawn(move || serve(stream, &*manners, &all));
            }
        });
        FakeBroker { endpoint, heard }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// What it was sent, on all connections.
    pub(crate) fn heard(&self) -> Vec<Packet> {
        self.heard.lock().expect("not poisoned").clone()
    }
}

fn serve(mut stream: impl Read + Write, manners: &Manners, heard: &Mutex<Vec<Packet>>) {
    let mut frames = Frames::of(Side::Client, Version::V3_1_1);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        frames.push(&buffer[..length]);
        while let Some(frame) = frames.next() {
            let (version, Ok(packet)) = (frames.version(), frame.packet) else { continue };
            heard.lock().expect("not poisoned").push(packet.clone());
            for reply in manners(&packet).unwrap_or_else(|| well_mannered(&packet)) {
                let written = match reply {
                    Reply::Send(packet) => stream.write_all(&encode(&packet, version)),
                    Reply::Bytes(bytes) => stream.write_all(&bytes),
                    Reply::Close => return,
                };
                if written.and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
        }
    }
}

/// Enough for a scenario: there is one topic, and everybody hears only himself.
fn well_mannered(packet: &Packet) -> Vec<Reply> {
    let id = packet.number("id").unwrap_or(0);
    let ack = |kind| vec![Reply::Send(Packet::new(kind).with("id", id))];
    match packet.kind {
        Kind::Connect => {
            vec![Reply::Send(Packet::new(Kind::Connack).with("session_present", 0u64).with("reason", 0u64))]
        }
        Kind::Subscribe => {
            let granted = Packet::new(Kind::Suback).with("id", id);
            let granted = packet.all("qos").fold(granted, |packet, qos| packet.with("reason", qos.clone()));
            vec![Reply::Send(granted)]
        }
        Kind::Unsubscribe => {
            let removed = Packet::new(Kind::Unsuback).with("id", id);
            vec![Reply::Send(packet.all("topic").fold(removed, |packet, _| packet.with("reason", 0u64)))]
        }
        Kind::Publish if packet.number("qos") == Some(1) => ack(Kind::Puback),
        Kind::Publish if packet.number("qos") == Some(0) => vec![Reply::Send(packet.clone())],
        Kind::Pingreq => vec![Reply::Send(Packet::new(Kind::Pingresp))],
        Kind::Disconnect => vec![Reply::Close],
        _ => Vec::new(),
    }
}
