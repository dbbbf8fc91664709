//! Does to a store what a broker would, and to a model.

use std::any::Any;
use std::mem;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use super::model::{Model, sorted};
use crate::codec::{PacketId, QoS};
use crate::store::files::simulated::{Disk, Failure};
use crate::store::{
    Fetch, Fetched, Journal, MannerRecord, MessageRecord, Options, Position, Record, Report, SessionNumber,
    SessionRecord, Sink, StoredDelivery, SubscriptionRecord, WillRecord, Writer, open,
};

/// What to do, and with which; it depends on what there is.
pub(super) type Action = (u8, u16, u16);

const MAX_SESSIONS: usize = 4;

pub(super) struct Player {
    pub(super) disk: Disk,
    options: Options,
    pub(super) journal: Arc<Journal>,
    pub(super) writer: Writer,
    pub(super) model: Model,
    /// The model at the end of each group of this life that had something new, and before.
    groups: Vec<(u64, Model)>,
    is_changed: bool,
    pub(super) answers: Vec<(u64, Fetched)>,
    asked: u64,
    /// Whether the power may be cut.
    pub(super) keeps_groups: bool,
    next_packet_id: u16,
}

pub(super) fn options(segment_bytes: u32) -> Options {
    Options { segment_bytes, linger: Duration::ZERO, retry: Duration::ZERO, ..Options::default() }
}

/// By the number of the question.
struct Answers<'a>(&'a mut Vec<(u64, Fetched)>);

impl Sink for Answers<'_> {
    fn fetched(&mut self, asker: Arc<dyn Any + Send + Sync>, _: SessionNumber, fetched: Fetched) {
        self.0.push((*asker.downcast().unwrap(), fetched));
    }
}

impl Player {
    pub(super) fn new(disk: Disk, options: Options) -> Self {
        let (journal, writer, recovered, _) = open(Arc::new(disk.clone()), options).unwrap();
        assert_eq!(recovered, Default::default());
        let model = Model::default();
        let groups = vec![(0, model.clone())];
        Self {
            disk,
            options,
            journal,
            writer,
            model,
            groups,
            is_changed: false,
            answers: Vec::new(),
            asked: 0,
            keeps_groups: true,
            next_packet_id: 0,
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        self.journal.record(record);
        self.model.apply(record);
        self.is_changed = true;
    }

    pub(super) fn is_between_groups(&self) -> bool {
        !self.is_changed
    }

    /// Lets the writer take what there is.
    pub(super) fn turn(&mut self) -> bool {
        let group = self.journal.turn().group();
        self.model.end_group();
        if mem::take(&mut self.is_changed) && self.keeps_groups {
            self.groups.push((group, self.model.clone()));
        }
        let goes_on = self.writer.turn(Duration::ZERO, &mut Answers(&mut self.answers));
        let persisted = self.journal.persisted();
        assert!(persisted <= group);
        if let Some(index) = self.groups.iter().rposition(|(group, _)| *group <= persisted)
            && matches!(self.options.sync, crate::store::SyncPolicy::Always)
        {
            self.groups.drain(..index);
        }
        goes_on
    }

    pub(super) fn commit(&mut self) {
        assert!(self.turn());
    }

    /// For records that the model does not know.
    pub(super) fn commit_unchecked(&mut self) {
        self.writer.turn(Duration::ZERO, &mut Answers(&mut self.answers));
    }

    /// Turns until there is nothing to do.
    pub(super) fn idle(&mut self) {
        let before = |player: &Self| (player.writer.status().frames(), player.writer.status().segments());
        loop {
            let was = before(self);
            self.commit();
            if before(self) == was {
                return;
            }
        }
    }

    pub(super) fn begin(&mut self, variant: u16) -> SessionNumber {
        let session = self.journal.next_number();
        self.head(session, variant);
        session
    }

    fn head(&mut self, session: SessionNumber, variant: u16) {
        let client_id = format!("client {session}");
        let topic = format!("will/{variant}");
        let message = MessageRecord {
            topic: &topic,
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            properties: &[],
            expiry: (variant & 1 == 1).then_some((9, 0)),
        };
        let will = WillRecord { message, retain: variant & 2 == 2, delay_seconds: variant.into() };
        self.record(&Record::Session(SessionRecord {
            session,
            client_id: &client_id,
            expiry_seconds: u32::from(variant),
            absent_since: (variant & 4 == 4).then_some(u64::from(variant) << 20),
            will: (variant & 8 == 8).then_some(will),
        }));
    }

    pub(super) fn publish(&mut self, to: &[SessionNumber], payload_bytes: usize, is_sent: bool) {
        let body = self.journal.next_number();
        let properties: &[u8] = if body.is_multiple_of(5) { b"\x01\x01" } else { &[] };
        self.record(&Record::Body {
            body,
            message: MessageRecord {
                topic: &format!("topic/{}", body % 7),
                payload: &vec![u8::try_from(body % 251).unwrap(); payload_bytes],
                qos: QoS::ExactlyOnce,
                properties,
                expiry: body.is_multiple_of(3).then_some((60, body)),
            },
        });
        for session in to {
            let qos = if (body + session).is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let ids = [NonZeroU32::MIN, NonZeroU32::MAX];
            let manner = MannerRecord {
                qos,
                retain: body.is_multiple_of(4),
                replayed: body.is_multiple_of(8),
                subscription_ids: &ids[..usize::try_from(body % 3).unwrap()],
                share: body.is_multiple_of(6).then_some("$share/a/#"),
            };
            let packet_id = is_sent.then(|| self.packet_id());
            let position = self.model.sessions[session].next_position;
            self.record(&Record::Enqueue { session: *session, position, body, manner, packet_id });
        }
    }

    pub(super) fn retain(&mut self, topic: u16, payload_bytes: usize) {
        let body = self.journal.next_number();
        let topic = format!("retained/{topic}");
        let before = self.model.retained.iter().find(|(_, message)| message.topic == topic);
        if let Some(body) = before.map(|(body, _)| *body) {
            self.record(&Record::Unretain { body });
        }
        let payload = vec![1; payload_bytes];
        let (qos, expiry) = (QoS::AtMostOnce, None);
        let message = MessageRecord { topic: &topic, payload: &payload, qos, properties: &[], expiry };
        self.record(&Record::Body { body, message });
        self.record(&Record::Retain { body });
    }

    fn packet_id(&mut self) -> PacketId {
        self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
        NonZeroU16::new(self.next_packet_id).unwrap()
    }

    pub(super) fn acknowledge_first(&mut self, session: SessionNumber) -> bool {
        let first = self.model.sessions[&session].entries.keys().next().copied();
        if let Some(position) = first {
            self.record(&Record::Dequeue { session, position });
        }
        first.is_some()
    }

    /// Hands the first message of a session to another.
    pub(super) fn hand(&mut self, from: SessionNumber, to: SessionNumber) {
        let first = self.model.sessions[&from].entries.values().next().cloned();
        let Some(entry) = first else { return };
        self.record(&Record::Dequeue { session: from, position: entry.position });
        let body = self.journal.next_number();
        let message = &entry.message;
        self.record(&Record::Body {
            body,
            message: MessageRecord {
                topic: &message.topic,
                payload: &message.payload,
                qos: message.qos,
                properties: &message.properties,
                expiry: message.expiry,
            },
        });
        self.record(&Record::Enqueue {
            session: to,
            position: self.model.sessions[&to].next_position,
            body,
            manner: MannerRecord {
                qos: entry.qos,
                retain: entry.retain,
                replayed: entry.replayed,
                subscription_ids: &entry.subscription_ids,
                share: entry.share.as_deref(),
            },
            packet_id: None,
        });
    }

    /// Does something that a broker may do now.
    pub(super) fn play(&mut self, (kind, a, b): Action) {
        let sessions = self.model.sessions.keys().copied().collect::<Vec<_>>();
        let Some(session) = pick(&sessions, a) else {
            self.begin(b);
            return;
        };
        let known = &self.model.sessions[&session];
        let positions = known.entries.keys().copied().collect::<Vec<_>>();
        // Mostly the first few.
        let position = pick(&positions[..positions.len().min(if b % 4 == 0 { usize::MAX } else { 3 })], b);
        match kind {
            0..=3 if sessions.len() < MAX_SESSIONS => _ = self.begin(b),
            0 | 1 => self.record(&Record::SessionEnd { session }),
            2 | 3 => self.head(session, b),
            4 | 5 => {
                let filter = format!("filter/{}/#", b % 5);
                let identifier = NonZeroU32::new(b.into());
                let (no_local, retain_as_published) = (b & 1 == 1, b & 2 == 2);
                let qos = QoS::AtLeastOnce;
                let subscription = SubscriptionRecord { qos, no_local, retain_as_published, identifier };
                self.record(&Record::Subscribe { session, filter: &filter, subscription });
            }
            6 => self.record(&Record::Unsubscribe { session, filter: &format!("filter/{}/#", b % 5) }),
            7..=14 => {
                let to = sessions.iter().enumerate().filter(|(index, _)| a >> index & 1 == 1);
                let to = to.map(|(_, session)| *session).collect::<Vec<_>>();
                self.publish(&to, usize::from(b % 100), b.is_multiple_of(3));
            }
            15..=17 => {
                let queued = known.entries.values().find(|entry| entry.packet_id.is_none());
                if let Some(position) = queued.map(|entry| entry.position) {
                    let packet_id = self.packet_id();
                    self.record(&Record::InFlight { session, position, packet_id });
                }
            }
            18..=23 => {
                if let Some(position) = position {
                    self.record(&Record::Dequeue { session, position });
                }
            }
            24 => {
                for position in positions.into_iter().take(usize::from(b % 64)) {
                    self.record(&Record::Dequeue { session, position });
                }
            }
            25 => {
                if let Some(position) = position {
                    let packet_id = self.packet_id();
                    self.record(&Record::Released { session, position, packet_id });
                }
            }
            26 => {
                if let Some(packet_id) = pick(&known.released, b) {
                    self.record(&Record::Completed { session, packet_id });
                }
            }
            27 => {
                let packet_id = self.packet_id();
                self.record(&Record::Received { session, packet_id });
            }
            28 => {
                if let Some(packet_id) = known.received.iter().next().copied() {
                    self.record(&Record::ReceivedEnd { session, packet_id });
                }
            }
            29 => self.retain(b % 4, usize::from(b % 50)),
            30 => {
                let retained = self.model.retained.keys().copied().collect::<Vec<_>>();
                if let Some(body) = pick(&retained, b) {
                    self.record(&Record::Unretain { body });
                }
            }
            31 => {
                if let Some(to) = pick(&sessions, b) {
                    self.hand(session, to);
                }
            }
            _ => self.commit(),
        }
    }

    pub(super) fn fetch(
        &mut self,
        session: SessionNumber,
        from: Position,
        max_messages: usize,
        max_bytes: usize,
    ) -> Option<Fetched> {
        self.answers.clear();
        self.asked += 1;
        let asker = Arc::new(self.asked);
        self.journal.fetch(Fetch { session, from, max_messages, max_bytes, asker });
        self.commit();
        // Those of earlier ones that were held may come too.
        self.answers.extract_if(.., |(asked, _)| *asked == self.asked).next().map(|(_, fetched)| fetched)
    }

    /// Fetches all in pieces, and compares.
    pub(super) fn check_fetch(&mut self, session: SessionNumber, max_messages: usize, max_bytes: usize) {
        let mut found: Vec<StoredDelivery> = Vec::new();
        let mut from = 0;
        loop {
            let fetched = self.fetch(session, from, max_messages, max_bytes).expect("an answer");
            let all_but_last = fetched.deliveries.iter().rev().skip(1);
            let bytes =
                all_but_last.map(|delivery| delivery.message.topic.len() + delivery.message.payload.len());
            assert!(bytes.sum::<usize>() <= max_bytes);
            assert!(fetched.deliveries.len() <= max_messages.max(1));
            found.extend(fetched.deliveries);
            match fetched.next {
                Some(next) => {
                    assert!(next > from && found.last().is_some_and(|last| last.position < next));
                    from = next;
                }
                None => break,
            }
        }
        let expected = self.model.sessions[&session].entries.values().cloned().collect::<Vec<_>>();
        assert!(found == expected, "{session}: {found:?} instead of {expected:?}");
    }

    pub(super) fn check_fetches(&mut self, variant: u16) {
        for session in self.model.sessions.keys().copied().collect::<Vec<_>>() {
            self.check_fetch(session, 1 + usize::from(variant % 7), 10 + usize::from(variant % 500));
        }
    }

    /// Whatever fails: what is fetched is in order and true, and if something is left out, that is said.
    pub(super) fn check_prefixes(&mut self) {
        if self.is_changed {
            return;
        }
        for session in self.model.sessions.keys().copied().collect::<Vec<_>>() {
            let Some(fetched) = self.fetch(session, 0, usize::MAX, usize::MAX) else { continue };
            let mut expected = self.model.sessions[&session].entries.values();
            for delivery in &fetched.deliveries {
                assert_eq!(Some(delivery), expected.next());
            }
            if let Some(left_out) = expected.next() {
                assert!(fetched.next.is_some_and(|next| next <= left_out.position), "{session}: {fetched:?}");
            }
        }
    }

    /// Kills it after what was recorded is written, and opens what it left.
    pub(super) fn reopen(&mut self) -> Report {
        self.disk.heal();
        self.commit();
        let disk = self.disk.after_kill();
        let (journal, writer, recovered, report) = open(Arc::new(disk.clone()), self.options).unwrap();
        assert!(recovered.numbers >= self.model.highest_number());
        assert_eq!(sorted(recovered), self.model.recovered());
        self.go_on(disk, journal, writer);
        report
    }

    /// Ends without a word, and is opened while the disk is full.
    pub(super) fn reopen_on_full_disk(&mut self) {
        let disk = self.disk.after_kill();
        disk.fail(Failure::Full, 0, u64::MAX);
        let (journal, writer, recovered, _) = open(Arc::new(disk.clone()), self.options).unwrap();
        assert_eq!(sorted(recovered), self.model.recovered());
        self.go_on(disk, journal, writer);
    }

    /// Opens what is left when the power fails now.
    pub(super) fn cut_power(&mut self, seed: u64) -> Result<(), String> {
        let disk = self.disk.after_power_cut(seed);
        let opened = open(Arc::new(disk.clone()), self.options).map_err(|error| error.to_string())?;
        let (journal, writer, recovered, _) = opened;
        let recovered = sorted(recovered);
        let persisted = self.journal.persisted();
        let found = self.groups.iter().rev().find(|(_, model)| model.recovered() == recovered);
        let Some((_, model)) = found else {
            return Err(format!("found {recovered:?}, which was never so from group {persisted} on"));
        };
        self.model = model.clone();
        self.go_on(disk, journal, writer);
        Ok(())
    }

    fn go_on(&mut self, disk: Disk, journal: Arc<Journal>, writer: Writer) {
        self.disk = disk;
        self.journal = journal;
        self.writer = writer;
        self.is_changed = false;
        self.groups = vec![(0, mem::take(&mut self.model))];
        self.model = self.groups[0].1.clone();
    }
}

fn pick<T: Copy>(all: &[T], which: u16) -> Option<T> {
    all.get(usize::from(which).checked_rem(all.len())?).copied()
}
