//! What awaits a session whose client is away: its end, and the will that its last connection left.

use std::time::{Duration, Instant};

use super::will::Will;

/// How long a session outlives its connection: a session expiry interval [5.0 MQTT-3.1.2-23], in whole seconds.
///
/// A session of 3.1 or 3.1.1 ends with its connection if that had clean session 1 [MQTT-3.1.2-6], and otherwise never,
/// as far as the standard goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(u32);

impl Expiry {
    /// The session ends with its connection.
    pub const AT_ONCE: Self = Self(0);
    /// The session does not end by itself.
    pub const NEVER: Self = Self(u32::MAX);

    /// As a packet says it: 0 is at once, 0xFFFFFFFF never.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// The longest of whole seconds that is no longer; none is never.
    pub fn within(time: Option<Duration>) -> Self {
        time.map_or(Self::NEVER, |time| Self(u32::try_from(time.as_secs()).unwrap_or(u32::MAX)))
    }

    /// As a packet says it.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// When a session ends that lost its connection at `now`; none is never.
    fn end(self, now: Instant) -> Option<Instant> {
        if self == Self::NEVER { None } else { now.checked_add(Duration::from_secs(self.0.into())) }
    }
}

/// The time from the end of a session's connection to its next one, or to its own end.
///
/// A will that is to be delayed goes out when the delay is over or the session ends, whichever is first
/// [5.0 MQTT-3.1.2-8]; and not at all if the client returns to the session before [5.0 MQTT-3.1.3-9].
#[derive(Debug, Default)]
pub struct Absence(Option<Box<Away>>);

#[derive(Debug)]
struct Away {
    /// The end of the connection.
    since: Instant,
    ends: Option<Instant>,
    /// With the time when its delay is over.
    will: Option<(Option<Instant>, Will)>,
}

impl Absence {
    /// The connection ended at `now` and left that will. Gives it back if it goes out at once.
    pub(super) fn begin(&mut self, expiry: Expiry, will: Option<Will>, now: Instant) -> Option<Will> {
        if expiry == Expiry::AT_ONCE {
            return will;
        }
        let (waits, at_once) = match will {
            Some(will) if will.delay_seconds > 0 => (Some(will), None),
            at_once => (None, at_once),
        };
        *self = Self::restored(expiry, waits, now);
        at_once
    }

    /// One that began at `since`, in an earlier life of the broker; so the will waits even if its delay is over.
    pub(super) fn restored(expiry: Expiry, will: Option<Will>, since: Instant) -> Self {
        let delayed = |will: Will| (since.checked_add(Duration::from_secs(will.delay_seconds.into())), will);
        Self(Some(Box::new(Away { since, ends: expiry.end(since), will: will.map(delayed) })))
    }

    /// The absence is over, one way or the other: gives the will that waited.
    pub(super) fn end(&mut self) -> Option<Will> {
        self.0.take()?.will.map(|(_, will)| will)
    }

    /// When it began; none if the session ended with its connection.
    pub fn since(&self) -> Option<Instant> {
        self.0.as_ref().map(|away| away.since)
    }

    /// The will that waits.
    pub(super) fn will(&self) -> Option<&Will> {
        self.0.as_ref()?.will.as_ref().map(|(_, will)| will)
    }

    /// When there is something to be done.
    pub fn due(&self) -> Option<Instant> {
        let away = self.0.as_ref()?;
        let will = away.will.as_ref().and_then(|(at, _)| *at);
        will.into_iter().chain(away.ends).min()
    }

    /// Whether the session has reached its end.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.0.as_ref().and_then(|away| away.ends).is_some_and(|at| at <= now)
    }

    /// Bytes of the will that waits.
    pub(super) fn held_bytes(&self) -> usize {
        self.will().map_or(0, Will::bytes)
    }

    /// The will, if it is larger than that: memory is short, and it is never sent.
    pub fn take_large_will(&mut self, keep: usize) -> Option<Will> {
        self.0.as_mut()?.will.take_if(|(_, will)| will.bytes() > keep).map(|(_, will)| will)
    }

    /// The will, if its delay is over.
    pub fn take_due_will(&mut self, now: Instant) -> Option<Will> {
        self.0.as_mut()?.will.take_if(|(at, _)| at.is_some_and(|at| at <= now)).map(|(_, will)| will)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::QoS;
    use crate::session::Message;
    use crate::topic::Name;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn will(delay_seconds: u32) -> Option<Will> {
        let message = Message::new(Name::new("will").unwrap(), b"gone", QoS::AtMostOnce);
        Some(Will { message, retain: false, delay_seconds })
    }

    #[test]
    fn a_will_waits_for_its_delay_or_the_end_whichever_is_first() {
        let now = Instant::now();
        for (expiry, delay, due) in [(3, 2, 2), (2, 3, 2), (u32::MAX, 5, 5), (5, u32::MAX, 5)] {
            let mut absence = Absence::default();
            assert!(absence.begin(Expiry::from_seconds(expiry), will(delay), now).is_none());
            assert_eq!(absence.due(), Some(now + seconds(due)), "{expiry} {delay}");
        }
    }

    #[test]
    fn a_will_without_delay_or_of_a_session_that_ends_goes_out_at_once() {
        let now = Instant::now();
        for (expiry, delay) in [(Expiry::NEVER, 0), (Expiry::AT_ONCE, 9)] {
            let mut absence = Absence::default();
            assert!(absence.begin(expiry, will(delay), now).is_some());
            assert!(absence.end().is_none());
        }
    }

    #[test]
    fn a_will_is_taken_once_and_the_end_stays() {
        let now = Instant::now();
        let mut absence = Absence::default();
        absence.begin(Expiry::from_seconds(2), will(1), now);
        assert!(absence.take_due_will(now).is_none());
        assert!(absence.take_due_will(now + seconds(1)).is_some());
        assert!(absence.take_due_will(now + seconds(1)).is_none());
        assert_eq!(absence.due(), Some(now + seconds(2)));
        assert!(!absence.is_over(now + seconds(1)) && absence.is_over(now + seconds(2)));
    }

    #[test]
    fn never_is_never() {
        let now = Instant::now();
        let mut absence = Absence::default();
        absence.begin(Expiry::NEVER, None, now);
        assert_eq!(absence.due(), None);
        assert_eq!(Expiry::within(None), Expiry::NEVER);
        assert_eq!(Expiry::within(Some(seconds(7))).seconds(), 7);
    }
}
