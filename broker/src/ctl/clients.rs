//! `clients` and `client`.

use clap::{Args, ValueEnum};

use super::Sort;
use super::answers::{Client, Clients, Details, Will};
use super::api::{Api, Failure, encoded};
use super::out::Out;
use super::table::{Column, figure, table, text};
use super::words::{ago, bold, bytes, count, escaped};
use super::{topics, words};

/// What the broker gives at a time.
const PAGE: usize = 1000;

/// Which clients.
#[derive(Args)]
pub(super) struct Which {
    /// What to put first; by all but the identifier no more than 1000 are listed
    #[arg(long, value_enum, default_value = "id")]
    sort: Sort,

    /// Only those with this text in client identifier, user name or address
    #[arg(long = "match", value_name = "TEXT")]
    text: Option<String>,

    /// Only those that are connected, or away
    #[arg(long, value_enum)]
    state: Option<State>,

    /// How many at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Connected,
    Away,
}

const COLUMNS: [Column; 12] = [
    text("CLIENT", 0),
    text("USER", 7),
    text("ADDRESS", 3),
    text("MQTT", 8),
    figure("FOR", 4),
    figure("SUBSCR", 9),
    figure("IN FLIGHT", 6),
    figure("QUEUED", 1),
    figure("DROPPED", 2),
    figure("RECEIVED", 5),
    figure("SENT", 5),
    figure("BYTES SENT", 10),
];

pub(super) fn list(api: &Api, out: &Out, which: &Which) -> Result<(), Failure> {
    let mut path = format!("/api/v1/clients?sort={}", which.sort.name());
    if let Some(text) = &which.text {
        path += &format!("&match={}", encoded(text));
    }
    match which.state {
        Some(State::Connected) => path += "&state=connected",
        Some(State::Away) => path += "&state=away",
        None => {}
    }
    let limit = usize::try_from(which.limit).unwrap_or(usize::MAX);
    let page = api.pages(&path, "clients", limit, PAGE)?;
    out.say(page, |answer| {
        let Clients { clients, total } = api.understand(answer)?;
        let mut words = table(&COLUMNS, &clients.iter().map(row).collect::<Vec<_>>(), out.width);
        if clients.len() < total {
            words += &format!("{} of {total}: --limit shows more\n", clients.len());
        }
        Ok(words)
    })
}

fn row(client: &Client) -> Vec<String> {
    vec![
        escaped(&client.id),
        client.user.as_deref().map(escaped).unwrap_or_default(),
        place(client),
        client.protocol.as_deref().map(escaped).unwrap_or_default(),
        client.since.as_deref().map(ago).unwrap_or_default(),
        count(client.subscriptions),
        count(client.in_flight),
        count(client.queued),
        count(client.dropped),
        count(client.messages_received),
        count(client.messages_sent),
        bytes(client.bytes_sent),
    ]
}

/// Where it is.
pub(super) fn place(client: &Client) -> String {
    match &client.address {
        Some(address) if client.connected => escaped(address),
        _ => "away".to_owned(),
    }
}

pub(super) fn show(api: &Api, out: &Out, id: &str) -> Result<(), Failure> {
    let answer = api.get(&format!("/api/v1/clients/{}", encoded(id)))?;
    out.say(answer, |answer| Ok(details(&api.understand(answer)?, out.width)))
}

fn details(details: &Details, width: Option<usize>) -> String {
    let Details { client, subscription_list, will } = details;
    let mut out = String::new();
    let mut line = |title: &str, text: &str| {
        out += &format!("{}{}{text}\n", bold(title), " ".repeat(17_usize.saturating_sub(title.len())));
    };
    let known = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), escaped);
    line("client", &escaped(&client.id));
    let since = client.since.as_deref();
    let since = since.map(|since| format!(" for {}, since {}", ago(since), escaped(since)));
    let state = if client.connected { "connected" } else { "away" };
    line("state", &format!("{state}{}", since.unwrap_or_default()));
    line("address", &format!("{} at listener {}", known(&client.address), known(&client.listener)));
    line("user", &known(&client.user));
    line("MQTT", &known(&client.protocol));
    line("keep alive", &client.keep_alive_seconds.map_or("-".to_owned(), |seconds| format!("{seconds} s")));
    line("session", &session(client));
    line("in flight", &count(client.in_flight));
    line("queued", &format!("{}, {}", count(client.queued), bytes(client.queued_bytes)));
    line("dropped", &count(client.dropped));
    let traffic = |messages, all| format!("{} messages, {} in all", count(messages), bytes(all));
    line("received", &traffic(client.messages_received, client.bytes_received));
    line("sent", &traffic(client.messages_sent, client.bytes_sent));
    if client.traced {
        line("traced", "each of its packets is a line in the broker's log");
    }
    line("will", &will.as_ref().map_or("none".to_owned(), in_words));
    line("subscriptions", &client.subscriptions.to_string());
    if !subscription_list.is_empty() {
        out.push('\n');
        out += &topics::subscription_table(subscription_list, width);
    }
    out
}

fn session(client: &Client) -> String {
    let clean = match client.clean_session {
        Some(true) => "clean",
        Some(false) => "kept from before, if there was one",
        None => "from the store",
    };
    match client.session_expiry_seconds {
        Some(0) => format!("{clean}; it ends with the connection"),
        Some(seconds) => {
            let time = words::duration(std::time::Duration::from_secs(seconds.into()));
            format!("{clean}; it ends when its client is away for {time}")
        }
        None => format!("{clean}; it does not end by itself"),
    }
}

fn in_words(will: &Will) -> String {
    let Will { message, retain, delay_seconds } = will;
    let retain = if *retain { ", retained" } else { "" };
    let delay = if *delay_seconds > 0 { format!(", after {delay_seconds} s") } else { String::new() };
    let payload = topics::payload(message);
    format!("{} at QoS {}{retain}{delay}: {payload}", escaped(&message.topic), message.qos)
}
