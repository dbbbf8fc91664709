//! The header of the PROXY protocol, version 1 and 2: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! Own code, since the libraries take a header that comes in two pieces for a wrong one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header taken, in bytes. One of version 2 may carry more than addresses, such as the client's certificate.
pub(super) const MAX_BYTES: usize = 8 * 1024;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2, before what has a length of its own.
const FIXED_BYTES: usize = 16;
const PREFIX: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` and the end of the line.
const SHORTEST_LINE: usize = 15;
const LONGEST_LINE: usize = 107;

/// What the bytes of a connection begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The header is longer than the bytes by at least so much.
    Needs(usize),
    /// It is whole. The address of whom the proxy speaks for; none if it is for itself, or does not know.
    Whole(Option<SocketAddr>),
}

/// Looks at a header's bytes, of which no more may be read than [`Header::Needs`] says.
pub(super) fn decode(bytes: &[u8]) -> Result<Header, &'static str> {
    if bytes.is_empty() {
        return Ok(Header::Needs(SHORTEST_LINE));
    }
    if SIGNATURE.starts_with(bytes) || bytes.starts_with(SIGNATURE) {
        return decode_2(bytes);
    }
    if PREFIX.starts_with(bytes) || bytes.starts_with(PREFIX) {
        return decode_1(bytes);
    }
    Err(
        "it does not begin with a header of the PROXY protocol: have the proxy send one, or leave `proxy_protocol` out",
    )
}

/// A line of text.
fn decode_1(bytes: &[u8]) -> Result<Header, &'static str> {
    const WRONG: &str = "the line of its PROXY protocol (version 1) is wrong";
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let least = if bytes.ends_with(b"\r") { 1 } else { 2 };
        return match bytes.len() + least {
            ..=LONGEST_LINE if !bytes.contains(&b'\n') => {
                Ok(Header::Needs(least.max(SHORTEST_LINE.saturating_sub(bytes.len()))))
            }
            _ => Err(WRONG),
        };
    };
    let mut words = str::from_utf8(line).map_err(|_| WRONG)?.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Header::Whole(None));
    }
    let [Some(source), Some(to), Some(port), Some(to_port), None] = std::array::from_fn(|_| words.next())
    else {
        return Err(WRONG);
    };
    let address = |text: &str| {
        let address = text.parse().ok()?;
        let is_of_family = match address {
            IpAddr::V4(_) => family == Some("TCP4"),
            IpAddr::V6(_) => family == Some("TCP6"),
        };
        is_of_family.then_some(address)
    };
    match (address(source), address(to), port.parse(), to_port.parse::<u16>()) {
        (Some(address), Some(_), Ok(port), Ok(_)) => Ok(Header::Whole(Some(SocketAddr::new(address, port)))),
        _ => Err(WRONG),
    }
}

/// Binary.
fn decode_2(bytes: &[u8]) -> Result<Header, &'static str> {
    const SHORT: &str = "the header of its PROXY protocol (version 2) has no room for its addresses";
    let Some((fixed, addresses)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Header::Needs(FIXED_BYTES.saturating_sub(bytes.len())));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_BYTES + length > MAX_BYTES {
        return Err("the header of its PROXY protocol (version 2) is longer than 8 KiB");
    }
    match length.checked_sub(addresses.len()) {
        Some(0) => {}
        Some(missing) => return Ok(Header::Needs(missing)),
        None => return Err("bytes behind the header of its PROXY protocol"),
    }
    match (command, family) {
        // LOCAL: the proxy asks whether anybody is here.
        (0x20, _) => Ok(Header::Whole(None)),
        (0x21, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, _, _, ..] = *addresses else { return Err(SHORT) };
            let port = u16::from_be_bytes([high, low]);
            Ok(Header::Whole(Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), port)))))
        }
        (0x21, 0x21) => {
            let both = addresses.split_first_chunk::<16>().and_then(|(source, rest)| {
                let [high, low, _, _, ..] = *rest.get(16..)? else { return None };
                Some((Ipv6Addr::from(*source), u16::from_be_bytes([high, low])))
            });
            both.map(|source| Header::Whole(Some(SocketAddr::from(source)))).ok_or(SHORT)
        }
        // Unspecified, and UNIX sockets.
        (0x21, 0x00 | 0x31) => Ok(Header::Whole(None)),
        _ => Err("its PROXY protocol (version 2) has a command or a family that is not of TCP"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, addresses].concat()
    }

    /// As a connection gives it: never more than is asked for.
    fn read(stream: &[u8]) -> Result<(usize, Option<SocketAddr>), &'static str> {
        let mut length = 0;
        loop {
            match decode(&stream[..length])? {
                Header::Whole(source) => return Ok((length, source)),
                Header::Needs(needed) => {
                    assert!(needed > 0);
                    if length + needed > stream.len() {
                        return Err("the end");
                    }
                    length += needed;
                }
            }
        }
    }

    #[test]
    fn lines_are_read_as_the_specification_has_them() {
        for (line, source) in [
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Some("1.2.3.4:1")),
            ("PROXY TCP6 ::1 ::2 1 2\r\n", Some("[::1]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        ] {
            let expected = source.map(|source| source.parse().unwrap());
            assert_eq!(read(format!("{line}\x10...").as_bytes()), Ok((line.len(), expected)), "{line}");
        }
        for wrong in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n   ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n      ",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n  ",
            "PROXY ÄÄÄÄÄÄÄÄÄÄ\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(read(wrong.as_bytes()).is_err_and(|what| what != "the end"), "{wrong}");
        }
        assert!(
            read(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat()).is_err_and(|what| what != "the end")
        );
    }

    #[test]
    fn binary_headers_are_read_as_the_specification_has_them() {
        let v4 = [10, 0, 0, 1, 10, 0, 0, 2, 1, 0, 7, 91];
        let mut v6 = [0; 36];
        (v6[15], v6[32]) = (1, 2);
        let with_more = [v4.as_slice(), &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (header, source) in [
            (version_2(0x21, 0x11, &v4), Some("10.0.0.1:256")),
            (version_2(0x21, 0x11, &with_more), Some("10.0.0.1:256")),
            (version_2(0x21, 0x21, &v6), Some("[::1]:512")),
            (version_2(0x21, 0x31, &[0; 216]), None),
            (version_2(0x21, 0x00, &[]), None),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &v4), None),
        ] {
            let expected = source.map(|source| source.parse().unwrap());
            assert_eq!(read(&[&header, b"\x10\0".as_slice()].concat()), Ok((header.len(), expected)));
        }
        for wrong in [
            version_2(0x21, 0x11, &v4[..11]),
            version_2(0x21, 0x21, &v6[..35]),
            version_2(0x21, 0x12, &v4),
            version_2(0x22, 0x11, &v4),
            version_2(0x11, 0x11, &v4),
            version_2(0x21, 0x11, &[0; MAX_BYTES]),
        ] {
            assert!(read(&wrong).is_err_and(|what| what != "the end"), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            head in prop::sample::select(vec![&b""[..], b"PROXY TCP4 ", b"PROXY ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0"]),
            tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            _ = read(&[head, &tail].concat());
        }

        #[test]
        fn any_address_is_read(source in any::<SocketAddr>(), to in any::<u16>()) {
            let source = SocketAddr::new(source.ip(), source.port());
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {} {} {} {to}\r\n", source.ip(), source.ip(), source.port());
            prop_assert_eq!(read(line.as_bytes()), Ok((line.len(), Some(source))));
        }
    }
}
