//! A load client that costs little, so that the broker is what is measured.
//!
//! Any number of publishers and subscribers, all on the calling thread, over an epoll of its own. A PUBLISH is encoded
//! once and copied with its few bytes changed; what comes in is read in large pieces, checked and acknowledged piece by
//! piece.
//!
//! Every message says whose it is and which, and each subscriber must get each publisher's messages whole, in order, and
//! once: anything else is an error. So that no broker has a reason to drop one, a publisher has a window of messages not
//! fully acknowledged, and all together keep at most [`AHEAD`] deliveries on their way.

mod clients;
mod latencies;
mod link;
mod poller;
mod socket;
mod template;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use sol::codec::{AckType, PacketType, QoS, encode_ack};

use clients::STALL;
pub use clients::{Clients, Terms};
pub use latencies::Latencies;
use latencies::Schedule;
use link::Link;
use template::Template;

use crate::frames::Frame;

/// Deliveries owed to the subscribers at most, of small messages.
pub const AHEAD: u64 = 20_000;
/// But for each subscriber so many, as what one wake-up brings decides what a delivery costs.
const AHEAD_EACH: u64 = 100;
/// Bytes of them, of larger ones.
const AHEAD_BYTES: u64 = 8 << 20;
/// Bytes that a publisher writes at a time.
const WRITE_BYTES: usize = 64 << 10;
/// Writes of one publisher before it is the others' turn.
const WRITES: usize = 4;
/// Naps as `Auto` makes them: not worth it below, and no longer than that.
const NAPS: [Duration; 2] = [Duration::from_micros(20), Duration::from_micros(250)];

/// Who publishes to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// Publisher n to subscriber n alone. Without subscribers, to nobody.
    Pairs,
    /// One publisher to all, who subscribe to its very topic.
    FanOut,
    /// All to all, who subscribe by a `#`.
    FanIn,
}

/// What is published, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Who to whom.
    pub pattern: Pattern,
    /// How many of them.
    pub publishers: usize,
    /// How many of them.
    pub subscribers: usize,
    /// Of messages and subscriptions.
    pub qos: QoS,
    /// Bytes of each message, at least 8.
    pub payload: usize,
    /// Messages of a publisher in flight at QoS 1 and 2.
    pub window: u64,
    /// Topics that each publisher goes through.
    pub topics: usize,
    /// Subscriptions with wildcards that match nothing, over all subscribers.
    pub idle_filters: usize,
}

/// What the client does between two looks at its sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naps {
    /// Nothing: it is driven by events alone.
    None,
    /// It sleeps so long, and events pile up.
    Fixed(Duration),
    /// It sleeps an eighth of the time that the broker seems to need for what is in flight: from 20 to 250 µs.
    Auto,
}

/// Publishers and subscribers, connected and subscribed: first the subscribers, then the publishers.
pub struct Load {
    clients: Clients,
    plan: Plan,
    traffic: Traffic,
    publishers: Vec<Publisher>,
    /// Publishers that got something, and may go on.
    touched: Vec<usize>,
    /// A publisher stopped that could go on without anything coming to it: for want of room on the way, or because it was
    /// the others' turn.
    held: bool,
}

/// What subscribers check, and what all count.
#[derive(Debug)]
struct Traffic {
    template: Template,
    pattern: Pattern,
    qos: QoS,
    /// For each subscriber the next message of each publisher.
    expected: Vec<Vec<u32>>,
    counts: Counts,
    schedule: Option<Schedule>,
}

/// What has happened so far.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    sent: u64,
    /// Messages with which their publisher is done: sent at QoS 0, fully acknowledged at QoS 1 and 2.
    completed: u64,
    delivered: u64,
    /// Deliveries of QoS 2 with which the subscriber is done.
    released: u64,
}

#[derive(Clone, Default, Debug)]
struct Publisher {
    sent: u32,
    in_flight: u64,
    id: u16,
    topic: usize,
}

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Run {
    /// Messages that arrived; of those that nobody gets, those acknowledged.
    pub messages: u64,
    /// From the first one's sending until everything had arrived and was acknowledged.
    pub elapsed: Duration,
}

impl Load {
    /// Connects everybody and subscribes.
    ///
    /// # Errors
    ///
    /// The broker is not there, closes a connection, refuses, or does not answer for five seconds.
    pub fn open(broker: SocketAddr, terms: &Terms, plan: Plan) -> io::Result<Self> {
        Self::among(Clients::new(broker, terms.clone())?, plan)
    }

    /// The same, with clients that are already there and stay idle.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub fn among(mut clients: Clients, plan: Plan) -> io::Result<Self> {
        // For naps. Without it they are 50 µs longer.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let first = clients.len();
        clients.connect(plan.subscribers + plan.publishers)?;
        for subscriber in 0..plan.subscribers {
            clients.subscribe(first + subscriber, &plan.filters(subscriber), plan.qos)?;
        }
        let publisher = |number| Publisher { topic: number * plan.topics, ..Publisher::default() };
        let traffic = Traffic {
            template: Template::new(clients.version(), plan.qos, plan.payload)?,
            pattern: plan.pattern,
            qos: plan.qos,
            expected: vec![vec![0; plan.publishers]; plan.subscribers],
            counts: Counts::default(),
            schedule: None,
        };
        let publishers = (0..plan.publishers).map(publisher).collect();
        clients.idle = first;
        Ok(Self { clients, plan, traffic, publishers, touched: Vec::new(), held: false })
    }

    /// Publishes as much as goes for so long, and returns when all of it has arrived and everything is acknowledged.
    ///
    /// # Errors
    ///
    /// A connection closed; a packet that ought not to come; a message that is not the next one; or nothing for five
    /// seconds, so that something is lost. The load is of no use afterwards.
    pub fn run(&mut self, time: Duration, naps: Naps) -> io::Result<Run> {
        let before = self.progress();
        let start = Instant::now();
        let mut sending = true;
        self.held = true;
        loop {
            if sending {
                self.publish()?;
            }
            if !sending && self.is_done() {
                return Ok(Run { messages: self.progress() - before, elapsed: start.elapsed() });
            }
            if let Some(nap) = self.nap(naps, self.progress() - before, start) {
                thread::sleep(nap);
            }
            // Whoever is held by nothing but its turn goes on at once.
            let longest = if sending && self.held && self.has_room() { Duration::ZERO } else { STALL };
            if !self.turn(longest)? && !longest.is_zero() {
                return Err(self.stalled());
            }
            sending = sending && start.elapsed() < time;
        }
    }

    /// Publishes so many messages a second, each when it is due, whatever became of those before; and gives how long each
    /// took from then on, but for those of the warming up.
    ///
    /// # Errors
    ///
    /// As for [`Self::run`].
    pub fn run_at_rate(&mut self, rate: u32, warm_up: Duration, time: Duration) -> io::Result<Latencies> {
        let interval = Duration::from_secs(1) / rate.max(1);
        let messages = |time: Duration| (time.as_nanos() / interval.as_nanos().max(1)) as u64;
        let count = self.publishers.len();
        let before = self.publishers.iter().map(|publisher| publisher.sent).collect();
        let due = messages(warm_up + time).next_multiple_of(count as u64);
        let start = Instant::now() + Duration::from_millis(10);
        let schedule = Schedule::new(start, interval, before, messages(warm_up));
        let mut sent = 0;
        let mut next = start;
        self.traffic.schedule = Some(schedule);
        while sent < due || !self.is_done() {
            while sent < due && next <= Instant::now() {
                let publisher = (sent % count as u64) as usize;
                self.send(publisher, 1)?;
                sent += 1;
                next = self.traffic.schedule.as_ref().map_or(next, |schedule| schedule.due(sent));
            }
            let longest = if sent < due { next.saturating_duration_since(Instant::now()) } else { STALL };
            if !self.turn(longest)? && sent == due {
                return Err(self.stalled());
            }
        }
        self.touched.clear();
        self.traffic.schedule.take().map(Schedule::finish).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Its clients, behind those who were there before.
    pub fn into_clients(self) -> Clients {
        self.clients
    }

    /// What a run counts.
    fn progress(&self) -> u64 {
        let counts = &self.traffic.counts;
        if self.plan.subscribers == 0 { counts.completed } else { counts.delivered }
    }

    fn owed(&self) -> u64 {
        self.traffic.counts.sent * self.plan.receivers() - self.traffic.counts.delivered
    }

    /// Deliveries on their way at most.
    fn ahead(&self) -> u64 {
        AHEAD.min(AHEAD_BYTES / self.plan.payload as u64).max(self.plan.receivers() * AHEAD_EACH)
    }

    /// Whether the publishers may go on: when they had to stop, not before a quarter of the way is free.
    fn has_room(&self) -> bool {
        let (ahead, owed) = (self.ahead(), self.owed());
        ahead - owed.min(ahead) >= (ahead / 4).max(self.plan.receivers() * AHEAD_EACH)
    }

    fn is_done(&self) -> bool {
        let Counts { sent, completed, delivered, released } = self.traffic.counts;
        let released = self.plan.qos != QoS::ExactlyOnce || released == delivered;
        completed == sent && self.owed() == 0 && released
    }

    fn stalled(&self) -> io::Error {
        let due = self.traffic.counts.sent * self.plan.receivers();
        let what = format!("nothing came for {STALL:?}, of {due} deliveries: {:?}", self.traffic.counts);
        io::Error::new(ErrorKind::TimedOut, what)
    }

    fn nap(&self, naps: Naps, done: u64, start: Instant) -> Option<Duration> {
        let [least, most] = NAPS;
        match naps {
            Naps::None => None,
            Naps::Fixed(nap) => Some(nap),
            Naps::Auto => {
                let counts = &self.traffic.counts;
                let at_qos_0 = self.plan.qos == QoS::AtMostOnce;
                let waiting = if at_qos_0 { self.owed() } else { counts.sent - counts.completed };
                let nap = start.elapsed().div_f64(done.max(1) as f64 * 8.0).mul_f64(waiting as f64);
                (done > 0 && nap >= least).then_some(nap.min(most))
            }
        }
    }

    /// Lets every publisher send that may.
    fn publish(&mut self) -> io::Result<()> {
        if self.held && self.has_room() {
            self.held = false;
            self.touched.clear();
            self.touched.extend(0..self.publishers.len());
        }
        while let Some(number) = self.touched.pop() {
            for write in 0.. {
                let count = self.may_send(number);
                if count == 0 {
                    break;
                }
                if write == WRITES {
                    self.held = true;
                    break;
                }
                self.send(number, count)?;
            }
        }
        Ok(())
    }

    /// How many messages a publisher may send now.
    fn may_send(&mut self, number: usize) -> u64 {
        let Some(publisher) = self.publishers.get(number) else { return 0 };
        if self.clients.links.get(self.key_of(number)).is_none_or(Link::is_blocked) {
            return 0;
        }
        let batch = (WRITE_BYTES / self.traffic.template.bytes()).max(1) as u64;
        let window = match self.plan.qos {
            QoS::AtMostOnce => batch,
            _ => self.plan.window.saturating_sub(publisher.in_flight),
        };
        let room = match self.plan.receivers() {
            0 => batch,
            receivers => self.ahead().saturating_sub(self.owed()) / receivers,
        };
        self.held |= room == 0 && window > 0;
        batch.min(window).min(room)
    }

    fn key_of(&self, publisher: usize) -> usize {
        self.clients.idle + self.plan.subscribers + publisher
    }

    fn send(&mut self, number: usize, count: u64) -> io::Result<()> {
        let key = self.key_of(number);
        let Self { clients, plan, traffic, publishers, .. } = self;
        let (Some(link), Some(publisher)) = (clients.links.get_mut(key), publishers.get_mut(number)) else {
            return Err(ErrorKind::NotFound.into());
        };
        if plan.qos != QoS::AtMostOnce && publisher.in_flight + count > u64::from(u16::MAX) {
            return Err(io::Error::new(ErrorKind::TimedOut, "no packet identifier is free"));
        }
        for _ in 0..count {
            publisher.id = publisher.id.checked_add(1).unwrap_or(1);
            traffic.template.put(link.out(), publisher.topic, publisher.id, number as u32, publisher.sent);
            publisher.sent += 1;
            publisher.topic += 1;
            if publisher.topic == (number + 1) * plan.topics {
                publisher.topic = number * plan.topics;
            }
        }
        traffic.counts.sent += count;
        match plan.qos {
            QoS::AtMostOnce => traffic.counts.completed += count,
            _ => publisher.in_flight += count,
        }
        link.flush()
    }

    /// Waits once, and takes and answers what comes. Gives whether anything did.
    fn turn(&mut self, longest: Duration) -> io::Result<bool> {
        let Self { clients, plan, traffic, publishers, touched, .. } = self;
        let Clients { poller, links, buffer, idle, .. } = clients;
        let ready = poller.wait(longest)?;
        for key in (0..ready).filter_map(|ready| poller.key(ready)) {
            let Some(link) = links.get_mut(key) else { continue };
            let Some(subscriber) = key.checked_sub(*idle) else {
                link.read(buffer, |frame, _| Err(frame.unexpected()))?;
                continue;
            };
            match subscriber.checked_sub(plan.subscribers) {
                None => link.read(buffer, |frame, out| traffic.subscriber(subscriber, frame, out))?,
                Some(number) => {
                    let Some(publisher) = publishers.get_mut(number) else { continue };
                    link.read(buffer, |frame, out| traffic.publisher(publisher, frame, out))?;
                    touched.push(number);
                }
            }
            link.flush()?;
        }
        Ok(ready > 0)
    }
}

impl Traffic {
    /// A subscriber got a packet.
    fn subscriber(&mut self, number: usize, frame: Frame<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        if self.qos == QoS::ExactlyOnce && frame.is(PacketType::Pubrel) {
            self.counts.released += 1;
            encode_ack(out, AckType::Pubcomp, frame.packet_id()?);
            return Ok(());
        }
        if !frame.is(PacketType::Publish) {
            return Err(frame.unexpected());
        }
        let (publisher, message) = self.template.stamp(frame)?;
        let expected = self.expected.get_mut(number).and_then(|next| next.get_mut(publisher as usize));
        let expected = expected.ok_or_else(|| frame.unexpected())?;
        let misrouted = self.pattern == Pattern::Pairs && publisher as usize != number;
        if *expected != message || misrouted {
            let what = format!(
                "subscriber {number} got message {message} of publisher {publisher} in place of {expected}"
            );
            return Err(io::Error::other(what));
        }
        *expected += 1;
        self.counts.delivered += 1;
        match self.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => encode_ack(out, AckType::Puback, frame.packet_id()?),
            QoS::ExactlyOnce => encode_ack(out, AckType::Pubrec, frame.packet_id()?),
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.arrived(publisher, message);
        }
        Ok(())
    }

    /// A publisher got a packet.
    fn publisher(
        &mut self,
        publisher: &mut Publisher,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        // A reason code of 5.0 that says no.
        if frame.body().get(2).is_some_and(|reason| *reason >= 0x80) {
            return Err(frame.unexpected());
        }
        match self.qos {
            QoS::ExactlyOnce if frame.is(PacketType::Pubrec) => {
                encode_ack(out, AckType::Pubrel, frame.packet_id()?);
                return Ok(());
            }
            QoS::ExactlyOnce if frame.is(PacketType::Pubcomp) => {}
            QoS::AtLeastOnce if frame.is(PacketType::Puback) => {}
            _ => return Err(frame.unexpected()),
        }
        publisher.in_flight = publisher.in_flight.checked_sub(1).ok_or_else(|| frame.unexpected())?;
        self.counts.completed += 1;
        Ok(())
    }
}

impl Plan {
    /// Publishers to as many subscribers, or all to all, with 64 bytes a message and 20 in flight.
    pub fn new(pattern: Pattern, publishers: usize, subscribers: usize, qos: QoS) -> Self {
        Self { pattern, publishers, subscribers, qos, payload: 64, window: 20, topics: 1, idle_filters: 0 }
    }

    /// Deliveries of each message.
    fn receivers(&self) -> u64 {
        match self.pattern {
            Pattern::Pairs => u64::from(self.subscribers > 0),
            Pattern::FanOut | Pattern::FanIn => self.subscribers as u64,
        }
    }

    fn filters(&self, subscriber: usize) -> Vec<String> {
        let mut filters = match self.pattern {
            Pattern::Pairs => {
                let first = subscriber * self.topics;
                (first..first + self.topics).map(template::topic).collect()
            }
            Pattern::FanOut => vec![template::topic(0)],
            Pattern::FanIn => vec!["bench/#".to_owned()],
        };
        let idle = (0..self.idle_filters).filter(|number| number % self.subscribers.max(1) == subscriber);
        // None matches bench/tNNNNNN/d, however far down the tree each is followed.
        filters.extend(idle.map(|n| match n / self.subscribers.max(1) % 5 {
            0 => format!("bench/+/n{n}"),
            1 => format!("+/+/n{n}/#"),
            2 => format!("{}/+/x{n}", template::topic(n % self.publishers).trim_end_matches("/d")),
            3 => format!("+/n{n}/+"),
            _ => format!("bench/n{n}/#"),
        }));
        filters
    }
}

#[cfg(test)]
mod tests {
    use sol::codec::Version;
    use sol::config::{Overrides, Settings};
    use sol::{Broker, Config};

    use super::*;
    use crate::peers::Identity;

    const SHORT: Duration = Duration::from_millis(20);

    fn broker() -> Broker {
        Broker::start(Config::on("127.0.0.1:0".parse().unwrap())).unwrap()
    }

    #[test]
    fn every_message_arrives_run_after_run() {
        let broker = broker();
        for version in [Version::V311, Version::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let plan =
                    |pattern, publishers, subscribers| Plan::new(pattern, publishers, subscribers, qos);
                for plan in [
                    plan(Pattern::Pairs, 1, 1),
                    Plan { topics: 3, idle_filters: 50, ..plan(Pattern::Pairs, 3, 3) },
                    plan(Pattern::FanOut, 1, 10),
                    Plan { payload: 100_000, ..plan(Pattern::FanIn, 10, 1) },
                ] {
                    let terms = Terms { version, kept: qos == QoS::ExactlyOnce, tls: None };
                    let mut load = Load::open(broker.local_addr(), &terms, plan).unwrap();
                    for naps in [Naps::None, Naps::Auto, Naps::Fixed(Duration::from_micros(1))] {
                        let run = load.run(SHORT, naps).unwrap();
                        assert!(run.messages > 0 && run.elapsed >= SHORT, "{plan:?}: {run:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_message_arrives_over_tls() {
        let (identity, client) = Identity::new().unwrap();
        let [certificate, key] = identity.files();
        let text = format!(
            "ip_address 127.0.0.1\nip_port 0\ncertfile {}\nkeyfile {}\n",
            certificate.display(),
            key.display(),
        );
        let settings = Settings::parse(&text, None, Overrides::default()).unwrap();
        let broker = Broker::start(settings.broker).unwrap();
        let terms = Terms { tls: Some(client), ..Terms::default() };
        for (qos, payload) in [(QoS::AtMostOnce, 100_000), (QoS::ExactlyOnce, 64)] {
            let plan = Plan { payload, ..Plan::new(Pattern::Pairs, 2, 2, qos) };
            let mut load = Load::open(broker.local_addr(), &terms, plan).unwrap();
            assert!(load.run(SHORT, Naps::Auto).unwrap().messages > 0);
        }
    }

    #[test]
    fn messages_for_nobody_are_acknowledged() {
        let broker = broker();
        let plan = Plan { window: 1, ..Plan::new(Pattern::Pairs, 20, 0, QoS::ExactlyOnce) };
        let mut load = Load::open(broker.local_addr(), &Terms::default(), plan).unwrap();
        assert!(load.run(SHORT, Naps::None).unwrap().messages >= 20);
    }

    #[test]
    fn latencies_are_of_every_message_but_the_first() {
        let broker = broker();
        let mut clients = Clients::new(broker.local_addr(), Terms::default()).unwrap();
        clients.connect(5).unwrap();
        let plan = Plan::new(Pattern::Pairs, 3, 3, QoS::AtLeastOnce);
        let mut load = Load::among(clients, plan).unwrap();
        for _ in 0..2 {
            load.run(SHORT, Naps::None).unwrap();
            let latencies = load.run_at_rate(1_000, SHORT, SHORT).unwrap();
            assert!(latencies.quantile(0.5).unwrap() > Duration::ZERO);
        }
        assert_eq!(load.into_clients().links.len(), 11);
    }

    #[test]
    fn what_is_subscribed_and_retained_comes_and_goes() {
        let broker = broker();
        let mut clients = Clients::new(broker.local_addr(), Terms::default()).unwrap();
        clients.connect(3).unwrap();
        let name = |number| format!("a/{number}");
        clients.retain(0, 5_000, name).unwrap();
        clients.subscribe_retained(1, &name(4_999)).unwrap();
        let filters: Vec<_> = (10_000..15_000).map(name).collect();
        clients.subscribe(2, &filters, QoS::AtLeastOnce).unwrap();
        assert_eq!(broker.stats().subscriptions, 5_001);
        clients.unsubscribe(2, &filters).unwrap();
        assert_eq!((broker.stats().subscriptions, broker.stats().retained), (1, 5_000));
    }

    #[test]
    fn a_message_that_is_not_the_next_is_an_error() {
        let broker = broker();
        let plan = Plan::new(Pattern::FanOut, 1, 1, QoS::AtLeastOnce);
        for skipped in [-1, 1] {
            let mut load = Load::open(broker.local_addr(), &Terms::default(), plan).unwrap();
            load.run(SHORT, Naps::None).unwrap();
            load.publishers[0].sent = load.publishers[0].sent.wrapping_add_signed(skipped);
            let error = load.run(SHORT, Naps::None).unwrap_err();
            assert!(error.to_string().contains("in place of"), "{error}");
        }
    }

    #[test]
    fn a_broker_that_goes_away_is_an_error() {
        let broker = broker();
        let plan = Plan::new(Pattern::Pairs, 1, 1, QoS::ExactlyOnce);
        let mut load = Load::open(broker.local_addr(), &Terms::default(), plan).unwrap();
        broker.stop();
        assert!(load.run(SHORT, Naps::None).is_err());
    }
}
