//! What is done with bytes of the network and of files in fuzz targets (`broker/fuzz`) and, with fewer inputs, in tests.
//!
//! Each takes any bytes, and must not panic: beside the code's own, panics are what does not hold of the answer.

use std::path::Path;
use std::sync::Arc;

use crate::auth;
pub use crate::auth::acl::fuzzing::acl;
use crate::codec::{Decoded, MAX_PACKET_BYTES, Version, decode};
use crate::config::{Overrides, Settings};
pub use crate::net::fuzzing::*;

/// The packets of each version: what is decoded is encoded, and decoded as the same.
pub fn codec(bytes: &[u8]) {
    for version in [None, Some(Version::V31), Some(Version::V311), Some(Version::V5)] {
        match decode(bytes, version, MAX_PACKET_BYTES) {
            Ok(Decoded::Packet { packet, length }) => {
                assert!((2..=bytes.len()).contains(&length));
                let mut encoded = Vec::new();
                if packet.encode(version.unwrap_or(Version::V311), &mut encoded).is_ok() {
                    let length = encoded.len();
                    assert_eq!(
                        decode(&encoded, version, MAX_PACKET_BYTES),
                        Ok(Decoded::Packet { packet, length })
                    );
                }
            }
            Ok(Decoded::Incomplete { needed }) => assert!(needed > 0),
            Err(_) => {}
        }
    }
}

/// A configuration file: what is read is written, and read as the same; what is wrong is told with its line.
pub fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // It would read files.
    if text.contains("include_dir") {
        return;
    }
    let read = |text: &str| Settings::parse(text, Some(Path::new("sol.conf")), Overrides::default());
    match read(text) {
        Ok(settings) => assert_eq!(read(&settings.to_string()), Ok(settings)),
        Err(problems) => assert!(!problems.is_empty()),
    }
}

/// A password file.
pub fn passwords(bytes: &[u8]) {
    match auth::Table::parse(&Arc::from(Path::new("passwd")), bytes) {
        Ok(table) => assert!(table.len() <= bytes.len()),
        Err(errors) => assert!(errors.iter().all(|error| error.line.is_some() || errors.len() == 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    type Target = (fn(&[u8]), &'static [&'static [u8]]);

    const TARGETS: [Target; 7] = [
        (acl, &[b"anna\0id\0house/a\0topic read news/#\nuser anna\ntopic deny house/b\ntopic house/#\npattern write d/%c/+/%u\n"]),
        (
            codec,
            &[
                b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\x0a\0\0",
                b"\x32\x0a\0\x03a/b\0\x07\x02\x01\x01hi",
                b"\x82\x0a\0\x01\0\0\x04a/+/\x01",
            ],
        ),
        (
            config,
            &[
                b"listener 1883 127.0.0.1\nallow_anonymous true\npersistence true\nmax_queued_bytes 10MB\n",
                b"port 1883\ncertfile \"/a b\"\nkeyfile /k\nper_listener_settings true\nlog_type all\n",
            ],
        ),
        (passwords, &[b"anna:$6$saltsalt$aaaa\nbert:$7$101$c2FsdA==$aGFzaA==\n# none\n"]),
        (
            websocket,
            &[
                b"\x03\x82\x83\x01\x02\x03\x04abc\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",
                b"\x01GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Protocol: mqtt\r\n\r\n",
            ],
        ),
        (
            http,
            &[b"/api/v1/clients?limit=10&match=%C3%A4&sort=queued", b"/api/v1/retained?filter=a/%23&topic="],
        ),
        (
            proxy,
            &[
                b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x01\0\x07\x5b",
            ],
        ),
    ];

    /// Any bytes, and some that are nearly right.
    fn input() -> impl Strategy<Value = (usize, Vec<u8>)> {
        (0..TARGETS.len()).prop_flat_map(|target| {
            let changes =
                vec((any::<Index>(), prop_oneof![any::<u8>(), select(&b"\0\x7f\xff\n #/+"[..])]), 0..6);
            let nearly = (select(TARGETS[target].1), changes).prop_map(|(seed, changes)| {
                let mut bytes = seed.to_vec();
                for (at, byte) in changes {
                    *at.get_mut(&mut bytes) = byte;
                }
                bytes
            });
            (Just(target), prop_oneof![1 => vec(any::<u8>(), 0..200), 3 => nearly])
        })
    }

    #[test]
    fn what_is_right_is_taken() {
        for (target, seeds) in TARGETS {
            seeds.iter().for_each(|seed| target(seed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn whatever_comes_is_taken_or_refused((target, bytes) in input()) {
            TARGETS[target].0(&bytes);
        }
    }
}
