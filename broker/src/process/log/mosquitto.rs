//! A line as mosquitto 2.0 writes it, for tools that read its log: of connections and packets in its words, and of
//! anything else in ours.

use std::io;

use log::{Level, Record};

use super::lines::{fact, on_one_line};

/// Whether mosquitto would have a line for it.
pub(super) fn tells(record: &Record<'_>) -> bool {
    // It says that somebody takes over and nothing of the connection that ends by that, and nothing of those that end
    // with the broker.
    let reason = fact(record, "reason").map(|reason| reason.to_string());
    !matches!(reason.as_deref(), Some("taken_over" | "stopping"))
}

pub(super) fn write(to: &mut dyn io::Write, record: &Record<'_>) -> io::Result<()> {
    let text = |name| fact(record, name).map(on_one_line).unwrap_or_default();
    let client = match text("client") {
        id if id.is_empty() => "<unknown>".to_owned(),
        id => id,
    };
    match text("event").as_str() {
        "accepted" => write!(to, "New connection from {} on port {}.", text("address"), text("port")),
        "connected" => {
            let flag = u8::from(fact(record, "clean").and_then(|clean| clean.to_bool()) == Some(true));
            let protocol = match text("protocol").as_str() {
                "3.1" => 1,
                "3.1.1" => 2,
                _ => 5,
            };
            let keep_alive = text("keep_alive");
            let address = text("address");
            write!(
                to,
                "New client connected from {address} as {client} (p{protocol}, c{flag}, k{keep_alive}"
            )?;
            match text("user") {
                user if user.is_empty() => write!(to, ")."),
                user => write!(to, ", u'{user}')."),
            }
        }
        "takeover" => write!(to, "Client {client} already connected, closing old connection."),
        "disconnected" => match text("reason").as_str() {
            "disconnect" | "disconnect_with_reason" => write!(to, "Client {client} disconnected."),
            "closed" | "network" => write!(to, "Client {client} closed its connection."),
            "keep_alive_timeout" | "connect_timeout" => {
                write!(to, "Client {client} has exceeded timeout, disconnecting.")
            }
            "not_authorized" => write!(to, "Client {client} disconnected, not authorised."),
            "malformed" => write!(to, "Client {client} disconnected due to malformed packet."),
            "packet_too_large" => write!(to, "Client {client} disconnected due to oversize packet."),
            "protocol_error" => write!(to, "Client {client} disconnected due to protocol error."),
            "memory_short" => write!(to, "Client {client} disconnected due to out of memory."),
            "dismissed" => write!(to, "Client {client} been disconnected by administrative action."),
            _ => write!(to, "Client {client} disconnected: {}.", text("why")),
        },
        "packet" => {
            let is_received = text("direction") == "received";
            let (verb, way) = if is_received { ("Received", "from") } else { ("Sending", "to") };
            write!(to, "{verb} {} {way} {client}", text("packet"))?;
            match text("details") {
                details if details.is_empty() => Ok(()),
                details => write!(to, " ({details})"),
            }
        }
        _ => {
            let importance = match record.level() {
                Level::Error => "Error: ",
                Level::Warn => "Warning: ",
                _ => "",
            };
            write!(to, "{importance}{}", record.args())
        }
    }
}

#[cfg(test)]
mod tests {
    use log::kv::Value;

    use super::*;

    fn line(facts: &[(&str, Value<'_>)]) -> String {
        let mut line = Vec::new();
        let record =
            Record::builder().args(format_args!("words")).key_values(&facts).level(Level::Warn).build();
        write(&mut line, &record).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_client_is_told_of_in_mosquittos_words() {
        let connected = |user: &'static str, protocol: &'static str, clean: bool| {
            line(&[
                ("event", "connected".into()),
                ("client", "one\n".into()),
                ("address", "1.2.3.4:5".into()),
                ("user", user.into()),
                ("protocol", protocol.into()),
                ("clean", clean.into()),
                ("keep_alive", 60.into()),
            ])
        };
        let expected = "New client connected from 1.2.3.4:5 as one\\n (p2, c1, k60, u'anna').";
        assert_eq!(connected("anna", "3.1.1", true), expected);
        let expected = "New client connected from 1.2.3.4:5 as one\\n (p5, c0, k60).";
        assert_eq!(connected("", "5.0", false), expected);
        let ended = |reason: &'static str| {
            line(&[
                ("event", "disconnected".into()),
                ("client", "".into()),
                ("reason", reason.into()),
                ("why", "no room".into()),
            ])
        };
        assert_eq!(ended("not_authorized"), "Client <unknown> disconnected, not authorised.");
        assert_eq!(ended("refused"), "Client <unknown> disconnected: no room.");
        assert_eq!(line(&[]), "Warning: words");
    }
}
