//! `status`.

use std::time::Duration;

use super::answers::{Figures, Memory, Status, Store};
use super::api::{Api, Failure};
use super::out::Out;
use super::table::{figure, table, text};
use super::words::{bold, bytes, count, duration, escaped};

pub(super) fn show(api: &Api, out: &Out) -> Result<(), Failure> {
    out.say(api.get("/api/v1/status")?, |answer| Ok(words(&api.understand(answer)?, api.url(), out.width)))
}

fn words(status: &Status, url: &str, width: Option<usize>) -> String {
    let Status { version, started, uptime_seconds, threads, listeners, stats, store, memory } = status;
    let uptime = duration(Duration::try_from_secs_f64(*uptime_seconds).unwrap_or_default());
    let (version, started) = (escaped(version), escaped(started));
    let mut out = format!(
        "Sol {version} at {url}: up {uptime}, since {started}, with {threads} threads for clients\n\n"
    );
    let rows = listeners.iter().map(|listener| {
        let tls = if listener.tls { "yes" } else { "no" }.to_owned();
        vec![escaped(&listener.address), escaped(&listener.protocol), tls, listener.connections.to_string()]
    });
    let columns = [text("LISTENER", 0), text("PROTOCOL", 0), text("TLS", 0), figure("CONNECTIONS", 0)];
    out += &table(&columns, &rows.collect::<Vec<_>>(), width);
    out.push('\n');
    let mut line = |title: &str, text: &str| {
        out += &format!("{}{}{text}\n", bold(title), " ".repeat(15_usize.saturating_sub(title.len())));
    };
    let n = |name: &str| count(stats.get(name));
    let size = |name: &str| bytes(stats.get(name));
    line(
        "clients",
        &format!(
            "{} connected, {} at most so far, {} away",
            n("clients_connected"),
            n("clients_maximum"),
            n("clients_disconnected")
        ),
    );
    line("subscriptions", &format!("{}, and {} shared", n("subscriptions"), n("shared_subscriptions")));
    line("retained", &format!("{}, {}", n("retained"), size("retained_bytes")));
    for (title, way) in [("received", "received"), ("sent", "sent")] {
        let messages = n(&format!("publish_{way}"));
        let payload = size(&format!("publish_bytes_{way}"));
        let all = size(&format!("bytes_{way}"));
        line(title, &format!("{messages} messages with {payload} of payload; {all} in all"));
    }
    line("in flight", &n("in_flight"));
    line("queued", &format!("{}, {}", n("queued"), size("queued_bytes")));
    line("lost", &losses(stats));
    line("memory", &in_memory(memory));
    line("store", &in_store(store.as_ref()));
    out
}

pub(super) fn losses(stats: &Figures) -> String {
    let losses: Vec<_> = stats.losses().map(|(what, n)| format!("{} {}", escaped(what), count(n))).collect();
    if losses.is_empty() { "nothing".to_owned() } else { losses.join(", ") }
}

fn in_memory(memory: &Memory) -> String {
    let Memory { resident_bytes, used_bytes, budget_bytes, stage } = memory;
    let resident = resident_bytes.map(|resident| format!("; the process has {}", bytes(resident)));
    let (used, budget, stage) = (bytes(*used_bytes), bytes(*budget_bytes), escaped(stage));
    format!("{used} of {budget}, {stage}{}", resident.unwrap_or_default())
}

fn in_store(store: Option<&Store>) -> String {
    match store {
        None => "none: nothing survives a restart".to_owned(),
        Some(Store { error: Some(error), .. }) => format!("it cannot be written: {}", escaped(error)),
        Some(store) => format!("{}, of which {} are needed", bytes(store.bytes), bytes(store.needed_bytes)),
    }
}
