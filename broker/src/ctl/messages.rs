//! `publish` and `subscribe`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::answers::{Message, Published};
use super::api::{Api, Event, Failure, encoded};
use super::out::Out;
use super::topics;
use super::words::escaped;

/// The body of a request may have 1 MiB.
const MAX_PAYLOAD_BYTES: u64 = 1 << 20;

/// A message.
#[derive(Args)]
#[command(group(ArgGroup::new("content").required(true)))]
pub(super) struct Publish {
    /// Where to
    topic: String,

    /// What it says
    #[arg(group = "content", allow_negative_numbers = true)]
    payload: Option<String>,

    /// A file with what it says; - is standard input
    #[arg(short, long, group = "content", value_name = "FILE")]
    file: Option<PathBuf>,

    /// It says nothing; with --retain, what was retained is removed
    #[arg(short, long, group = "content")]
    empty: bool,

    /// 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,

    /// Retain it
    #[arg(short, long)]
    retain: bool,
}

/// Which messages.
#[derive(Args)]
pub(super) struct Subscribe {
    /// Topic filters
    #[arg(required = true, num_args = 1..=16, value_name = "FILTER")]
    filters: Vec<String>,

    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(super) fn publish(api: &Api, out: &Out, what: &Publish) -> Result<(), Failure> {
    let payload = match (&what.payload, &what.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => {
            read(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?
        }
        (None, None) => Vec::new(),
    };
    let (key, payload) = match String::from_utf8(payload) {
        Ok(text) => ("payload", text),
        Err(error) => ("payload_base64", Base64::encode_string(error.as_bytes())),
    };
    let message = json!({"topic": what.topic, key: payload, "qos": what.qos, "retain": what.retain});
    out.say(api.post("/api/v1/publish", &message)?, |answer| {
        let Published { receivers } = api.understand(answer)?;
        Ok(match receivers {
            0 => "published: nobody has subscribed to it\n".to_owned(),
            1 => "published to 1 session\n".to_owned(),
            n => format!("published to {n} sessions\n"),
        })
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let from: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut payload = Vec::new();
    from.take(MAX_PAYLOAD_BYTES + 1).read_to_end(&mut payload)?;
    if payload.len() as u64 > MAX_PAYLOAD_BYTES {
        let what = "it has more than 1 MiB, which the broker takes by MQTT alone";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(payload)
}

/// Prints what comes, a line a message.
pub(super) fn subscribe(api: &Api, out: &Out, what: &Subscribe) -> Result<(), Failure> {
    let filters: Vec<_> = what.filters.iter().map(|filter| format!("filter={}", encoded(filter))).collect();
    let mut events = api.events(&format!("/api/v1/messages?{}", filters.join("&")))?;
    let mut left = what.count;
    while left != Some(0) {
        let Some(Event { name, data }) = events.next()? else {
            return Err(Failure::Other(
                "the broker has closed the stream: it stops, or was told to".to_owned(),
            ));
        };
        match name.as_deref() {
            None => {
                out.say(data, |data| Ok(line(&api.understand(data)?)))?;
                left = left.map(|left| left - 1);
            }
            Some("dropped") => {
                let lost = data.get("messages").and_then(Value::as_u64).unwrap_or_default();
                eprintln!("sol ctl: {lost} messages are lost: they came faster than they were read");
            }
            Some("end") => {
                let why = data.get("error").and_then(Value::as_str).unwrap_or_default();
                return Err(Failure::Other(format!("the broker has ended the stream: {why}")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn line(message: &Message) -> String {
    format!("{} {}\n", escaped(&message.topic), topics::payload(message))
}
