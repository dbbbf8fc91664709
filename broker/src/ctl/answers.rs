//! What the broker answers, as far as it is shown. It may say more.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Counters by their names. One that another version has not is 0.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Figures(Map<String, Value>);

impl Figures {
    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    /// What went wrong so far, and how often: messages dropped, and clients refused.
    pub(super) fn losses(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(name, value)| {
            let is_loss =
                ["dropped_", "refused_", "cut_", "ended_"].iter().any(|kind| name.starts_with(kind));
            value.as_u64().filter(|n| is_loss && *n > 0).map(|n| (name.as_str(), n))
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) started: String,
    pub(super) uptime_seconds: f64,
    pub(super) threads: usize,
    pub(super) listeners: Vec<Listener>,
    pub(super) stats: Figures,
    pub(super) store: Option<Store>,
    pub(super) memory: Memory,
}

#[derive(Deserialize)]
pub(super) struct Listener {
    pub(super) address: String,
    pub(super) protocol: String,
    pub(super) tls: bool,
    pub(super) connections: usize,
}

#[derive(Deserialize)]
pub(super) struct Store {
    pub(super) bytes: u64,
    pub(super) needed_bytes: u64,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Memory {
    pub(super) resident_bytes: Option<u64>,
    pub(super) used_bytes: u64,
    pub(super) budget_bytes: u64,
    pub(super) stage: String,
}

#[derive(Deserialize)]
pub(super) struct Clients {
    pub(super) clients: Vec<Client>,
    pub(super) total: usize,
}

#[derive(Clone, Default, Deserialize)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) connected: bool,
    pub(super) address: Option<String>,
    pub(super) listener: Option<String>,
    pub(super) user: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) keep_alive_seconds: Option<u16>,
    pub(super) clean_session: Option<bool>,
    pub(super) session_expiry_seconds: Option<u32>,
    pub(super) since: Option<String>,
    pub(super) subscriptions: u64,
    pub(super) in_flight: u64,
    pub(super) queued: u64,
    pub(super) queued_bytes: u64,
    pub(super) dropped: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) messages_received: u64,
    pub(super) messages_sent: u64,
    pub(super) traced: bool,
}

#[derive(Deserialize)]
pub(super) struct Details {
    #[serde(flatten)]
    pub(super) client: Client,
    pub(super) subscription_list: Vec<Subscription>,
    pub(super) will: Option<Will>,
}

#[derive(Deserialize)]
pub(super) struct Will {
    #[serde(flatten)]
    pub(super) message: Message,
    pub(super) retain: bool,
    pub(super) delay_seconds: u32,
}

#[derive(Deserialize)]
pub(super) struct Subscription {
    /// None where only one client is meant.
    pub(super) client: Option<String>,
    pub(super) filter: String,
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) identifier: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Subscriptions {
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Retained {
    pub(super) retained: Vec<Message>,
    pub(super) next: Option<String>,
}

/// A message, retained or as it comes.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Option<String>,
    pub(super) payload_base64: Option<String>,
    #[serde(default)]
    pub(super) truncated: bool,
    pub(super) bytes: u64,
    pub(super) qos: u8,
}

#[derive(Deserialize)]
pub(super) struct Published {
    pub(super) receivers: u64,
}

#[derive(Deserialize)]
pub(super) struct Dismissed {
    pub(super) disconnected: bool,
    pub(super) session_ended: bool,
}

#[derive(Deserialize)]
pub(super) struct Reloaded {
    pub(super) changed: Vec<String>,
    pub(super) needs_restart: Vec<String>,
}

/// What `/api/v1/events` tells each second.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Tick {
    pub(super) stats: Figures,
    pub(super) latency_us: Option<Latency>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
}
