//! A small blocking client. It waits for packets, each for at most [`PATIENCE`], and never for time to pass.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub(crate) mod peers;
#[cfg(unix)]
pub(crate) mod process;
pub(crate) mod v5;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use sol::codec::{
    Ack, Connack, Connect, Decoded, Delivery, Packet, PacketId, Properties, Publish, QoS, Reason, Subscribe,
    SubscribeCode, Version, decode,
};
use sol::topic::{Filter, Name};
use sol::{Broker, Config, Limits};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const VERSION: Version = Version::V311;

/// A broker on a free port.
pub(crate) fn broker(limits: Limits) -> Broker {
    Broker::start(Config { limits, ..Config::on("127.0.0.1:0".parse().unwrap()) }).unwrap()
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A port where brokers can listen. On Linux it is bound, and never listening: nobody else is given it while no broker is
/// there, and no client's end of a connection either, which would then be connected to itself.
pub(crate) struct Port {
    address: SocketAddr,
    _bound: Option<Socket>,
}

impl Port {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, _bound: cfg!(target_os = "linux").then_some(socket) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A CONNECT of a clean session without anything else, to be changed.
pub(crate) fn connect(client_id: &str) -> Connect<'_> {
    Connect {
        version: VERSION,
        clean_session: true,
        keep_alive: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    }
}

/// A PUBLISH; the packet identifier is 1 where there is one.
pub(crate) fn publish<'a>(topic: &'a str, payload: &'a [u8], qos: QoS) -> Publish<'a> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(PacketId::MIN),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(PacketId::MIN),
    };
    Publish::new(Name::new(topic).unwrap(), delivery, payload)
}

/// A SUBSCRIBE to one filter, with packet identifier 1.
pub(crate) fn subscribe(filter: &str, qos: QoS) -> Packet<'_> {
    Packet::Subscribe(Subscribe::new(PacketId::MIN, vec![(Filter::new(filter).unwrap(), qos)]))
}

pub(crate) fn encode(packets: &[Packet<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.iter().for_each(|packet| packet.encode(VERSION, &mut bytes).unwrap());
    bytes
}

/// One end of a network connection. It speaks the version of the last CONNECT that it sent.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) version: Version,
    received: Vec<u8>,
    /// Bytes of the packet given last.
    taken: usize,
}

impl Client {
    /// A network connection without CONNECT.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// Connected, with a clean session.
    pub(crate) fn connect(address: SocketAddr, client_id: &str) -> Self {
        Self::connect_as(address, connect(client_id), false)
    }

    pub(crate) fn connect_as(address: SocketAddr, connect: Connect<'_>, session_present: bool) -> Self {
        let mut client = Self::open(address);
        client.say_connect(connect, session_present);
        client
    }

    /// Ends the network connection without DISCONNECT, and waits until the broker has seen to all that this brings.
    pub(crate) fn leave(mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
        if let Err(error) = std::io::copy(&mut self.stream, &mut std::io::sink()) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the broker does not close: {error}");
        }
    }

    /// Subscribed to one filter.
    pub(crate) fn subscribed(address: SocketAddr, client_id: &str, filter: &str, qos: QoS) -> Self {
        let mut client = Self::connect(address, client_id);
        client.subscribe(filter, qos);
        client
    }
}

impl<S: Read + Write> Client<S> {
    /// A network connection of any kind without CONNECT. Its patience is its own.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, version: VERSION, received: Vec::new(), taken: 0 }
    }

    /// CONNECT, and the answer that it is accepted.
    pub(crate) fn say_connect(&mut self, connect: Connect<'_>, session_present: bool) {
        self.send(&[Packet::Connect(connect)]);
        self.expect(Packet::Connack(Connack::new(session_present, Reason::Success)));
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.send(&[subscribe(filter, qos)]);
        match self.receive() {
            Packet::Suback(suback) => assert_eq!(*suback.codes, [SubscribeCode::Granted(qos)]),
            other => panic!("{other:?} for SUBACK"),
        }
    }

    pub(crate) fn send(&mut self, packets: &[Packet<'_>]) {
        let mut bytes = Vec::new();
        for packet in packets {
            if let Packet::Connect(connect) = packet {
                self.version = connect.version;
            }
            packet.encode(self.version, &mut bytes).unwrap();
        }
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).unwrap();
    }

    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Publishes at QoS 0, and waits until the broker has handled it.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(&[Packet::Publish(publish(topic, payload, QoS::AtMostOnce)), Packet::Pingreq]);
        self.expect(Packet::Pingresp);
    }

    /// A round trip: whatever the broker had for this client before has come.
    pub(crate) fn ping(&mut self) {
        self.send(&[Packet::Pingreq]);
        self.expect(Packet::Pingresp);
    }

    /// The next packet.
    pub(crate) fn receive(&mut self) -> Packet<'_> {
        match self.receive_or_end() {
            Some(packet) => packet,
            None => panic!("the broker closed the connection"),
        }
    }

    /// The next packet, or none if the broker closed the connection.
    pub(crate) fn receive_or_end(&mut self) -> Option<Packet<'_>> {
        self.received.drain(..std::mem::take(&mut self.taken));
        while let Decoded::Incomplete { .. } = decode(&self.received, Some(self.version), usize::MAX).unwrap()
        {
            let mut buffer = [0; 16 * 1024];
            let n = match self.stream.read(&mut buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                // The process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => panic!("nothing came: {error}"),
            };
            if n == 0 {
                assert!(self.received.is_empty(), "the connection ends in a packet: {:?}", self.received);
                return None;
            }
            self.received.extend_from_slice(&buffer[..n]);
        }
        match decode(&self.received, Some(self.version), usize::MAX) {
            Ok(Decoded::Packet { packet, length }) => {
                self.taken = length;
                Some(packet)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn expect(&mut self, packet: Packet<'_>) {
        assert_eq!(self.receive(), packet);
    }

    /// The next packet is a PUBLISH, which is acknowledged at once. Gives its payload.
    pub(crate) fn message(&mut self) -> Vec<u8> {
        let Packet::Publish(publish) = self.receive() else { panic!("no PUBLISH") };
        let (payload, delivery) = (publish.payload.to_vec(), publish.delivery);
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(packet_id) => self.send(&[Packet::Puback(Ack::new(packet_id))]),
            Delivery::ExactlyOnce(packet_id) => self.send(&[Packet::Pubrec(Ack::new(packet_id))]),
        }
        payload
    }

    /// The broker closes the connection, and sends nothing before.
    pub(crate) fn expect_closed(&mut self) {
        let packet = self.receive_or_end();
        assert!(packet.is_none(), "{packet:?} for the end");
    }
}

/// How long a program may run that a test waits for: several take their time at once.
const RUN: Duration = Duration::from_secs(120);

/// A command to be run.
pub(crate) fn running(mut command: Command) -> Running {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(Some(piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))))
}

/// A process, killed when the test has no more use for it.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Gives the process its input, and waits for the end. What it prints comes in the output.
    pub(crate) fn input(mut self, input: &[u8]) -> Output {
        let mut stdin = self.0.as_mut().unwrap().stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || _ = stdin.write_all(input));
            self.output()
        })
    }

    /// Waits for the end.
    pub(crate) fn output(mut self) -> Output {
        let mut process = self.0.take().unwrap();
        let id = process.id();
        // Both pipes must be read, or the process never ends.
        let stdout = read_all(process.stdout.take().unwrap());
        let stderr = read_all(process.stderr.take().unwrap());
        let deadline = Instant::now() + RUN;
        let mut status = process.try_wait().unwrap();
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            status = process.try_wait().unwrap();
        }
        if status.is_none() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let said = || format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let status = status.unwrap_or_else(|| panic!("process {id} did not end:\n{}", said()));
        Output { status, stdout, stderr }
    }

    /// As if its machine failed.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut process) = self.0.take() {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
