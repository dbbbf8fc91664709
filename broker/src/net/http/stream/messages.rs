//! `/api/v1/messages`: what is published, as a subscriber gets it.
//!
//! It is a client of the hub like any other, with a session of its own and QoS 0: what it does not read in time is
//! dropped, and told.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use smol::Timer;
use smol::stream::Stream;

use super::event;
use crate::auth::Entrance;
use crate::codec::{
    Connect, Decoded, MAX_PACKET_BYTES, Packet, PacketId, Properties, QoS, Subscribe, SubscribeCode, Version,
    decode,
};
use crate::hub::{Ending, Next, Peer, Sleep, shown};
use crate::net::http::answer::{Answer, Refusal, events};
use crate::net::http::api::{self, Payload};
use crate::net::http::query::Query;
use crate::net::http::state::{State, rfc3339};
use crate::session::Outbox;
use crate::topic::{Filter, SharedFilter};

/// What it speaks with the hub.
const VERSION: Version = Version::V311;
/// Topic filters at a time.
const MAX_FILTERS: usize = 16;
/// A client that is gone is noticed when it is written to.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What was dropped is told after so long, whatever else there is to tell.
const MAX_UNTOLD: Duration = Duration::from_secs(1);
/// Bytes that are put into words at a time.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Serialize)]
struct Message<'a> {
    topic: &'a str,
    #[serde(flatten)]
    payload: Payload,
    bytes: usize,
    qos: u8,
    retain: bool,
    time: String,
}

#[derive(Serialize)]
struct Dropped {
    messages: u64,
}

#[derive(Serialize)]
struct End {
    error: String,
}

struct Messages {
    state: Rc<State>,
    /// None once it is over.
    peer: Option<Peer>,
    /// What the hub handed over.
    unsent: Outbox,
    /// Bytes of a packet that is not whole.
    received: Vec<u8>,
    /// Memory these take that the hub's account knows of.
    accounted: usize,
    /// Messages that were dropped, as far as that was told.
    told_dropped: u64,
    /// When that was.
    told_at: Instant,
    heartbeat: Timer,
}

/// Subscribes, and tells what comes.
pub(in crate::net::http) fn messages(
    state: &Rc<State>,
    query: Option<&str>,
    from: SocketAddr,
) -> Result<Answer, Refusal> {
    let query = Query::parse(query, &["filter"])?;
    let filters: Vec<&str> = query.all("filter").collect();
    if filters.is_empty() || filters.len() > MAX_FILTERS {
        return Err(Refusal::bad(format!(
            "give from 1 to {MAX_FILTERS} times `filter`, a topic filter such as %23"
        )));
    }
    let filters = filters.into_iter().map(|text| {
        let filter = api::filter(text)?;
        match SharedFilter::parse(filter) {
            Ok(None) => Ok((filter, QoS::AtMostOnce)),
            _ => Err(Refusal::bad(
                "`filter` cannot be that of a shared subscription: others would miss messages",
            )),
        }
    });
    let filters: Vec<_> = filters.collect::<Result<_, _>>()?;
    let mut messages = Messages::connect(state, from)?;
    messages.subscribe(filters)?;
    Ok(events(messages))
}

impl Messages {
    fn connect(state: &Rc<State>, from: SocketAddr) -> Result<Self, Refusal> {
        let peer = state.hub.accept(from, Entrance::open(), Instant::now()).ok_or_else(|| {
            let what = "the broker lets no more clients in: its log says which limit was reached";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what)
        })?;
        Ok(Self {
            state: Rc::clone(state),
            peer: Some(peer),
            unsent: Outbox::default(),
            received: Vec::new(),
            accounted: 0,
            told_dropped: 0,
            told_at: Instant::now(),
            heartbeat: Timer::interval(HEARTBEAT),
        })
    }

    /// CONNECT, then SUBSCRIBE.
    fn subscribe(&mut self, filters: Vec<(Filter<'_>, QoS)>) -> Result<(), Refusal> {
        let connect = Connect {
            version: VERSION,
            clean_session: true,
            keep_alive: 0,
            // The hub gives it one that nobody guesses.
            client_id: "",
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        self.say(&Packet::Connect(connect))?;
        match self.next_packet().map(|packet| packet.0) {
            Some(Packet::Connack(connack)) if !connack.reason.is_error() => {}
            _ => return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the broker does not accept it")),
        }
        self.forget_packet();
        self.say(&Packet::Subscribe(Subscribe::new(PacketId::MIN, filters)))?;
        let refused = match self.next_packet().map(|packet| packet.0) {
            Some(Packet::Suback(suback)) => {
                suback.codes.iter().any(|code| matches!(code, SubscribeCode::Refused(_)))
            }
            _ => true,
        };
        self.forget_packet();
        if refused {
            let what =
                "the broker takes no such subscription, or no more: its log says which limit was reached";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what));
        }
        Ok(())
    }

    /// Gives a packet to the hub, and takes what it answers.
    fn say(&mut self, packet: &Packet<'_>) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        let Some(peer) = &mut self.peer else { return Ok(()) };
        let is_encoded = packet.encode(VERSION, &mut bytes).is_ok();
        let unsent = &mut self.unsent;
        let said = self.state.with_batch(|hub, batch| {
            let handled = hub.handle(peer, &bytes, Instant::now(), batch);
            let collected = hub.collect(peer, unsent, batch).map(drop);
            match handled.next {
                Next::End(ending) => Err(ending),
                _ => collected,
            }
        });
        match said {
            Ok(()) if is_encoded => Ok(()),
            Ok(()) => Err(Refusal::bad("the topic filters are too long")),
            Err(ending) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, ending.to_string())),
        }
    }

    /// Moves some of what the hub handed over to where it is decoded.
    fn take(&mut self) {
        let room = CHUNK_BYTES.saturating_sub(self.received.len());
        self.unsent.take(&mut self.received, room);
    }

    /// The next packet and its bytes, if it is whole.
    fn next_packet(&mut self) -> Option<(Packet<'_>, usize)> {
        self.take();
        first_packet(&self.received)
    }

    fn forget_packet(&mut self) {
        let length = first_packet(&self.received).map_or(0, |(_, length)| length);
        self.received.drain(..length);
    }

    /// Puts messages that came into words.
    fn tell(&mut self) -> Vec<u8> {
        let (mut out, mut done) = (Vec::new(), 0);
        self.take();
        let time = rfc3339(SystemTime::now());
        while out.len() < CHUNK_BYTES
            && let Some((packet, length)) = first_packet(self.received.get(done..).unwrap_or_default())
        {
            done += length;
            let Packet::Publish(publish) = packet else { continue };
            let message = Message {
                topic: publish.topic.map(|topic| topic.as_str()).unwrap_or_default(),
                payload: Payload::new(shown(publish.payload), publish.payload.len()),
                bytes: publish.payload.len(),
                qos: publish.delivery.qos().into(),
                retain: publish.retain,
                time: time.clone(),
            };
            out.extend_from_slice(&event(None, &message));
        }
        self.received.drain(..done);
        out
    }

    /// Puts into words that some were dropped since it was told last.
    fn tell_dropped(&mut self) -> Option<Bytes> {
        let peer = self.peer.as_ref()?;
        let dropped = self.state.hub.dropped_for(peer);
        let messages = dropped.saturating_sub(self.told_dropped);
        self.told_dropped = dropped;
        self.told_at = Instant::now();
        (messages > 0).then(|| event(Some("dropped"), &Dropped { messages }))
    }

    fn account(&mut self) {
        let Self { state, unsent, received, accounted, .. } = self;
        let received = received.capacity();
        state.with_batch(|_, batch| {
            let now = received + unsent.settle(batch.tally());
            *accounted = batch.tally().charge(*accounted, now);
        });
    }

    /// Leaves the hub.
    fn end(&mut self, ending: &Ending) {
        self.unsent.clear();
        self.received = Vec::new();
        self.account();
        if let Some(peer) = self.peer.take() {
            self.state.with_batch(|hub, batch| hub.close(peer, ending, Instant::now(), batch));
        }
    }
}

fn first_packet(bytes: &[u8]) -> Option<(Packet<'_>, usize)> {
    match decode(bytes, Some(VERSION), MAX_PACKET_BYTES) {
        Ok(Decoded::Packet { packet, length }) => Some((packet, length)),
        _ => None,
    }
}

impl Stream for Messages {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        loop {
            let mut out = this.tell();
            // Behind what came before; but in a flood that has no end.
            if this.unsent.is_empty() || this.told_at.elapsed() >= MAX_UNTOLD {
                out.extend(this.tell_dropped().into_iter().flatten());
            }
            if !out.is_empty() {
                this.account();
                return Poll::Ready(Some(out.into()));
            }
            let Some(peer) = &this.peer else { return Poll::Ready(None) };
            let (unsent, received) = (&mut this.unsent, this.received.capacity());
            match this.state.with_batch(|hub, batch| {
                hub.sleep(peer, unsent, received, cx.waker(), batch.at(Instant::now()))
            }) {
                Ok(Sleep::Output) => {}
                Ok(Sleep::Asleep) if !this.unsent.is_empty() => {}
                Ok(Sleep::Asleep) => {
                    this.account();
                    return Pin::new(&mut this.heartbeat)
                        .poll_next(cx)
                        .map(|_| Some(Bytes::from_static(b": still here\n\n")));
                }
                Err(ending) => {
                    let error = ending.to_string();
                    this.end(&ending);
                    return Poll::Ready(Some(event(Some("end"), &End { error })));
                }
            }
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.end(&Ending::Disconnect);
    }
}
