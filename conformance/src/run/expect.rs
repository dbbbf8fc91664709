//! `a < …`

use std::time::{Duration, Instant};

use super::stage::Run;
use super::{Fault, came, compare, contains, seconds};
use crate::Version;
use crate::actor::{Came, Event};
use crate::frame::Kind;
use crate::scenario::{Action, ActorKind, Expect, Expected, FieldText, PacketText, Step};

impl Run<'_> {
    /// Takes in one event. False when none comes by `until`.
    pub(super) fn pump(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(event) = self.events.recv_timeout(left) else { return false };
        if let Some(cast) = self.cast.get_mut(event.actor) {
            // What an earlier connection had to say is of no interest any more.
            if cast.connection.as_ref().is_some_and(|connection| connection.number() == event.connection) {
                match &event.what {
                    Came::Packet(packet) if packet.kind == Kind::Connack => {
                        cast.can_ping = packet.number("reason") == Some(0);
                    }
                    Came::Closed(_) => cast.can_ping = false,
                    Came::Packet(_) | Came::Malformed(_) => {}
                }
                cast.queue.push_back(event);
            }
        }
        true
    }

    /// The next event of one of these actors that counts for a step with this pattern.
    pub(super) fn next(
        &mut self,
        actors: &[usize],
        pattern: Option<&PacketText>,
        until: Instant,
    ) -> Option<Event> {
        loop {
            for actor in actors {
                if let Some(event) = self.queued(*actor, pattern) {
                    return Some(event);
                }
            }
            if !self.pump(until) {
                return None;
            }
        }
    }

    /// Takes from the actor's queue: skips what a client handles by itself and other people's messages, and what may come.
    fn queued(&mut self, actor: usize, pattern: Option<&PacketText>) -> Option<Event> {
        let others_count =
            pattern.is_some_and(|pattern| compare::wants_others(pattern, &self.token, &self.bindings));
        loop {
            let cast = self.cast.get_mut(actor)?;
            let event = cast.queue.pop_front()?;
            let Came::Packet(packet) = &event.what else { return Some(event) };
            cast.greeted |= packet.kind == Kind::Connack;
            let by_itself = matches!(packet.kind, Kind::Pubrec | Kind::Pubrel | Kind::Pingresp);
            if by_itself && cast.kind == ActorKind::Client {
                continue;
            }
            if packet.kind == Kind::Publish && cast.hears_others && !others_count {
                let topic = packet.bytes("topic").unwrap_or_default();
                if !contains(topic, self.token.as_bytes()) {
                    self.trace.remark(event.place, "not of this scenario");
                    continue;
                }
            }
            let allowed = cast.optional.iter().position(|text| {
                compare::packet(text, packet, self.version, &self.token, &self.bindings).is_ok()
            });
            match allowed {
                Some(place) => {
                    let cast = self.cast.get_mut(actor)?;
                    let text = cast.optional.remove(place);
                    if let Ok(found) =
                        compare::packet(&text, packet, self.version, &self.token, &self.bindings)
                    {
                        self.bindings.extend(found);
                    }
                }
                None => return Some(event),
            }
        }
    }

    pub(super) fn expect(&mut self, expect: &Expect) -> Result<(), Fault> {
        for actor in &expect.actors {
            let cast = self.cast(*actor)?;
            if cast.connection.is_none() {
                return Err(Fault::new("something to come", format!("{} is not connected", cast.name)));
            }
        }
        match &expect.what {
            Expected::Packet(text) if expect.optional => {
                for actor in &expect.actors {
                    self.cast(*actor)?.optional.push(text.clone());
                }
                return Ok(());
            }
            Expected::Packet(text) => {
                let expected = |run: &Self| compare::describe(text, run.version, &run.token, &run.bindings);
                let event = self.awaited(&expect.actors, Some(text), expect.within, expected)?;
                let found = match &event.what {
                    Came::Packet(packet) => {
                        compare::packet(text, packet, self.version, &self.token, &self.bindings)
                            .map_err(|differs| Fault::new(differs.expected, differs.actual).at(&event))?
                    }
                    other => return Err(Fault::new(expected(self), came(other)).at(&event)),
                };
                self.bindings.extend(found);
            }
            Expected::Close(reason) => {
                for actor in &expect.actors {
                    self.close(*actor, reason.as_ref(), expect.within)?;
                }
            }
            Expected::Silence(None) => self.silence(&expect.actors)?,
            Expected::Silence(Some(time)) => self.quiet(&expect.actors, *time)?,
        }
        for actor in &expect.actors {
            self.cast(*actor)?.optional.clear();
        }
        Ok(())
    }

    /// The broker closes. In 5.0 it may say so before, once: by CONNACK if none came, and else by DISCONNECT.
    fn close(
        &mut self,
        actor: usize,
        reason: Option<&FieldText>,
        within: Option<(Duration, Duration)>,
    ) -> Result<(), Fault> {
        let reason = reason.filter(|reason| reason.field.is_in(self.version));
        let goodbye = reason.map(|reason| compare::shown(reason, &self.token, &self.bindings));
        let goodbye = goodbye.map(|reason| format!(", if it says why with {reason}"));
        let expected = format!("the broker to close the connection{}", goodbye.unwrap_or_default());
        let mut is_told = self.version < Version::V5_0;
        loop {
            let by = if self.cast(actor)?.greeted { Kind::Disconnect } else { Kind::Connack };
            let event = self.awaited(&[actor], None, within, |_| expected.clone())?;
            match &event.what {
                Came::Closed(_) => {
                    drop(self.cast(actor)?.leave());
                    return Ok(());
                }
                // [MQTT-4.13.2-1]
                Came::Packet(packet)
                    if packet.kind == by && packet.number("reason") >= Some(0x80) && !is_told =>
                {
                    let code = packet.all("reason").next();
                    let admits = |reason: &FieldText| {
                        let listed = reason
                            .values
                            .iter()
                            .any(|value| value.admits(code, reason.field.of, &self.token, &self.bindings));
                        listed != reason.negated
                    };
                    if !reason.is_none_or(admits) {
                        return Err(Fault::new(expected, came(&event.what)).at(&event));
                    }
                    is_told = true;
                }
                other => return Err(Fault::new(expected, came(other)).at(&event)),
            }
        }
    }

    /// The next event, not earlier and not later than `within` says.
    fn awaited(
        &mut self,
        actors: &[usize],
        text: Option<&PacketText>,
        within: Option<(Duration, Duration)>,
        expected: impl Fn(&Self) -> String,
    ) -> Result<Event, Fault> {
        let until =
            within.map_or_else(|| Instant::now() + self.target.deadline, |(_, most)| self.last_send + most);
        let waited = |run: &Self| run.last_send.elapsed();
        let Some(event) = self.next(actors, text, until) else {
            let waited = if within.is_some() { waited(self) } else { self.target.deadline };
            return Err(Fault::new(expected(self), format!("nothing came within {}", seconds(waited))));
        };
        if let Some((least, most)) = within {
            let after = event.at.saturating_duration_since(self.last_send);
            if after < least || after > most {
                let range = format!("{} after {} to {}", expected(self), seconds(least), seconds(most));
                let actual = format!("{} after {}", came(&event.what), seconds(after));
                return Err(Fault::new(range, actual).at(&event));
            }
        }
        Ok(event)
    }

    pub(super) fn any_order(&mut self, steps: &[Step]) -> Result<(), Fault> {
        let mut open: Vec<(&Expect, &PacketText)> = Vec::new();
        for step in steps.iter().filter(|step| step.is_in(self.version)) {
            if let Action::Expect(expect) = &step.action
                && let Expected::Packet(text) = &expect.what
            {
                open.push((expect, text));
            }
        }
        while !open.is_empty() {
            let one_of = |run: &Self| {
                let all = open
                    .iter()
                    .map(|(_, text)| compare::describe(text, run.version, &run.token, &run.bindings));
                all.collect::<Vec<_>>().join(" or ")
            };
            let mut actors: Vec<usize> = open.iter().flat_map(|(expect, _)| expect.actors.clone()).collect();
            actors.sort_unstable();
            actors.dedup();
            let event = self.awaited(&actors, None, None, one_of)?;
            let Came::Packet(packet) = &event.what else {
                return Err(Fault::new(one_of(self), came(&event.what)).at(&event));
            };
            let fits = open.iter().enumerate().find_map(|(place, (expect, text))| {
                let found = compare::packet(text, packet, self.version, &self.token, &self.bindings).ok()?;
                expect.actors.contains(&event.actor).then_some((place, found))
            });
            let Some((place, found)) = fits else {
                return Err(Fault::new(one_of(self), came(&event.what)).at(&event));
            };
            open.remove(place);
            self.bindings.extend(found);
            self.cast(event.actor)?.optional.clear();
        }
        Ok(())
    }
}
