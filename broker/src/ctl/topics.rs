//! `subscriptions` and `retained`.

use clap::Args;

use super::answers::{Message, Retained, Subscription, Subscriptions};
use super::api::{Api, Failure, encoded};
use super::out::Out;
use super::table::{figure, table, text};
use super::words::{bytes, escaped};

const PAGE: usize = 1000;
/// Their payloads come with them.
const RETAINED_PAGE: usize = 100;

/// Which subscriptions.
#[derive(Args)]
pub(super) struct Subscribed {
    /// Only those that this topic filter covers
    #[arg(long)]
    filter: Option<String>,

    /// Only those of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,

    /// How many at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

/// Which retained messages.
#[derive(Args)]
pub(super) struct Kept {
    /// Only those that match this topic filter; the broker's own are in $SYS/#
    #[arg(default_value = "#")]
    filter: String,

    /// How many at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

pub(super) fn subscriptions(api: &Api, out: &Out, which: &Subscribed) -> Result<(), Failure> {
    let asked = [("filter", &which.filter), ("client", &which.client)];
    let asked =
        asked.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    let mut path = format!("/api/v1/subscriptions?{}", asked.collect::<Vec<_>>().join("&"));
    if path.ends_with('?') {
        path.pop();
    }
    let page = api.pages(&path, "subscriptions", limit(which.limit), PAGE)?;
    out.say(page, |answer| {
        let Subscriptions { subscriptions, next } = api.understand(answer)?;
        Ok(subscription_table(&subscriptions, out.width) + more(next.as_ref()))
    })
}

/// Of one client, or of those that each names.
pub(super) fn subscription_table(subscriptions: &[Subscription], width: Option<usize>) -> String {
    let is_of_many = subscriptions.iter().any(|subscription| subscription.client.is_some());
    let mut columns = vec![text("FILTER", 0), figure("QOS", 0), text("OPTIONS", 1)];
    if is_of_many || subscriptions.is_empty() {
        columns.insert(0, text("CLIENT", 0));
    }
    let rows = subscriptions.iter().map(|subscription| {
        let client = subscription.client.as_deref().map(escaped);
        let rest = [escaped(&subscription.filter), subscription.qos.to_string(), options(subscription)];
        client.into_iter().chain(rest).collect()
    });
    table(&columns, &rows.collect::<Vec<_>>(), width)
}

fn options(subscription: &Subscription) -> String {
    let Subscription { no_local, retain_as_published, identifier, .. } = subscription;
    let mut options = Vec::new();
    if *no_local {
        options.push("no local".to_owned());
    }
    if *retain_as_published {
        options.push("retain as published".to_owned());
    }
    options.extend(identifier.map(|identifier| format!("identifier {identifier}")));
    options.join(", ")
}

pub(super) fn retained(api: &Api, out: &Out, which: &Kept) -> Result<(), Failure> {
    let path = format!("/api/v1/retained?filter={}", encoded(&which.filter));
    let page = api.pages(&path, "retained", limit(which.limit), RETAINED_PAGE)?;
    out.say(page, |answer| {
        let Retained { retained, next } = api.understand(answer)?;
        let columns = [text("TOPIC", 0), figure("QOS", 2), figure("SIZE", 1), text("PAYLOAD", 0)];
        let rows = retained.iter().map(|message| {
            let qos = message.qos.to_string();
            vec![escaped(&message.topic), qos, bytes(message.bytes), payload(message)]
        });
        Ok(table(&columns, &rows.collect::<Vec<_>>(), out.width) + more(next.as_ref()))
    })
}

/// A payload on one line.
pub(super) fn payload(message: &Message) -> String {
    let text = match (&message.payload, &message.payload_base64) {
        (Some(text), _) => escaped(text),
        (None, Some(base64)) => format!("base64:{}", escaped(base64)),
        (None, None) => String::new(),
    };
    if message.truncated { format!("{text}… ({})", bytes(message.bytes)) } else { text }
}

fn limit(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn more(next: Option<&String>) -> &'static str {
    if next.is_some() { "there are more: --limit shows them\n" } else { "" }
}
