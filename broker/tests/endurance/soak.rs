//! Each client publishes to its neighbour and to its group, at QoS 1 and 2, with a small window. Each message carries
//! its publisher and a number, so that the subscriber sees at once what is missing, repeated or out of order.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer};
use sol::codec::{Packet, Publish, QoS};

use crate::broker::Broker;
use crate::client::{Client, PATIENCE, Window};
use crate::figures::{Latencies, MemoryWatch, mebibytes, processor_time};
use crate::run::Run;

/// Clients that share a topic.
const GROUP: u32 = 10;
/// Unacknowledged messages of a client.
const WINDOW: u16 = 10;
/// Each client publishes once at QoS 1 and once at QoS 2 each time: 20 messages a second.
const PACE: Duration = Duration::from_millis(100);
/// Every so many times to the group, otherwise to the neighbour.
const GROUP_TURN: u32 = 20;
/// Memory of the broker that may come and go without being growth.
const LEVEL_BYTES: i64 = 4 << 20;

/// Publisher, whether to the group, QoS: what the standard keeps in order [MQTT-4.6.0-6].
type Stream = (u32, bool, QoS);

/// What all clients together have sent and received.
struct Soak {
    clients: u32,
    begin: Instant,
    end: Instant,
    /// Clients that still publish or wait for acknowledgements.
    publishing: Cell<u32>,
    published: Cell<u64>,
    /// Deliveries that the messages published must bring.
    expected: Cell<u64>,
    received: Cell<u64>,
    /// Deliveries that were passed over, and those that came again or late.
    missing: Cell<u64>,
    repeated: Cell<u64>,
    latencies: RefCell<Latencies>,
}

pub(crate) fn run(run: &Run) {
    let clients = run.sized(100, 1000);
    let duration = run.sized(Duration::from_secs(2), Duration::from_secs(60));
    let warm_up = run.sized(Duration::from_millis(500), Duration::from_secs(10));
    let broker = Broker::start();
    let executor = LocalExecutor::new();
    let (soak, memory) = smol::block_on(executor.run(async {
        let connected = connect(&broker, clients).await;
        let begin = Instant::now();
        let soak = Rc::new(Soak::new(clients, begin, begin + duration));
        let watch = MemoryWatch::start(broker.process(), duration / 60);
        let tasks = (0..).zip(connected).map(|(number, client)| {
            let soak = Rc::clone(&soak);
            executor.spawn(async move { participate(number, client, &soak).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await;
        }
        (soak, watch.stop())
    }));
    soak.say(run);
    run.say(memory.to_string());
    if let Some(time) = processor_time(broker.process()) {
        run.say(format!("the broker used {:.1} s of processor time", time.as_secs_f64()));
    }
    broker.stop();
    soak.assert_complete();
    if let Some(growth) = memory.growth(warm_up, duration / 6) {
        run.say(format!("growth after warm-up: {:+.2} MiB", mebibytes(growth as f64)));
        assert!(growth < run.sized(10, 1) * LEVEL_BYTES, "memory grew by {growth} bytes");
    }
}

async fn connect(broker: &Broker, clients: u32) -> Vec<Client> {
    let mut connected = Vec::new();
    for number in 0..clients {
        let mut client = Client::connect(broker.address(), &format!("soak-{number}")).await;
        let filters = [(own_topic(number), QoS::ExactlyOnce), (group_topic(number), QoS::ExactlyOnce)];
        client.subscribe(&filters.each_ref().map(|(filter, qos)| (filter.as_str(), *qos))).await;
        connected.push(client);
    }
    connected
}

fn own_topic(number: u32) -> String {
    format!("soak/own/{number}")
}

fn group_topic(number: u32) -> String {
    format!("soak/group/{}", number / GROUP)
}

/// One client, from its first message until everybody has everything.
async fn participate(number: u32, mut client: Client, soak: &Soak) {
    let neighbour = own_topic((number + 1) % soak.clients);
    let group = group_topic(number);
    let mut window = Window::new(WINDOW);
    // What goes out next, and what must come next.
    let mut sent: HashMap<Stream, u32> = HashMap::new();
    let mut awaited: HashMap<Stream, u32> = HashMap::new();
    let mut is_publishing = true;
    // The clients' turns are spread over the period.
    let mut pace = Timer::interval_at(soak.begin + PACE * number / soak.clients, PACE);
    let mut turn = 0;
    loop {
        if !client.is_quiet_until(pace.next()).await {
            client.receive(|packet, out| {
                window.handle(&packet, out);
                if let Packet::Publish(publish) = packet {
                    soak.check(&publish, &mut awaited);
                }
            });
            client.flush().await;
            continue;
        }
        turn += 1;
        let now = Instant::now();
        if now < soak.end {
            let is_group = turn % GROUP_TURN == 0;
            let topic = if is_group { &group } else { &neighbour };
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let next = sent.entry((number, is_group, qos)).or_default();
                let payload = Payload { publisher: number, sequence: *next, at: soak.begin.elapsed() };
                if window.publish(topic, qos, &payload.to_bytes(), &mut client.out) {
                    *next += 1;
                    add(&soak.published, 1);
                    add(&soak.expected, if is_group { GROUP.into() } else { 1 });
                }
            }
            client.flush().await;
        } else if is_publishing && window.open() == 0 {
            is_publishing = false;
            soak.publishing.set(soak.publishing.get() - 1);
        }
        if now >= soak.end && (soak.is_complete() || now >= soak.end + PATIENCE) {
            return;
        }
    }
}

impl Soak {
    fn new(clients: u32, begin: Instant, end: Instant) -> Self {
        Self {
            clients,
            begin,
            end,
            publishing: Cell::new(clients),
            published: Cell::default(),
            expected: Cell::default(),
            received: Cell::default(),
            missing: Cell::default(),
            repeated: Cell::default(),
            latencies: RefCell::default(),
        }
    }

    /// Compares a delivery with what must come next from its publisher.
    fn check(&self, publish: &Publish<'_>, awaited: &mut HashMap<Stream, u32>) {
        let payload = Payload::from_bytes(publish.payload);
        self.latencies.borrow_mut().push(self.begin.elapsed().saturating_sub(payload.at));
        let is_group = publish.topic.unwrap().as_str().starts_with("soak/group/");
        let next = awaited.entry((payload.publisher, is_group, publish.delivery.qos())).or_default();
        if payload.sequence < *next {
            add(&self.repeated, 1);
            return;
        }
        add(&self.missing, (payload.sequence - *next).into());
        add(&self.received, 1);
        *next = payload.sequence + 1;
    }

    fn say(&self, run: &Run) {
        let Self { clients, latencies, .. } = self;
        let seconds = (self.end - self.begin).as_secs_f64();
        let published = self.published.get();
        let counters = [&self.received, &self.expected, &self.missing, &self.repeated];
        let [received, expected, missing, repeated] = counters.map(Cell::get);
        run.say(format!(
            "{clients} connections for {seconds} s, half of the messages at QoS 1, half at QoS 2"
        ));
        run.say(format!("published {published} ({:.0} a second)", published as f64 / seconds));
        run.say(format!(
            "delivered {received} of {expected}: {missing} missing, {repeated} repeated or late"
        ));
        run.say(format!("latency under this load: {}", latencies.borrow()));
    }

    fn assert_complete(&self) {
        assert_eq!(self.publishing.get(), 0, "clients that still wait for acknowledgements");
        assert_eq!(
            (self.missing.get(), self.repeated.get()),
            (0, 0),
            "deliveries missing, and repeated or late"
        );
        assert_eq!(self.received.get(), self.expected.get(), "deliveries");
        assert!(self.published.get() > self.clients.into(), "hardly anything was published");
    }

    fn is_complete(&self) -> bool {
        self.publishing.get() == 0 && self.received.get() >= self.expected.get()
    }
}

fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

/// What a message carries, in 64 bytes.
struct Payload {
    publisher: u32,
    sequence: u32,
    /// When it was sent, since the beginning.
    at: Duration,
}

impl Payload {
    fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [self.sequence as u8; 64];
        bytes[..4].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..16].copy_from_slice(&(self.at.as_nanos() as u64).to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let payload = Self {
            publisher: u32::from_be_bytes(bytes[..4].try_into().unwrap()),
            sequence: u32::from_be_bytes(bytes[4..8].try_into().unwrap()),
            at: Duration::from_nanos(u64::from_be_bytes(bytes[8..16].try_into().unwrap())),
        };
        assert_eq!(bytes, payload.to_bytes(), "another payload than was sent");
        payload
    }
}
