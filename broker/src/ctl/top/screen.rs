//! What is known, and what keys do.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::{News, Snapshot};
use crate::ctl::Sort;
use crate::ctl::answers::Client;
use crate::ctl::words::escaped;

/// Seconds of it are drawn, on a very wide terminal.
const HISTORY: usize = 512;
const LEAP: usize = 10;

/// What a key asks for that the screen cannot do itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Sort(Sort),
    Kick(String),
}

/// Since the snapshot before, each second.
#[derive(Default)]
pub(super) struct Rates {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) lost: u64,
}

pub(super) struct Screen {
    pub(super) url: String,
    pub(super) sort: Sort,
    pub(super) latest: Option<Box<Snapshot>>,
    pub(super) rates: Rates,
    /// The last is first.
    pub(super) history_in: VecDeque<u64>,
    pub(super) history_out: VecDeque<u64>,
    /// Messages each second from and to clients.
    pub(super) of_clients: HashMap<String, (u64, u64)>,
    /// Why the broker cannot be asked.
    pub(super) lost: Option<String>,
    /// The client that is marked.
    marked: Option<String>,
    /// The client to be disconnected, if that is meant.
    pub(super) doubted: Option<String>,
    pub(super) note: Option<String>,
}

impl Screen {
    pub(super) fn new(url: &str, sort: Sort) -> Self {
        Self {
            url: url.to_owned(),
            sort,
            latest: None,
            rates: Rates::default(),
            history_in: VecDeque::new(),
            history_out: VecDeque::new(),
            of_clients: HashMap::new(),
            lost: None,
            marked: None,
            doubted: None,
            note: None,
        }
    }

    /// Shown until the next key.
    pub(super) fn note(&mut self, text: String) {
        self.note = Some(text);
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Lost(why) => self.lost = Some(escaped(&why)),
            News::Snapshot(snapshot) => {
                // What was before a gap tells nothing of now, nor does what another life of the broker counted.
                let before = self
                    .latest
                    .take()
                    .filter(|before| self.lost.is_none() && before.status.started == snapshot.status.started);
                match before {
                    Some(before) => self.compare(&before, &snapshot),
                    None => (self.rates, self.of_clients) = Default::default(),
                }
                self.lost = None;
                self.latest = Some(snapshot);
            }
        }
    }

    fn compare(&mut self, before: &Snapshot, now: &Snapshot) {
        let time = now.at.saturating_duration_since(before.at);
        let rate = |name: &str| per_second(before.tick.stats.get(name), now.tick.stats.get(name), time);
        let losses = |snapshot: &Snapshot| snapshot.tick.stats.losses().map(|(_, n)| n).sum();
        self.rates = Rates {
            messages_in: rate("publish_received"),
            messages_out: rate("publish_sent"),
            bytes_in: rate("bytes_received"),
            bytes_out: rate("bytes_sent"),
            lost: per_second(losses(before), losses(now), time),
        };
        self.history_in.push_front(self.rates.messages_in);
        self.history_out.push_front(self.rates.messages_out);
        self.history_in.truncate(HISTORY);
        self.history_out.truncate(HISTORY);
        let known: HashMap<_, _> =
            before.clients.clients.iter().map(|client| (client.id.as_str(), client)).collect();
        let rates = now.clients.clients.iter().filter_map(|client| {
            let before = known.get(client.id.as_str()).filter(|before| before.since == client.since)?;
            let rate = |figure: fn(&Client) -> u64| per_second(figure(before), figure(client), time);
            let rates = (rate(|client| client.messages_received), rate(|client| client.messages_sent));
            Some((client.id.clone(), rates))
        });
        self.of_clients = rates.collect();
    }

    pub(super) fn clients(&self) -> &[Client] {
        self.latest.as_ref().map_or(&[], |snapshot| &snapshot.clients.clients)
    }

    /// The line of the client that is marked, if it is in the list.
    pub(super) fn marked(&self) -> Option<usize> {
        let marked = self.marked.as_ref()?;
        self.clients().iter().position(|client| client.id == *marked)
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Action> {
        self.note = None;
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Some(Action::Quit);
        }
        if let Some(id) = self.doubted.take() {
            return (key.code == KeyCode::Char('y')).then_some(Action::Kick(id));
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Action::Quit),
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                return Some(Action::Sort(self.sort));
            }
            KeyCode::Char('k') => match self.marked().and_then(|line| self.clients().get(line)) {
                Some(client) => self.doubted = Some(client.id.clone()),
                None => self.note("mark a client by the arrow keys first".to_owned()),
            },
            KeyCode::Down => self.mark(|line| line.map_or(0, |line| line + 1)),
            KeyCode::Up => self.mark(|line| line.unwrap_or_default().saturating_sub(1)),
            KeyCode::PageDown => self.mark(|line| line.map_or(0, |line| line + LEAP)),
            KeyCode::PageUp => self.mark(|line| line.unwrap_or_default().saturating_sub(LEAP)),
            KeyCode::Home => self.mark(|_| 0),
            KeyCode::End => self.mark(|_| usize::MAX),
            _ => {}
        }
        None
    }

    fn mark(&mut self, line: impl FnOnce(Option<usize>) -> usize) {
        let last = self.clients().len().saturating_sub(1);
        let line = line(self.marked()).min(last);
        self.marked = self.clients().get(line).map(|client| client.id.clone());
    }
}

/// Rounded.
fn per_second(before: u64, now: u64, time: Duration) -> u64 {
    let grown = u128::from(now.saturating_sub(before)) * 1_000_000;
    // Two events that come together, after the terminal stood still.
    let micros = time.as_micros().max(1000);
    u64::try_from((grown + micros / 2) / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    /// What the broker told so many seconds after it began to be watched.
    pub(crate) fn snapshot(began: Instant, seconds: u64, clients: &serde_json::Value) -> News {
        let stats = json!({
            "publish_received": 1000 * seconds, "publish_sent": 5000 * seconds,
            "bytes_received": 50_000 * seconds, "bytes_sent": 250_000 * seconds,
            "clients_connected": 3, "clients_maximum": 4, "clients_disconnected": 1,
            "subscriptions": 7, "shared_subscriptions": 0, "retained": 2, "retained_bytes": 20,
            "in_flight": 5, "queued": 12_000, "queued_bytes": 960_000,
            "dropped_queue_full": 10 * seconds, "refused_topics": 0,
        });
        let status = json!({
            "version": "0.1.0", "started": "2026-01-01T00:00:00.000Z", "uptime_seconds": 93_784.5, "threads": 2,
            "listeners": [], "stats": stats, "store": null,
            "memory": {
                "resident_bytes": 40_000_000, "used_bytes": 12_300_000, "budget_bytes": 200_000_000,
                "stage": "ample",
            },
        });
        let tick = json!({
            "time": "", "stats": stats, "latency_us": {"p50": 85, "p99": 1234, "samples": 1000},
        });
        let page = json!({"clients": clients, "next": null, "total": 4});
        News::Snapshot(Box::new(Snapshot {
            at: began + Duration::from_secs(seconds),
            status: serde_json::from_value(status).unwrap(),
            tick: serde_json::from_value(tick).unwrap(),
            clients: serde_json::from_value(page).unwrap(),
        }))
    }

    pub(crate) fn client(id: &str, queued: u64, received: u64) -> serde_json::Value {
        json!({
            "id": id, "connected": queued == 0, "address": "127.0.0.1:40000", "listener": "127.0.0.1:1883",
            "user": null, "protocol": "5.0", "keep_alive_seconds": 60, "clean_session": true,
            "session_expiry_seconds": 0, "since": "2026-01-01T00:00:00.000Z", "subscriptions": 1, "in_flight": 0,
            "queued": queued, "queued_bytes": 0, "dropped": 0, "bytes_received": 0, "bytes_sent": 0,
            "messages_received": received, "messages_sent": 0, "traced": false,
        })
    }

    pub(crate) fn press(screen: &mut Screen, code: KeyCode) -> Option<Action> {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let (began, mut screen) = (Instant::now(), Screen::new("http://x", Sort::Queued));
        screen.hear(snapshot(began, 1, &json!([client("a", 0, 10)])));
        assert_eq!(screen.rates.messages_in, 0);
        screen.hear(snapshot(began, 3, &json!([client("a", 0, 210), client("b", 0, 5)])));
        assert_eq!(
            (screen.rates.messages_in, screen.rates.messages_out, screen.rates.lost),
            (1000, 5000, 10)
        );
        assert_eq!(screen.of_clients.get("a"), Some(&(100, 0)));
        assert_eq!(screen.of_clients.get("b"), None, "nothing is known of it");
        screen.hear(News::Lost("gone\n".to_owned()));
        assert_eq!(screen.lost.as_deref(), Some("gone\\n"));
        screen.hear(snapshot(began, 9, &json!([])));
        assert_eq!((screen.rates.messages_in, &screen.lost), (0, &None));
    }

    #[test]
    fn a_client_stays_marked_wherever_it_is_in_the_list() {
        let (began, mut screen) = (Instant::now(), Screen::new("http://x", Sort::Queued));
        assert_eq!(press(&mut screen, KeyCode::Char('k')), None, "there is none");
        screen.hear(snapshot(began, 1, &json!([client("a", 2, 0), client("b", 1, 0)])));
        press(&mut screen, KeyCode::Down);
        assert_eq!(screen.marked(), Some(0));
        screen.hear(snapshot(began, 2, &json!([client("b", 3, 0), client("a", 2, 0)])));
        assert_eq!(screen.marked(), Some(1));
        for _ in 0..3 {
            press(&mut screen, KeyCode::Down);
        }
        assert_eq!(screen.marked(), Some(1), "it is the last");
        assert_eq!(press(&mut screen, KeyCode::Char('k')), None, "it asks first");
        assert_eq!(press(&mut screen, KeyCode::Char('n')), None);
        press(&mut screen, KeyCode::Char('k'));
        assert_eq!(press(&mut screen, KeyCode::Char('y')), Some(Action::Kick("a".to_owned())));
        screen.hear(snapshot(began, 3, &json!([client("b", 3, 0)])));
        assert_eq!(screen.marked(), None, "it is not in the list");
        assert_eq!(press(&mut screen, KeyCode::Char('s')), Some(Action::Sort(Sort::Dropped)));
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Action::Quit));
    }
}
