//! Each packet of chosen clients as a line of the log, switched on and off while the broker runs.
//!
//! A client that is not traced costs a look at a flag a batch. What is traced gathers in the batch and is told when all
//! locks are free, so many lines a second.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::info;
use parking_lot::Mutex;
use thiserror::Error;

use super::peer::{Connected, Shown};
use super::{Batch, Client, Hub};
use crate::codec::{Ack, Connack, Packet, PacketType, Publish, SubscribeCode, Version};
use crate::session::Outbox;

/// The target of the lines that tell of packets. Their level is INFO, since a logger that lets TRACE through would have
/// to look at what the libraries say of each packet.
pub const TRACE: &str = "sol::trace";

/// Clients traced at a time.
pub const MOST_TRACED: usize = 20;
/// Packets told of one client in a second; of the others it is told how many they were.
const PACKETS_A_SECOND: u32 = 1000;
/// Lines that wait in a batch.
const MOST_LINES: usize = 1000;
/// Characters of a topic, or of the filters of a packet, in a line.
const SHOWN_CHARS: usize = 200;

/// As many clients are traced as can be.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{MOST_TRACED} clients are traced, which is the most: end the trace of one")]
pub struct TooManyTraced;

/// Who is traced, by client identifier, connected or not.
#[derive(Default)]
pub(super) struct Traces {
    /// Locked beside no other.
    allowances: Mutex<HashMap<Arc<str>, Allowance, ahash::RandomState>>,
    count: AtomicUsize,
}

/// What may still be told of a client.
struct Allowance {
    second: Instant,
    told: u32,
    untold: u64,
}

impl Allowance {
    /// Whether another packet may be told of, and then, how many were not since the last.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.told) = (now, 0);
        }
        if self.told >= PACKETS_A_SECOND {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl Traces {
    fn has(&self, client_id: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.allowances.lock().contains_key(client_id)
    }
}

/// A packet to be told of.
pub(super) struct Line {
    client: Arc<Client>,
    is_received: bool,
    packet: PacketType,
    details: String,
    /// Packets behind it that found no room.
    more: u64,
}

impl Hub {
    /// From now on, the log is told of each packet to and from the client of that identifier, also when it comes back, or
    /// comes at all. Says whether it is known now.
    ///
    /// # Errors
    ///
    /// There are [`MOST_TRACED`] others.
    pub fn trace(&self, client_id: &str) -> Result<bool, TooManyTraced> {
        {
            let mut allowances = self.traces.allowances.lock();
            if !allowances.contains_key(client_id) {
                if allowances.len() >= MOST_TRACED {
                    return Err(TooManyTraced);
                }
                allowances.insert(client_id.into(), Allowance { second: Instant::now(), told: 0, untold: 0 });
                self.traces.count.store(allowances.len(), Ordering::Release);
            }
        }
        let client = self.sessions.lock().get(client_id).cloned();
        if let Some(client) = &client {
            client.is_traced.store(true, Ordering::Relaxed);
        }
        info!("traces client {}", Shown(client_id));
        Ok(client.is_some())
    }

    /// Ends the trace of a client. Says whether there was one, and whether the client is known now.
    pub fn end_trace(&self, client_id: &str) -> (bool, bool) {
        let was_traced = {
            let mut allowances = self.traces.allowances.lock();
            let was_traced = allowances.remove(client_id).is_some();
            self.traces.count.store(allowances.len(), Ordering::Release);
            was_traced
        };
        let client = self.sessions.lock().get(client_id).cloned();
        if let Some(client) = &client {
            client.is_traced.store(false, Ordering::Relaxed);
        }
        if was_traced {
            info!("traces client {} no longer", Shown(client_id));
        }
        (was_traced, client.is_some())
    }

    /// A client is let in: is it one to be traced?
    pub(super) fn trace_newcomer(&self, client: &Arc<Client>, connect: Packet<'_>, batch: &mut Batch) {
        if self.traces.has(client.id()) {
            client.is_traced.store(true, Ordering::Relaxed);
            batch.trace(client, true, &connect);
        }
    }

    /// Tells the log of what was gathered. No lock may be held.
    pub(super) fn tell_traced(&self, batch: &mut Batch) {
        let now = batch.now;
        for line in batch.traced.drain(..) {
            let taken = match self.traces.allowances.lock().get_mut(line.client.id()) {
                Some(allowance) => {
                    let taken = allowance.take(now);
                    allowance.untold += line.more;
                    taken
                }
                None => {
                    // Its trace has ended while it came.
                    line.client.is_traced.store(false, Ordering::Relaxed);
                    None
                }
            };
            let Some(untold) = taken else { continue };
            let client = line.client.id();
            if untold > 0 {
                info!(
                    target: TRACE, event = "packets_untold", client, count = untold;
                    "client {}: {untold} packets are not told of, more than {PACKETS_A_SECOND} in a second",
                    Shown(client)
                );
            }
            let Line { is_received, packet, details, .. } = line;
            let (direction, verb) = if is_received { ("received", "sent") } else { ("sent", "is sent") };
            let shown = if details.is_empty() { String::new() } else { format!(" ({details})") };
            info!(
                target: TRACE, event = "packet", client, direction, packet:% = packet, details = details.as_str();
                "client {} {verb} {packet}{shown}", Shown(client)
            );
        }
    }
}

impl Client {
    /// Whether the log is told of its packets.
    pub(super) fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }
}

impl Batch {
    /// Notes a packet that came from a client, or goes to it.
    #[cold]
    pub(super) fn trace(&mut self, client: &Arc<Client>, is_received: bool, packet: &Packet<'_>) {
        let is_full = self.traced.len() >= MOST_LINES;
        match self.traced.last_mut() {
            Some(last) if is_full => last.more += 1,
            _ => self.traced.push(Line {
                client: Arc::clone(client),
                is_received,
                packet: packet.packet_type(),
                details: Details { packet, is_received }.to_string(),
                more: 0,
            }),
        }
    }

    /// Notes all packets that wait in an outbox of which nothing is written yet.
    #[cold]
    pub(super) fn trace_output(&mut self, connected: &Connected, outbox: &Outbox) {
        outbox.inspect(connected.terms.version, |packet| self.trace(&connected.client, false, packet));
    }
}

/// What the log tells of a packet beside its name: as mosquitto does, and of some more than that.
struct Details<'a> {
    packet: &'a Packet<'a>,
    is_received: bool,
}

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acknowledged = |f: &mut fmt::Formatter<'_>, Ack { packet_id, reason, .. }: &Ack<'_>, has_code| {
            let code = u8::from(*reason);
            match (self.is_received, has_code) {
                (true, true) => write!(f, "Mid: {packet_id}, RC:{code}"),
                (true, false) => write!(f, "Mid: {packet_id}"),
                (false, true) => write!(f, "m{packet_id}, rc{code}"),
                (false, false) => write!(f, "m{packet_id}"),
            }
        };
        match self.packet {
            Packet::Connect(connect) => {
                let version = protocol_number(connect.version);
                write!(f, "p{version}, c{}, k{}", u8::from(connect.clean_session), connect.keep_alive)?;
                if let Some(user) = connect.user_name {
                    write!(f, ", u'{}'", Brief(user))?;
                }
                if let Some(will) = &connect.will {
                    let (qos, retain) = (will.qos, u8::from(will.retain));
                    write!(f, ", will q{qos}, r{retain}, '{}'", Brief(will.topic.as_str()))?;
                }
                Ok(())
            }
            Packet::Connack(Connack { session_present, reason, .. }) => {
                write!(f, "{}, {}", u8::from(*session_present), u8::from(*reason))
            }
            Packet::Publish(Publish { dup, delivery, retain, topic, payload, .. }) => write!(
                f,
                "d{}, q{}, r{}, m{}, '{}', ... ({} bytes)",
                u8::from(*dup),
                delivery.qos(),
                u8::from(*retain),
                delivery.packet_id().map_or(0, |id| id.get()),
                // 5.0 may say it by an alias.
                Brief(topic.map_or("", |topic| topic.as_str())),
                payload.len()
            ),
            Packet::Puback(ack) => acknowledged(f, ack, true),
            Packet::Pubrec(ack) => acknowledged(f, ack, !self.is_received || ack.reason.is_error()),
            Packet::Pubrel(ack) => acknowledged(f, ack, false),
            Packet::Pubcomp(ack) => acknowledged(f, ack, self.is_received),
            Packet::Subscribe(subscribe) => {
                write!(f, "m{}", subscribe.packet_id)?;
                for (filter, options) in subscribe.filters() {
                    write!(f, ", '{}' q{}", Brief(filter.as_str()), options.qos)?;
                }
                Ok(())
            }
            Packet::Suback(suback) => {
                write!(f, "m{}", suback.packet_id)?;
                suback.codes.iter().try_for_each(|code| match code {
                    SubscribeCode::Granted(qos) => write!(f, ", {qos}"),
                    SubscribeCode::Refused(reason) => write!(f, ", {}", u8::from(*reason)),
                })?;
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) => {
                write!(f, "m{}", unsubscribe.packet_id)?;
                for filter in unsubscribe.filters() {
                    write!(f, ", '{}'", Brief(filter.as_str()))?;
                }
                Ok(())
            }
            Packet::Unsuback(unsuback) => write!(f, "m{}", unsuback.packet_id),
            Packet::Disconnect(disconnect) => write!(f, "rc{}", u8::from(disconnect.reason)),
            Packet::Auth(auth) => write!(f, "rc{}", u8::from(auth.reason)),
            Packet::Pingreq | Packet::Pingresp => Ok(()),
        }
    }
}

/// A version as mosquitto numbers it.
fn protocol_number(version: Version) -> u8 {
    match version {
        Version::V31 => 1,
        Version::V311 => 2,
        Version::V5 => 5,
    }
}

/// A client's text in a line: cut, and its control characters escaped, so that it writes no lines of its own.
struct Brief<'a>(&'a str);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, c) in self.0.chars().enumerate() {
            match c {
                _ if place == SHOWN_CHARS => return f.write_str("…"),
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_says_how_many_were_left_out() {
        let now = Instant::now();
        let mut allowance = Allowance { second: now, told: 0, untold: 0 };
        assert!((0..PACKETS_A_SECOND).all(|_| allowance.take(now) == Some(0)));
        assert!((0..3).all(|_| allowance.take(now).is_none()));
        let next = now + Duration::from_secs(1);
        assert_eq!((allowance.take(next), allowance.take(next)), (Some(3), Some(0)));
    }

    #[test]
    fn so_many_are_traced_and_no_more() {
        let hub = Hub::new(super::super::Limits::default());
        for n in 0..MOST_TRACED {
            assert_eq!(hub.trace(&n.to_string()), Ok(false));
        }
        assert_eq!((hub.trace("0"), hub.trace("more")), (Ok(false), Err(TooManyTraced)));
        assert!(hub.end_trace("0").0 && !hub.end_trace("0").0);
        assert_eq!(hub.trace("more"), Ok(false));
    }

    #[test]
    fn what_a_client_sends_writes_no_lines_of_its_own() {
        assert_eq!(Brief("a\nb\u{7f}'").to_string(), "a\\nb\\u{7f}'");
        let long = "ä".repeat(SHOWN_CHARS);
        assert_eq!(Brief(&long).to_string(), long);
        assert_eq!(Brief(&format!("{long}ä")).to_string(), format!("{long}…"));
    }
}
