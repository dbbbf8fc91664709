//! Enhanced authentication (§4.12 of MQTT 5.0): SCRAM-SHA-256 by AUTH packets, at CONNECT and later.
//!
//! The client's half of SCRAM is written here, on another library than the broker's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use common::peers::has_mqtt_js;
use common::{PATIENCE, connect, eventually, publish, running};
use ring::{digest, hmac, pbkdf2};
use sol::auth::DelayLimits;
use sol::codec::{
    Auth, Connack, Connect, Decoded, Disconnect, Packet, Properties, PropertiesBuf, Property, QoS, Reason,
    Version, Will, decode,
};
use sol::config::Listener;
use sol::topic::Name;
use sol::{Broker, Config, Limits};
use tempfile::TempDir;

const METHOD: &str = "SCRAM-SHA-256";

/// `anna` has the password `pencil`, `b=e,rt` has `pässwörd`; `carl` has `secret`, and no secret for SCRAM.
const USERS: &str = "\
anna:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
b=e,rt:SCRAM-SHA-256$5000:c2FsdHNhbHQ=$HOSsRsn/zss+St2lmyQR8G5YODVn5vUykZQNr7sV/bA=:EUHktRTgz/a4k15MyfLIV9A65mm8yavEaxMks2Jz0Bo=
carl:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA
";

/// A broker for those in a file.
struct World {
    broker: Broker,
    path: PathBuf,
    _directory: TempDir,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self::of(USERS, limits)
    }

    fn of(users: &str, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, users).unwrap();
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener =
            Listener { allow_anonymous: false, password_file: Some(path.clone()), ..address.into() };
        let broker =
            Broker::start(Config { listeners: vec![listener], limits, ..Config::default() }).unwrap();
        Self { broker, path, _directory: directory }
    }

    fn open(&self) -> Client {
        Client::open(&self.broker)
    }

    /// A CONNECT with a method and a message of it.
    fn connect(&self, connect: Connect<'_>, name: &str, data: &str) -> Client {
        let mut client = Client::open(&self.broker);
        let properties = method(name, Some(data.as_bytes()));
        client.send(Packet::Connect(Connect { properties: properties.as_properties(), ..connect }));
        client
    }

    /// Begins an exchange, and gives the server's first message.
    fn begin(&self, connect: Connect<'_>, first: &str) -> (Client, String) {
        let mut client = self.connect(connect, METHOD, first);
        let answer = client.expect_challenge();
        (client, answer)
    }

    /// A client of 3.1.1, which sends the password.
    fn watcher(&self, filter: &str) -> common::Client {
        let connect = Connect { user_name: Some("anna"), password: Some(b"pencil"), ..connect("watcher") };
        let mut watcher = common::Client::connect_as(self.broker.local_addr(), connect, false);
        watcher.subscribe(filter, QoS::AtMostOnce);
        watcher
    }

    /// Logs in to the end.
    fn login(&self, id: &str, user: &str, password: &str) -> Client {
        let scram = Scram::new(user, password);
        let (mut client, answer) = self.begin(v5(id), &scram.first());
        let (last, signature) = scram.last(&answer);
        client.answer(&last);
        client.expect_accepted(&signature);
        client
    }
}

/// Limits without delays, so that a test may fail as often as it likes.
fn undelayed() -> Limits {
    let limits = Limits::default();
    Limits { login_delay: DelayLimits { first: Duration::ZERO, ..limits.login_delay }, ..limits }
}

fn v5(id: &str) -> Connect<'_> {
    Connect { version: Version::V5, ..connect(id) }
}

fn method(method: &str, data: Option<&[u8]>) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::AuthenticationMethod(method)).unwrap();
    if let Some(data) = data {
        properties.push(Property::AuthenticationData(data)).unwrap();
    }
    properties
}

/// Method and data that a packet carries.
fn said(properties: Properties<'_>) -> (Option<String>, Option<String>) {
    let (mut method, mut message) = (None, None);
    for property in properties.iter() {
        match property {
            Property::AuthenticationMethod(name) => method = Some(name.to_owned()),
            Property::AuthenticationData(data) => message = Some(String::from_utf8(data.to_vec()).unwrap()),
            _ => {}
        }
    }
    (method, message)
}

/// One end of a network connection.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of the packet given last.
    taken: usize,
}

impl Client {
    fn open(broker: &Broker) -> Self {
        let stream = TcpStream::connect_timeout(&broker.local_addr(), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new(), taken: 0 }
    }

    fn send(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn auth(&mut self, reason: Reason, name: &str, data: Option<&[u8]>) {
        let properties = method(name, data);
        self.send(Packet::Auth(Auth { reason, properties: properties.as_properties() }));
    }

    fn answer(&mut self, message: &str) {
        self.auth(Reason::ContinueAuthentication, METHOD, Some(message.as_bytes()));
    }

    /// The next packet, or none if the broker closed the connection.
    fn receive_or_end(&mut self) -> Option<Packet<'_>> {
        self.received.drain(..std::mem::take(&mut self.taken));
        while let Decoded::Incomplete { .. } = decode(&self.received, Some(Version::V5), usize::MAX).unwrap()
        {
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                // The process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing came: {error}"),
            }
        }
        match decode(&self.received, Some(Version::V5), usize::MAX) {
            Ok(Decoded::Packet { packet, length }) => {
                self.taken = length;
                Some(packet)
            }
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self) -> Packet<'_> {
        self.receive_or_end().expect("the broker closed the connection")
    }

    /// The next packet is AUTH. Gives its reason and message.
    fn expect_auth(&mut self) -> (Reason, Option<String>) {
        let Packet::Auth(auth) = self.receive() else { panic!("no AUTH") };
        let (name, message) = said(auth.properties);
        // [5.0 MQTT-4.12.0-5]
        assert_eq!(name.as_deref(), Some(METHOD));
        (auth.reason, message)
    }

    /// The next packet asks for more. Gives the message in it.
    fn expect_challenge(&mut self) -> String {
        let (reason, message) = self.expect_auth();
        // [5.0 MQTT-4.12.0-2]
        assert_eq!(reason, Reason::ContinueAuthentication);
        message.expect("a message")
    }

    /// The next packet lets the client in, and shows that the broker knows of the password.
    fn expect_accepted(&mut self, signature: &str) {
        let Packet::Connack(connack) = self.receive() else { panic!("no CONNACK") };
        assert_eq!(connack.reason, Reason::Success);
        // [5.0 MQTT-4.12.0-5]
        assert_eq!(said(connack.properties), (Some(METHOD.to_owned()), Some(signature.to_owned())));
    }

    /// CONNACK with the reason, and the end [5.0 MQTT-4.12.0-4].
    fn expect_refused(mut self, reason: Reason) {
        match self.receive() {
            Packet::Connack(connack) => assert_eq!(connack.reason, reason),
            other => panic!("{other:?} for CONNACK"),
        }
        assert_eq!(self.receive_or_end(), None);
    }

    /// DISCONNECT with the reason, and the end.
    fn expect_disconnected(mut self, reason: Reason) {
        match self.receive() {
            Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, reason),
            other => panic!("{other:?} for DISCONNECT"),
        }
        assert_eq!(self.receive_or_end(), None);
    }

    fn ping(&mut self) {
        self.send(Packet::Pingreq);
        assert_eq!(self.receive(), Packet::Pingresp);
    }

    /// Authenticates again, to the end.
    fn authenticate_again(&mut self, user: &str, password: &str) {
        let scram = Scram::new(user, password);
        self.auth(Reason::ReAuthenticate, METHOD, Some(scram.first().as_bytes()));
        let (last, signature) = scram.last(&self.expect_challenge());
        self.answer(&last);
        assert_eq!(self.expect_auth(), (Reason::Success, Some(signature)));
    }
}

/// The client's half of SCRAM-SHA-256.
struct Scram {
    bare: String,
    password: String,
}

impl Scram {
    fn new(user: &str, password: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { bare: format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL"), password: password.to_owned() }
    }

    fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The last message, and what the broker must answer to it.
    fn last(&self, challenge: &str) -> (String, String) {
        let mut parts = challenge.split(',').map(|part| part.split_once('=').unwrap().1);
        let [nonce, salt, iterations] = std::array::from_fn(|_| parts.next().unwrap());
        let mut salted = [0; 32];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations.parse::<NonZeroU32>().unwrap(),
            &Base64::decode_vec(salt).unwrap(),
            self.password.as_bytes(),
            &mut salted,
        );
        let sign = |key: &[u8], message: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec()
        };
        let client_key = sign(&salted, "Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let unproved = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{unproved}", self.bare);
        let proof: Vec<_> =
            client_key.iter().zip(sign(stored_key.as_ref(), &all)).map(|(a, b)| a ^ b).collect();
        let signature = sign(&sign(&salted, "Server Key"), &all);
        (
            format!("{unproved},p={}", Base64::encode_string(&proof)),
            format!("v={}", Base64::encode_string(&signature)),
        )
    }
}

// CONNECT

#[test]
fn who_knows_the_password_is_let_in() {
    let world = World::new(undelayed());
    for (user, password) in [("anna", "pencil"), ("b=e,rt", "pässwörd")] {
        world.login("client", user, password).ping();
        // The password itself does, too.
        let mut client = world.open();
        client.send(Packet::Connect(Connect {
            user_name: Some(user),
            password: Some(password.as_bytes()),
            ..v5("client")
        }));
        let Packet::Connack(connack) = client.receive() else { panic!("no CONNACK") };
        // [5.0 MQTT-4.12.0-6]
        assert_eq!((connack.reason, said(connack.properties)), (Reason::Success, (None, None)));
    }
}

#[test]
fn a_client_may_wait_to_be_asked() {
    let world = World::new(undelayed());
    let mut client = world.open();
    let properties = method(METHOD, None);
    client.send(Packet::Connect(Connect { properties: properties.as_properties(), ..v5("client") }));
    assert_eq!(client.expect_auth(), (Reason::ContinueAuthentication, None));
    let scram = Scram::new("anna", "pencil");
    client.answer(&scram.first());
    let (last, signature) = scram.last(&client.expect_challenge());
    client.answer(&last);
    client.expect_accepted(&signature);
    client.ping();
}

#[test]
fn the_connect_counts_when_the_exchange_is_over() {
    let world = World::new(undelayed());
    let mut watcher = world.watcher("will");
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: &[b'w'; 60_000],
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    let connect = Connect { will: Some(will), user_name: Some("anna"), ..v5("willing") };
    let scram = Scram::new("anna", "pencil");
    // The session of an identifier is taken over only by who is let in.
    let mut first = world.login("willing", "anna", "pencil");
    let (abandoned, _) = world.begin(connect, &scram.first());
    first.ping();
    let (mut client, challenge) = world.begin(connect, &scram.first());
    first.ping();
    let (last, signature) = scram.last(&challenge);
    client.answer(&last);
    client.expect_accepted(&signature);
    first.expect_disconnected(Reason::SessionTakenOver);
    // No will of who was not let in.
    drop(abandoned);
    eventually("the abandoned connection is over", || world.broker.stats().connections == 2);
    watcher.ping();
    drop(client);
    assert_eq!(watcher.message().len(), 60_000);
}

#[test]
fn who_does_not_know_the_password_is_refused() {
    let world = World::new(undelayed());
    let users = [("anna", "Pencil"), ("Anna", "pencil"), ("carl", "secret"), ("nobody", "pencil")];
    for (user, password) in users {
        let scram = Scram::new(user, password);
        let (mut client, challenge) = world.begin(v5("client"), &scram.first());
        assert!(challenge.ends_with(",i=4096") || challenge.ends_with(",i=5000"), "{challenge}");
        client.answer(&scram.last(&challenge).0);
        client.expect_refused(Reason::BadUserNameOrPassword);
    }
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn asking_does_not_tell_who_is_known() {
    let world = World::new(undelayed());
    let salt = |world: &World, user: &str| {
        let (_, challenge) = world.begin(v5("client"), &Scram::new(user, "").first());
        challenge.split_once(",s=").unwrap().1.to_owned()
    };
    let users = ["anna", "b=e,rt", "carl", "nobody"];
    let before = users.map(|user| salt(&world, user));
    assert_eq!(users.map(|user| salt(&world, user)), before);
    // Nor does waiting.
    fs::write(&world.path, format!("{USERS}dora:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n"))
        .unwrap();
    world.broker.reload().unwrap();
    assert_eq!(users.map(|user| salt(&world, user)), before);
    let restarted = World::new(undelayed());
    assert_eq!(users.map(|user| salt(&restarted, user)), before);
}

#[test]
fn messages_that_are_none_of_scram_are_refused() {
    let world = World::new(undelayed());
    for first in ["", "anna", "n,,n=anna", "p=tls-exporter,,n=anna,r=abc", "n,a=carl,n=anna,r=abc"] {
        let client = world.connect(v5("client"), METHOD, first);
        client.expect_refused(Reason::BadUserNameOrPassword);
    }
    let scram = Scram::new("anna", "pencil");
    let change: [fn(String) -> String; 4] = [
        |_| String::new(),
        |last| last.replace("r=fyko", "r=Fyko"),
        |last| last.replace("biws", "eSws"),
        |last| last[..last.len() - 1].to_owned(),
    ];
    for change in change {
        let (mut client, challenge) = world.begin(v5("client"), &scram.first());
        client.answer(&change(scram.last(&challenge).0));
        client.expect_refused(Reason::BadUserNameOrPassword);
    }
    // What was said to one says nothing to another.
    let (_other, challenge) = world.begin(v5("client"), &scram.first());
    let (mut client, _) = world.begin(v5("client"), &scram.first());
    client.answer(&scram.last(&challenge).0);
    client.expect_refused(Reason::BadUserNameOrPassword);
}

#[test]
fn the_user_name_must_be_the_one_of_connect() {
    let world = World::new(undelayed());
    let named = |user| Connect { user_name: Some(user), ..v5("client") };
    let scram = Scram::new("anna", "pencil");
    let (mut client, challenge) = world.begin(named("anna"), &scram.first());
    let (last, signature) = scram.last(&challenge);
    client.answer(&last);
    client.expect_accepted(&signature);
    let client = world.connect(named("b=e,rt"), METHOD, &scram.first());
    client.expect_refused(Reason::BadUserNameOrPassword);
}

#[test]
fn other_methods_are_refused() {
    let refused = |world: &World, name: &str| {
        // [5.0 MQTT-4.12.0-1]
        world.connect(v5("client"), name, "n,,n=anna,r=abc").expect_refused(Reason::BadAuthenticationMethod);
    };
    let world = World::new(undelayed());
    for name in ["", "SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS", "PLAIN", "GS2-KRB5"] {
        refused(&world, name);
    }
    // Where no user has a secret for it, it is not offered.
    refused(&World::of("carl:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA", undelayed()), METHOD);
    let broker = common::broker(undelayed());
    let mut client = Client::open(&broker);
    let properties = method(METHOD, Some(b"n,,n=anna,r=abc"));
    client.send(Packet::Connect(Connect { properties: properties.as_properties(), ..v5("client") }));
    client.expect_refused(Reason::BadAuthenticationMethod);
}

#[test]
fn nothing_but_auth_or_disconnect_comes_before_connack() {
    let world = World::new(undelayed());
    let scram = Scram::new("anna", "pencil");
    // [5.0 MQTT-3.1.2-30]
    let packets = [
        Packet::Pingreq,
        Packet::Publish(publish("t", b"", QoS::AtMostOnce)),
        common::subscribe("t", QoS::AtMostOnce),
        Packet::Connect(v5("client")),
        Packet::Connack(Connack::new(false, Reason::Success)),
    ];
    for packet in packets {
        let (mut client, _) = world.begin(v5("client"), &scram.first());
        client.send(packet);
        client.expect_refused(Reason::ProtocolError);
    }
    let (mut client, challenge) = world.begin(v5("client"), &scram.first());
    client.auth(Reason::ContinueAuthentication, "SCRAM-SHA-1", Some(scram.last(&challenge).0.as_bytes()));
    client.expect_refused(Reason::ProtocolError);
    for reason in [Reason::ReAuthenticate, Reason::Success] {
        let (mut client, challenge) = world.begin(v5("client"), &scram.first());
        client.auth(reason, METHOD, Some(scram.last(&challenge).0.as_bytes()));
        client.expect_refused(Reason::ProtocolError);
    }
    let (mut client, _) = world.begin(v5("client"), &scram.first());
    client.stream.write_all(&[0xf1, 0]).unwrap();
    client.expect_refused(Reason::MalformedPacket);
    let (mut client, _) = world.begin(v5("client"), &scram.first());
    client.send(Packet::Disconnect(Disconnect::new(Reason::Success)));
    assert_eq!(client.receive_or_end(), None);
    // What is sent at once with the CONNECT is not done.
    let mut client = world.open();
    let (first, mut bytes) = (scram.first(), Vec::new());
    let properties = method(METHOD, Some(first.as_bytes()));
    let connect = Packet::Connect(Connect { properties: properties.as_properties(), ..v5("client") });
    let message = publish("t", b"", QoS::AtMostOnce);
    for packet in [connect, Packet::Publish(sol::codec::Publish { retain: true, ..message })] {
        packet.encode(Version::V5, &mut bytes).unwrap();
    }
    client.stream.write_all(&bytes).unwrap();
    client.expect_challenge();
    client.expect_refused(Reason::ProtocolError);
    assert_eq!((world.broker.stats().sessions, world.broker.stats().retained), (0, 0));
}

#[test]
fn a_client_that_takes_no_auth_is_refused() {
    let world = World::new(undelayed());
    let mut properties = method(METHOD, Some(Scram::new("anna", "pencil").first().as_bytes()));
    properties.push(Property::MaximumPacketSize(NonZeroU32::new(50).unwrap())).unwrap();
    let mut client = world.open();
    client.send(Packet::Connect(Connect { properties: properties.as_properties(), ..v5("client") }));
    client.expect_refused(Reason::PacketTooLarge);
}

#[test]
fn an_exchange_ends_within_the_time_for_a_connect() {
    let world = World::new(Limits { connect_timeout: Duration::from_secs(3), ..undelayed() });
    let mut client = world.connect(v5("client"), METHOD, &Scram::new("anna", "pencil").first());
    while let Some(packet) = client.receive_or_end() {
        assert!(matches!(packet, Packet::Auth(_)), "{packet:?}");
    }
}

#[test]
fn a_second_refusal_is_held_back_as_that_of_a_password_is() {
    let limits = Limits::default();
    let delay = Duration::from_millis(50);
    let login_delay = DelayLimits { first: delay, longest: delay, ..limits.login_delay };
    let world = World::new(Limits { login_delay, ..limits });
    let scram = Scram::new("anna", "Pencil");
    let mut begun = None;
    for _ in 0..2 {
        let (mut client, challenge) = world.begin(v5("client"), &scram.first());
        begun = Some(Instant::now());
        client.answer(&scram.last(&challenge).0);
        client.expect_refused(Reason::BadUserNameOrPassword);
    }
    assert!(begun.unwrap().elapsed() >= delay);
    // So is that of a first message.
    let begun = Instant::now();
    let client = world.connect(v5("client"), METHOD, "none");
    client.expect_refused(Reason::BadUserNameOrPassword);
    assert!(begun.elapsed() >= delay);
}

// Again

#[test]
fn a_client_authenticates_again_while_traffic_goes_on() {
    let world = World::new(undelayed());
    let mut watcher = world.watcher("t");
    let mut client = world.login("client", "anna", "pencil");
    client.authenticate_again("anna", "pencil");
    let scram = Scram::new("anna", "pencil");
    client.auth(Reason::ReAuthenticate, METHOD, None);
    assert_eq!(client.expect_auth(), (Reason::ContinueAuthentication, None));
    client.ping();
    client.answer(&scram.first());
    let challenge = client.expect_challenge();
    client.send(common::subscribe("other", QoS::AtMostOnce));
    assert!(matches!(client.receive(), Packet::Suback(_)));
    client.send(Packet::Publish(publish("t", b"meanwhile", QoS::ExactlyOnce)));
    assert!(matches!(client.receive(), Packet::Pubrec(_)));
    assert_eq!(watcher.message(), b"meanwhile");
    let (last, signature) = scram.last(&challenge);
    client.answer(&last);
    assert_eq!(client.expect_auth(), (Reason::Success, Some(signature)));
    client.authenticate_again("anna", "pencil");
    client.ping();
}

#[test]
fn a_reload_counts_for_the_next_time() {
    let world = World::new(undelayed());
    let mut client = world.login("client", "anna", "pencil");
    let changed = USERS.lines().nth(1).unwrap().replace("b=e,rt:", "anna:");
    fs::write(&world.path, changed).unwrap();
    world.broker.reload().unwrap();
    client.ping();
    client.authenticate_again("anna", "pässwörd");
    fs::write(&world.path, "").unwrap();
    world.broker.reload().unwrap();
    client.auth(Reason::ReAuthenticate, METHOD, Some(Scram::new("anna", "pässwörd").first().as_bytes()));
    client.expect_disconnected(Reason::NotAuthorized);
}

#[test]
fn who_fails_the_second_time_is_disconnected() {
    let world = World::new(undelayed());
    // [5.0 MQTT-4.12.1-2]
    let mut client = world.login("client", "anna", "pencil");
    let scram = Scram::new("anna", "Pencil");
    client.auth(Reason::ReAuthenticate, METHOD, Some(scram.first().as_bytes()));
    let (last, _) = scram.last(&client.expect_challenge());
    client.answer(&last);
    client.expect_disconnected(Reason::NotAuthorized);
    for first in ["none", &Scram::new("b=e,rt", "pässwörd").first()] {
        let mut client = world.login("client", "anna", "pencil");
        client.auth(Reason::ReAuthenticate, METHOD, Some(first.as_bytes()));
        client.expect_disconnected(Reason::NotAuthorized);
    }
}

#[test]
fn auth_out_of_turn_ends_the_connection() {
    let world = World::new(undelayed());
    let first = Scram::new("anna", "pencil").first();
    let auth = |client: &mut Client, reason, name| client.auth(reason, name, Some(first.as_bytes()));
    // Without a method in CONNECT [5.0 MQTT-4.12.0-7].
    for reason in [Reason::ReAuthenticate, Reason::ContinueAuthentication, Reason::Success] {
        let mut client = world.open();
        let connect = Connect { user_name: Some("anna"), password: Some(b"pencil"), ..v5("client") };
        client.send(Packet::Connect(connect));
        assert!(matches!(client.receive(), Packet::Connack(_)));
        auth(&mut client, reason, METHOD);
        client.expect_disconnected(Reason::ProtocolError);
    }
    // Nothing to go on with, nothing that a client may say, another method [5.0 MQTT-4.12.1-1].
    for (reason, name) in [
        (Reason::ContinueAuthentication, METHOD),
        (Reason::Success, METHOD),
        (Reason::ReAuthenticate, "SCRAM-SHA-1"),
    ] {
        let mut client = world.login("client", "anna", "pencil");
        auth(&mut client, reason, name);
        client.expect_disconnected(Reason::ProtocolError);
    }
    // A second one before the first is over [5.0 MQTT-4.12.0-3].
    let mut client = world.login("client", "anna", "pencil");
    auth(&mut client, Reason::ReAuthenticate, METHOD);
    client.expect_challenge();
    auth(&mut client, Reason::ReAuthenticate, METHOD);
    client.expect_disconnected(Reason::ProtocolError);
    // A first packet.
    let mut client = world.open();
    auth(&mut client, Reason::ContinueAuthentication, METHOD);
    assert_eq!(client.receive_or_end(), None);
}

// MQTT.js

#[test]
fn mqtt_js_logs_in_and_authenticates_again() {
    if !has_mqtt_js() {
        return;
    }
    let world = World::new(undelayed());
    let port = world.broker.local_addr().port().to_string();
    for (password, outcome) in [("pencil", "done"), ("Pencil", "error 134")] {
        let mut command = Command::new("node");
        command.args(["-e", include_str!("scram.js"), &port, "anna", password]);
        let output = running(command).output();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), outcome, "{output:?}");
    }
}
