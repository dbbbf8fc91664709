//! The bridge's end in the hub: a client like any other, but without a socket.

use std::io::IoSlice;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::Bridge;
use crate::auth::Entrance;
use crate::codec::{
    Connect, Decoded, EncodeError, Packet, PacketId, PropertiesBuf, Property, RetainHandling, Subscribe,
    SubscribeOptions, Unsubscribe, Version, decode,
};
use crate::hub::{Batch, Ending, Handled, Next, Origin, Peer, Sleep};
use crate::session::Outbox;
use crate::topic::FilterBuf;

/// Topic filters in one SUBSCRIBE or UNSUBSCRIBE.
const FILTERS: usize = 100;

/// A connection to the hub.
pub(super) struct Local {
    bridge: Arc<Bridge>,
    /// None once it is closed.
    peer: Option<Peer>,
    batch: Batch,
    /// What the hub handed over.
    unsent: Outbox,
    /// Bytes that wait behind it.
    waiting: usize,
}

impl Local {
    /// Connects to the hub, and subscribes to what goes out. `receive_maximum` is the other broker's.
    ///
    /// # Errors
    ///
    /// Why the hub does not let it in.
    pub(super) fn open(
        bridge: &Arc<Bridge>,
        receive_maximum: u16,
        retained: impl Fn(bool) -> RetainHandling,
    ) -> Result<Self, String> {
        let origin = Origin::Bridge(bridge.settings.name.as_str().into());
        let peer = bridge.hub.accept(origin, Entrance::open(), Instant::now());
        let mut local = Self {
            bridge: Arc::clone(bridge),
            peer: Some(peer.ok_or("this broker lets nobody in: it stops, or a limit is reached")?),
            batch: Batch::new(Instant::now()),
            unsent: Outbox::default(),
            waiting: 0,
        };
        let connect = local.connect(receive_maximum).map_err(|error| error.to_string())?;
        local.handle_all(&connect)?;
        let subscribe = local.subscribe(retained).map_err(|error| error.to_string())?;
        local.handle_all(&subscribe)?;
        Ok(local)
    }

    fn connect(&self, receive_maximum: u16) -> Result<Vec<u8>, EncodeError> {
        let settings = &self.bridge.settings;
        let mut properties = PropertiesBuf::new();
        if !settings.local_clean_session {
            properties.push(Property::SessionExpiryInterval(u32::MAX))?;
        }
        if let Some(most) = std::num::NonZeroU16::new(receive_maximum) {
            properties.push(Property::ReceiveMaximum(most))?;
        }
        let connect = Connect {
            version: Version::V5,
            clean_session: settings.local_clean_session,
            keep_alive: 0,
            client_id: &self.bridge.local_client_id,
            will: None,
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        };
        let mut out = Vec::new();
        Packet::Connect(connect).encode(Version::V5, &mut out)?;
        Ok(out)
    }

    /// SUBSCRIBE to what goes out, and UNSUBSCRIBE from what went out by an earlier configuration.
    fn subscribe(&self, retained: impl Fn(bool) -> RetainHandling) -> Result<Vec<u8>, EncodeError> {
        let (mut out, id) = (Vec::new(), PacketId::MAX);
        let routes = self.bridge.routes.iter().filter(|route| route.direction.goes_out());
        let wanted: Vec<_> = routes
            .map(|route| {
                let options = SubscribeOptions {
                    qos: route.qos,
                    no_local: true,
                    retain_as_published: true,
                    retain_handling: retained(route.direction.comes_in()),
                };
                (route.local.as_filter(), options)
            })
            .collect();
        let filters = self.peer.as_ref().map(|peer| self.bridge.hub.filters(peer)).unwrap_or_default();
        let is_old = |filter: &&FilterBuf| !wanted.iter().any(|(wanted, _)| *wanted == filter.as_filter());
        let old: Vec<_> = filters.iter().filter(is_old).map(FilterBuf::as_filter).collect();
        for filters in old.chunks(FILTERS) {
            Packet::Unsubscribe(Unsubscribe::new(id, filters.to_vec())).encode(Version::V5, &mut out)?;
        }
        for filters in wanted.chunks(FILTERS) {
            Packet::Subscribe(Subscribe::new(id, filters.to_vec())).encode(Version::V5, &mut out)?;
        }
        Ok(out)
    }

    /// Whether CONNACK said that there was a session. To be asked before anything is taken of what the hub handed over;
    /// none while CONNACK waits for the store.
    pub(super) fn session_present(&mut self) -> Option<bool> {
        let mut front = Vec::new();
        let mut slices = [IoSlice::new(&[]); 1];
        self.unsent.slices(&mut slices).iter().for_each(|slice| front.extend_from_slice(slice));
        match decode(&front, Some(Version::V5), usize::MAX) {
            Ok(Decoded::Packet { packet: Packet::Connack(connack), .. }) => Some(connack.session_present),
            _ => None,
        }
    }

    /// What must be handled at once, at the begin.
    fn handle_all(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let Handled { consumed, next } = self.handle(bytes).map_err(|ending| ending.to_string())?;
            if let Next::End(ending) = next {
                return Err(ending.to_string());
            }
            if consumed == 0 && !matches!(next, Next::Yield) {
                return Err("the hub does not take its packets".to_owned());
            }
            bytes = bytes.get(consumed..).unwrap_or_default();
        }
        Ok(())
    }

    /// Has the hub handle whole packets.
    ///
    /// # Errors
    ///
    /// The connection must end.
    pub(super) fn handle(&mut self, bytes: &[u8]) -> Result<Handled, Ending> {
        let Some(peer) = &mut self.peer else { return Err(Ending::Closed) };
        let hub = &self.bridge.hub;
        let handled = hub.handle(peer, bytes, Instant::now(), &mut self.batch);
        self.batch.wake();
        let waiting = hub.collect(peer, &mut self.unsent, &mut self.batch);
        if !matches!(handled.next, Next::End(_)) {
            self.waiting = waiting?;
        }
        Ok(handled)
    }

    /// Whether the hub takes more, or too much waits for the other broker.
    pub(super) fn may_read(&self) -> bool {
        self.waiting < self.bridge.hub.max_outbox_bytes().saturating_mul(2)
    }

    /// Whether the hub handed something over that is not taken yet.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes of what the hub handed over so many bytes, or somewhat more.
    pub(super) fn take_unsent(&mut self, into: &mut Vec<u8>, bytes: usize) {
        self.unsent.take(into, bytes);
    }

    /// Registers the waker for what the hub has to say next, unless there is something.
    ///
    /// # Errors
    ///
    /// The connection must end.
    pub(super) fn sleep(&mut self, waker: &Waker) -> Result<Sleep, Ending> {
        let Some(peer) = &self.peer else { return Err(Ending::Closed) };
        let sleep = self.bridge.hub.sleep(peer, &mut self.unsent, 0, waker, &mut self.batch)?;
        if sleep == Sleep::Output {
            self.waiting = 0;
        }
        Ok(sleep)
    }

    /// The other broker has begun a new session.
    pub(super) fn forget_received(&mut self) {
        if let Some(peer) = &self.peer {
            self.bridge.hub.forget_received(peer, &mut self.batch);
        }
    }

    /// Bytes went to the other broker.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.batch.tally().bytes_sent += i64::try_from(bytes).unwrap_or(0);
    }

    /// Bytes came from the other broker.
    pub(super) fn count_received(&mut self, bytes: usize) {
        self.batch.tally().bytes_received += i64::try_from(bytes).unwrap_or(0);
    }

    /// Leaves the hub.
    pub(super) fn close(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        let Some(peer) = self.peer.take() else { return };
        self.unsent.clear();
        self.unsent.settle(self.batch.tally());
        self.bridge.hub.close(peer, &Ending::Closed, Instant::now(), &mut self.batch);
        self.batch.wake();
    }
}

/// However it ends: the hub waits for those that are there when it stops.
impl Drop for Local {
    fn drop(&mut self) {
        self.leave();
    }
}
