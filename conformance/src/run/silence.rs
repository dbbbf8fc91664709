//! Nothing comes. A round trip shows it where one is possible: the answer to a ping overtakes nothing.

use std::time::{Duration, Instant};

use super::{Fault, Run, came};
use crate::actor::Came;
use crate::frame::{Kind, Packet};

impl Run<'_> {
    /// `a < silence`: first a round trip with everybody else, so that what they sent is dealt with, then with `actors`,
    /// then a short time in which a delivery on another thread would still show.
    pub(super) fn silence(&mut self, actors: &[usize]) -> Result<(), Fault> {
        let others: Vec<usize> = (0..self.cast.len()).filter(|actor| !actors.contains(actor)).collect();
        for actor in others {
            self.round_trip(actor);
        }
        let mut all_answered = true;
        for actor in actors {
            all_answered &= self.round_trip(*actor);
        }
        let deadline = self.target.deadline;
        self.quiet(actors, if all_answered { deadline / 20 } else { deadline * 3 / 20 })
    }

    /// `a < silence for TIME`: nothing comes, and the connection stays open.
    pub(super) fn quiet(&mut self, actors: &[usize], time: Duration) -> Result<(), Fault> {
        match self.next(actors, None, Instant::now() + time) {
            None => Ok(()),
            Some(event) => Err(Fault::new("nothing to come", came(&event.what)).at(&event)),
        }
    }

    /// PINGREQ, and its answer taken out of what came. False where there is no round trip.
    fn round_trip(&mut self, actor: usize) -> bool {
        let ping = Packet::new(Kind::Pingreq);
        let Some(cast) = self.cast.get(actor).filter(|cast| cast.can_ping) else { return false };
        let Some(connection) = &cast.connection else { return false };
        let is_answer = |what: &Came| matches!(what, Came::Packet(packet) if packet.kind == Kind::Pingresp);
        let old = cast.queue.iter().filter(|event| is_answer(&event.what)).count();
        connection.send(&ping);

        let until = Instant::now() + self.target.deadline;
        loop {
            let Some(cast) = self.cast.get_mut(actor) else { return false };
            let answers = cast.queue.iter().enumerate().filter(|(_, event)| is_answer(&event.what));
            if let Some((place, _)) = answers.skip(old).last() {
                cast.queue.remove(place);
                return true;
            }
            if !cast.can_ping || !self.pump(until) {
                return false;
            }
        }
    }
}
