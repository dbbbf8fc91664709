//! The reference page and the shipped `sol.conf`, written from the tables of keys and limits.
//!
//! `SOL_WRITE_REFERENCE=1 cargo test -p sol --lib reference` writes them; without it the test compares.

use std::fmt::Write as _;
use std::{env, fs};

use super::{Fate, ForeignOption, KEYS, Key, MOSQUITTO, Overrides, Persistence, Scope, Settings, bounds};

/// What the shipped file says instead of the default: whoever installs a broker does not want it to forget.
const SHIPPED: [(&str, &str); 1] = [("persistence", "true")];

/// Characters a line of `sol.conf` may have.
const WIDTH: usize = 100;

fn page() -> String {
    let mut page = include_str!("reference.md").to_owned();
    page.push_str("| key | value | default | of | meaning |\n|---|---|---|---|---|\n");
    for Key { name, scope, kind, default, meaning, .. } in KEYS {
        let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
        writeln!(page, "| `{name}` | {kind} | {default} | {scope} | {meaning} |").unwrap();
    }
    page + &bounds::table() + &options()
}

/// What becomes of mosquitto's options.
fn options() -> String {
    let mut table = include_str!("mosquitto.md").to_owned();
    table.push_str("| option of mosquitto | here | |\n|---|---|---|\n");
    for ForeignOption { name, fate } in MOSQUITTO {
        let (here, note) = match fate {
            Fate::Same(note) => ("the same".to_owned(), (*note).to_owned()),
            Fate::Alias(key, note) => (format!("another name of `{key}`"), (*note).to_owned()),
            Fate::Ignored(why) => ("read over".to_owned(), sentence(why)),
            Fate::Only(value, advice) => {
                (format!("`{value}` is read over"), format!("Otherwise refused: {advice}."))
            }
            Fate::Refused(advice) => ("refused".to_owned(), sentence(advice)),
        };
        writeln!(table, "| `{name}` | {here} | {note} |").unwrap();
    }
    table
}

fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

fn sample() -> String {
    let mut sample =
        "# Sol's configuration. What is not commented out is the default, but for persistence, which is\n\
         # off without this file. CONFIG.md says more.\n"
            .to_owned();
    for Key { name, scope, kind, default, example, meaning } in KEYS {
        sample.push('\n');
        let mut line = "#".to_owned();
        let text = format!("{meaning} Give {kind}.").replace('`', "");
        for word in text.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                writeln!(sample, "{line}").unwrap();
                "#".clone_into(&mut line);
            }
            line = line + " " + word;
        }
        writeln!(sample, "{line}").unwrap();
        if default.is_empty() {
            writeln!(sample, "#{name} {example}").unwrap();
        } else if *scope == Scope::Bridge {
            // There is no bridge.
            writeln!(sample, "#{name} {default}").unwrap();
        } else {
            let shipped = SHIPPED.iter().find(|(key, _)| key == name);
            writeln!(sample, "{name} {}", shipped.map_or(*default, |(_, value)| value)).unwrap();
        }
    }
    sample
}

fn is_shipped(file: &str, expected: &str) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("SOL_WRITE_REFERENCE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert!(found == expected, "{file} is not what the table says: see the head of config/reference.rs");
}

#[test]
fn the_reference_page_is_what_the_table_says() {
    is_shipped("CONFIG.md", &page());
}

#[test]
fn the_shipped_file_names_every_key_and_is_the_default_but_forgets_nothing() {
    let sample = sample();
    is_shipped("sol.conf", &sample);
    for key in KEYS {
        let lines =
            sample.lines().filter(|line| line.trim_start_matches('#').starts_with(&format!("{} ", key.name)));
        assert_eq!(lines.count(), 1, "{}", key.name);
    }
    let mut settings = Settings::default();
    settings.broker.persistence = Some(Persistence::default());
    assert_eq!(Settings::parse(&sample, None, Overrides::default()), Ok(settings));
}

#[test]
fn every_line_of_the_shipped_file_can_be_uncommented() {
    let all = sample().replace("\n#", "\n").replace("\n ", "\n# ");
    // They stand in place of others, or name what is not there.
    let others =
        ["port", "bind_address", "socket_domain", "tls_version", "log_dest", "log_type", "include_dir"];
    let is_other = |line: &str| others.iter().any(|key| line.starts_with(&format!("{key} ")));
    let all: String = all.lines().filter(|line| !is_other(line)).flat_map(|line| [line, "\n"]).collect();
    // Other keys need it.
    let all = all.replace("\nprotocol mqtt\n", "\nprotocol websockets\n");
    let all = all.replace("\nproxy_protocol false\n", "\nproxy_protocol true\n");
    let settings = Settings::parse(&all, None, Overrides::default()).unwrap();
    assert_eq!(settings.broker.listeners.len(), 3);
    assert!(settings.broker.listeners.iter().any(|listener| listener.tls.is_some()));
    assert!(settings.process.group.is_some() && settings.process.log_path.is_some());
}
