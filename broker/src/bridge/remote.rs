//! The other broker: how a connection to it begins, and what it said of itself.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use smol::Timer;
use smol::future::FutureExt;

use super::Bridge;
use super::wire::Wire;
use crate::codec::{
    Connect, Decoded, Disconnect, Packet, PacketId, PropertiesBuf, Property, QoS, Reason, Subscribe,
    SubscribeOptions, Unsubscribe, Version, Will, decode, tell_of_bridge,
};
use crate::codec::{Delivery, Properties, Publish, RetainHandling};
use crate::topic::Name;

/// How long the other broker may take to answer CONNECT.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest CONNACK to expect, in bytes.
const MAX_CONNACK_BYTES: usize = 128 << 10;

/// Why there is no connection.
pub(super) enum Failure {
    /// The protocol level was refused, as far as one can see: a broker that does not know of bridges.
    Level(String),
    /// Anything else.
    Other(String),
}

/// A broker that accepted the CONNECT.
pub(super) struct Remote {
    pub(super) wire: Wire,
    /// What came behind CONNACK.
    pub(super) received: Vec<u8>,
    pub(super) session_present: bool,
    /// In seconds; 0 is off.
    pub(super) keep_alive: u16,
    pub(super) receive_maximum: u16,
    pub(super) max_qos: QoS,
    pub(super) retain_available: bool,
    /// Bytes of the largest packet that it takes.
    pub(super) max_packet_bytes: usize,
}

impl Remote {
    /// CONNECT and CONNACK over a new connection. `tells` that this is a bridge.
    pub(super) async fn greet(bridge: &Bridge, mut wire: Wire, tells: bool) -> Result<Self, Failure> {
        let version = bridge.settings.version;
        let connect = connect(bridge, tells).map_err(|error| Failure::Other(error.to_string()))?;
        let mut received = Vec::new();
        let greeting = async {
            write_all(&mut wire, &connect).await?;
            let mut buffer = vec![0; 4096];
            loop {
                let n = poll_fn(|cx| wire.poll_read(cx, &mut buffer)).await;
                let n = match n {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                    n => n.map_err(|error| error.to_string())?,
                };
                received.extend_from_slice(buffer.get(..n).unwrap_or_default());
                match decode(&received, Some(version), MAX_CONNACK_BYTES) {
                    Ok(Decoded::Packet { length, .. }) => return Ok(length),
                    Ok(Decoded::Incomplete { .. }) if n == 0 => return Ok(0),
                    Ok(Decoded::Incomplete { .. }) => {}
                    Err(error) => return Err(format!("its answer to CONNECT is malformed: {error}")),
                }
            }
        };
        let timeout = async {
            Timer::after(TIMEOUT).await;
            Err(format!("no answer to CONNECT within {} s", TIMEOUT.as_secs()))
        };
        let length = greeting.or(timeout).await.map_err(Failure::Other)?;
        if length == 0 {
            // Some close at a level that they do not know, without a word.
            let what = "it closed the connection without an answer to CONNECT".to_owned();
            return Err(if tells { Failure::Level(what) } else { Failure::Other(what) });
        }
        let behind = received.split_off(length);
        let connack = match decode(&received, Some(version), MAX_CONNACK_BYTES) {
            Ok(Decoded::Packet { packet: Packet::Connack(connack), .. }) => connack,
            _ => return Err(Failure::Other("it answered CONNECT with another packet".to_owned())),
        };
        match connack.reason {
            Reason::Success => {}
            Reason::UnsupportedProtocolVersion if tells => {
                return Err(Failure::Level("it does not know of bridges".to_owned()));
            }
            reason => return Err(Failure::Other(format!("it refused CONNECT: {reason}"))),
        }
        let mut remote = Self {
            wire,
            received: behind,
            // 3.1 does not tell.
            session_present: connack.session_present
                || (version == Version::V31 && !bridge.settings.clean_session),
            keep_alive: bridge.settings.keep_alive,
            receive_maximum: u16::MAX,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            max_packet_bytes: bridge.own_packet_bytes(),
        };
        for property in connack.properties.iter() {
            match property {
                Property::ReceiveMaximum(most) => remote.receive_maximum = most.get(),
                Property::MaximumQos(qos) => remote.max_qos = qos,
                Property::RetainAvailable(is_available) => remote.retain_available = is_available,
                Property::MaximumPacketSize(bytes) => {
                    let bytes = usize::try_from(bytes.get()).unwrap_or(usize::MAX);
                    remote.max_packet_bytes = remote.max_packet_bytes.min(bytes);
                }
                Property::ServerKeepAlive(seconds) => remote.keep_alive = seconds,
                _ => {}
            }
        }
        Ok(remote)
    }

    /// What is said first: what is wanted, what is not, and that the bridge is there.
    /// Gives also how many answers are to come to that. `is_settled` if that was said before in the session that is there.
    pub(super) fn opening(&self, bridge: &Bridge, is_settled: bool) -> (Vec<u8>, usize) {
        let version = bridge.settings.version;
        let (mut out, mut expected) = (Vec::new(), 0);
        // From the end, where the hub's, which begin at 1, do not come in use.
        let mut ids = (1..=u16::MAX).rev().filter_map(PacketId::new);
        for route in bridge.routes.iter() {
            let Some(id) = ids.next() else { break };
            let filter = route.remote.as_filter();
            if route.direction.comes_in() {
                // Where both sides may change what is retained, what comes of it again may be older than here: the session
                // there has what was published meanwhile. Before 5.0 a SUBSCRIBE always brings it.
                let is_both = route.direction.goes_out();
                if is_both && is_settled {
                    continue;
                }
                let retained = if is_both { RetainHandling::SendIfNew } else { RetainHandling::Send };
                expected += 1;
                let options = SubscribeOptions {
                    qos: route.qos.min(bridge.max_qos()),
                    no_local: true,
                    retain_as_published: true,
                    retain_handling: retained,
                };
                _ = Packet::Subscribe(Subscribe::new(id, vec![(filter, options)])).encode(version, &mut out);
            } else if bridge.settings.unsubscribes && self.session_present && !is_settled {
                expected += 1;
                _ = Packet::Unsubscribe(Unsubscribe::new(id, vec![filter])).encode(version, &mut out);
            }
        }
        out.extend(notification(bridge, self.retain_available, true));
        (out, expected)
    }

    /// What is said last.
    pub(super) fn closing(bridge: &Bridge, retain_available: bool) -> Vec<u8> {
        let mut out = notification(bridge, retain_available, false);
        let disconnect = Disconnect { reason: Reason::Success, properties: Properties::EMPTY };
        _ = Packet::Disconnect(disconnect).encode(bridge.settings.version, &mut out);
        out
    }
}

/// Tells the other broker's clients whether the bridge is there. At QoS 0: the packet identifiers are the hub's.
fn notification(bridge: &Bridge, retain_available: bool, is_connected: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(topic) = bridge.remote_state_topic() {
        let publish = Publish {
            retain: retain_available,
            ..Publish::new(topic, Delivery::AtMostOnce, state(is_connected))
        };
        _ = Packet::Publish(publish).encode(bridge.settings.version, &mut out);
    }
    out
}

/// As it is published.
pub(super) fn state(is_connected: bool) -> &'static [u8] {
    if is_connected { b"1" } else { b"0" }
}

fn connect(bridge: &Bridge, tells: bool) -> Result<Vec<u8>, crate::codec::EncodeError> {
    let settings = &bridge.settings;
    let limits = bridge.hub.limits();
    let mut properties = PropertiesBuf::new();
    if settings.version == Version::V5 {
        if !settings.clean_session {
            properties.push(Property::SessionExpiryInterval(u32::MAX))?;
        }
        if let Some(most) = limits.receive_maximum() {
            properties.push(Property::ReceiveMaximum(most))?;
        }
        if let Some(most) =
            u32::try_from(bridge.max_received_bytes()).ok().and_then(std::num::NonZeroU32::new)
        {
            properties.push(Property::MaximumPacketSize(most))?;
        }
    }
    let will = bridge.remote_state_topic().map(|topic: Name<'_>| Will {
        topic,
        payload: state(false),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Properties::EMPTY,
    });
    let connect = Connect {
        version: settings.version,
        clean_session: settings.clean_session,
        keep_alive: settings.keep_alive,
        client_id: &bridge.remote_client_id,
        will,
        user_name: settings.user_name.as_deref(),
        password: settings.password.as_ref().map(|password| password.0.as_bytes()),
        properties: properties.as_properties(),
    };
    let mut out = Vec::new();
    Packet::Connect(connect).encode(settings.version, &mut out)?;
    if tells {
        tell_of_bridge(&mut out);
    }
    Ok(out)
}

/// Writes all of it.
pub(super) async fn write_all(wire: &mut Wire, mut bytes: &[u8]) -> Result<(), String> {
    poll_fn(|cx| {
        while !bytes.is_empty() {
            // Reading moves the handshake of TLS on.
            match wire.poll_write(cx, bytes) {
                Poll::Ready(Ok(n)) => bytes = bytes.get(n..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
                Poll::Pending => return Poll::Pending,
            }
        }
        wire.poll_flush(cx).map_err(|error| error.to_string())
    })
    .await
}
