//! A line as an object of JSON: `time`, `level`, `message`, and the facts that are known.

use std::io;

use log::kv::{self, Key, Value, VisitSource};
use log::{Level, Record};
use serde::Serializer as _;
use serde::ser::SerializeMap;
use serde_json::Serializer;

pub(super) fn write(
    to: &mut dyn io::Write,
    time: Option<&str>,
    level: Level,
    record: &Record<'_>,
) -> io::Result<()> {
    let mut serializer = Serializer::new(to);
    let mut object = serializer.serialize_map(None)?;
    if let Some(time) = time {
        object.serialize_entry("time", time)?;
    }
    object.serialize_entry("level", level.as_str())?;
    object.serialize_entry("message", record.args())?;
    let mut facts = Facts { object, failure: None };
    // What fails is in `failure`.
    _ = record.key_values().visit(&mut facts);
    match facts.failure {
        Some(error) => Err(error.into()),
        None => Ok(facts.object.end()?),
    }
}

struct Facts<M> {
    object: M,
    failure: Option<serde_json::Error>,
}

impl<'kvs, M: SerializeMap<Error = serde_json::Error>> VisitSource<'kvs> for Facts<M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let (key, object) = (key.as_str(), &mut self.object);
        let written = if let Some(number) = value.to_u64() {
            object.serialize_entry(key, &number)
        } else if let Some(truth) = value.to_bool() {
            object.serialize_entry(key, &truth)
        } else {
            match value.to_string().as_str() {
                // Not known.
                "" => Ok(()),
                text => object.serialize_entry(key, text),
            }
        };
        written.map_err(|error| {
            self.failure = Some(error);
            kv::Error::msg("the log cannot be written")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_behind_the_message_and_what_is_not_known_nowhere() {
        let facts: [(&str, Value<'_>); 4] = [
            ("client", "a\"\n".into()),
            ("user", "".into()),
            ("keep_alive", 60.into()),
            ("clean", true.into()),
        ];
        let mut line = Vec::new();
        let record =
            Record::builder().args(format_args!("it \"is\"\n")).key_values(&facts).level(Level::Warn).build();
        write(&mut line, Some("now"), Level::Warn, &record).unwrap();
        let expected = r#"{"time":"now","level":"WARN","message":"it \"is\"\n","client":"a\"\n","keep_alive":60,"clean":true}"#;
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
