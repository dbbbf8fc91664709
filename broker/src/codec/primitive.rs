//! What bodies are made of (§1.5): strings, binary data, packet identifiers; and the whole of a body.

use nom::bytes::complete::take;
use nom::combinator::map_res;
use nom::error::{ErrorKind, FromExternalError, ParseError};
use nom::number::complete::be_u16;
use nom::{Err, IResult, Parser};

use super::fixed_header::{put_remaining_length, remaining_length, remaining_length_len};
use super::{EncodeError, Error, PacketId, PacketType};

/// The most bytes that can follow a fixed header (§2.2.3).
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// The most bytes a packet can have, fixed header included.
pub const MAX_PACKET_BYTES: usize = 5 + MAX_REMAINING_LENGTH;

/// What a parser of a part of a body gives: the bytes behind the part, and the part.
pub(super) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// Why a part of a body cannot be parsed.
#[derive(Debug)]
pub(super) enum Fault {
    /// nom's own complaint, which is always that the bytes ran out.
    Truncated,
    /// A rule is broken.
    Broken(Error),
}

/// Parses all of a packet's `body`.
pub(super) fn whole<'a, T>(
    packet: PacketType,
    body: &'a [u8],
    mut parser: impl Parser<&'a [u8], Output = T, Error = Fault>,
) -> Result<T, Error> {
    match parser.parse(body) {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => Err(Error::TrailingBytes { packet, count: rest.len() }),
        Err(Err::Error(Fault::Broken(error)) | Err::Failure(Fault::Broken(error))) => Err(error),
        Err(_) => Err(Error::Truncated { packet }),
    }
}

/// Binary data behind its two-byte length.
pub(super) fn binary(input: &[u8]) -> Parsed<'_, &[u8]> {
    be_u16.flat_map(take).parse(input)
}

/// A UTF-8 string (§1.5.3) behind its two-byte length. `field` names it in errors.
pub(super) fn string<'a>(field: &'static str) -> impl Parser<&'a [u8], Output = &'a str, Error = Fault> {
    map_res(binary, move |bytes| {
        // [MQTT-1.5.3-1]; a byte order mark stays [MQTT-1.5.3-3]
        let string = std::str::from_utf8(bytes).map_err(|_| Error::Utf8 { field })?;
        check_no_null(field, string)?;
        Ok(string)
    })
}

/// A variable byte integer (§1.5.5) in the fewest bytes [MQTT-1.5.5-1], and what is behind it; `None` if `input` ends
/// inside it. `field` names it in errors.
pub(super) fn variable_byte_integer<'a>(
    field: &'static str,
    input: &'a [u8],
) -> Result<Option<(&'a [u8], usize)>, Error> {
    let Some((value, rest)) = remaining_length(input).map_err(|_| Error::VariableByteInteger { field })?
    else {
        return Ok(None);
    };
    if input.len() - rest.len() != remaining_length_len(value) {
        return Err(Error::NotMinimal { field });
    }
    Ok(Some((rest, value)))
}

/// The packet identifier of a `packet`.
pub(super) fn packet_id<'a>(packet: PacketType) -> impl Parser<&'a [u8], Output = PacketId, Error = Fault> {
    // [MQTT-2.3.1-1]
    map_res(be_u16, move |id| PacketId::new(id).ok_or(Error::ZeroPacketId { packet }))
}

/// Appends `bytes` behind their two-byte length.
pub(super) fn put_binary(out: &mut Vec<u8>, field: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
    let length =
        u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong { field, length: bytes.len() })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends `string` behind its two-byte length.
pub(super) fn put_string(out: &mut Vec<u8>, field: &'static str, string: &str) -> Result<(), EncodeError> {
    check_no_null(field, string)?;
    put_binary(out, field, string.as_bytes())
}

/// Appends a packet with this `body`.
pub(super) fn put_packet(out: &mut Vec<u8>, packet: PacketType, body: &[u8]) -> Result<(), EncodeError> {
    put_packet_of(out, packet, &[body])
}

/// Appends a packet whose body are these parts.
pub(super) fn put_packet_of(
    out: &mut Vec<u8>,
    packet: PacketType,
    parts: &[&[u8]],
) -> Result<(), EncodeError> {
    let length = parts.iter().map(|part| part.len()).sum();
    check_remaining_length(packet, length)?;
    out.push(packet.first_byte());
    put_remaining_length(out, length);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

pub(super) fn check_remaining_length(packet: PacketType, remaining_length: usize) -> Result<(), EncodeError> {
    if remaining_length > MAX_REMAINING_LENGTH {
        return Err(EncodeError::PacketTooLarge { packet, remaining_length });
    }
    Ok(())
}

// [MQTT-1.5.3-2]
fn check_no_null(field: &'static str, string: &str) -> Result<(), Error> {
    if string.as_bytes().contains(&0) {
        return Err(Error::Null { field });
    }
    Ok(())
}

impl<I> ParseError<I> for Fault {
    fn from_error_kind(_: I, _: ErrorKind) -> Self {
        Fault::Truncated
    }

    fn append(_: I, _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl<I> FromExternalError<I, Error> for Fault {
    fn from_external_error(_: I, _: ErrorKind, error: Error) -> Self {
        Fault::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<&str, Error> {
        whole(PacketType::Connect, bytes, string("user name"))
    }

    #[test]
    fn strings() {
        assert_eq!(parse(&[0, 0]), Ok(""));
        assert_eq!(parse(&[0, 3, b'a', 0xc3, 0xa4]), Ok("aä"));
        assert_eq!(parse(&[0, 4, 0xef, 0xbb, 0xbf, b'a']), Ok("\u{feff}a"));
        assert_eq!(parse(&[0, 4, 0xf0, 0x9f, 0xa6, 0x80]), Ok("🦀"));
    }

    #[test]
    fn strings_that_are_none() {
        let utf8 = Err(Error::Utf8 { field: "user name" });
        assert_eq!(parse(&[0, 1, 0xff]), utf8, "no UTF-8 byte");
        assert_eq!(parse(&[0, 1, 0xc3]), utf8, "half a character");
        assert_eq!(parse(&[0, 2, 0xc1, 0x81]), utf8, "overlong");
        assert_eq!(parse(&[0, 2, 0xc0, 0x80]), utf8, "overlong U+0000");
        assert_eq!(parse(&[0, 3, 0xed, 0xa0, 0x80]), utf8, "surrogate");
        assert_eq!(parse(&[0, 4, 0xf4, 0x90, 0x80, 0x80]), utf8, "beyond U+10FFFF");
        assert_eq!(parse(&[0, 2, b'a', 0]), Err(Error::Null { field: "user name" }));
    }

    #[test]
    fn lengths() {
        let packet = PacketType::Connect;
        assert_eq!(parse(&[]), Err(Error::Truncated { packet }));
        assert_eq!(parse(&[0]), Err(Error::Truncated { packet }));
        assert_eq!(parse(&[0, 2, b'a']), Err(Error::Truncated { packet }));
        assert_eq!(parse(&[0, 1, b'a', b'b']), Err(Error::TrailingBytes { packet, count: 1 }));
    }
}
