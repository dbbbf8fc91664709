//! The formats of property values (§1.5): each a module that takes one off the bytes, and puts one behind them. `name` is
//! the property's, for errors.

use std::num::{NonZeroU16, NonZeroU32};

use nom::Parser;
use nom::combinator::map_res;
use nom::number::complete::{be_u16, be_u32, u8};

use super::fixed_header::put_remaining_length;
use super::primitive::{
    Fault, MAX_REMAINING_LENGTH, Parsed, binary, put_binary, put_string, string, variable_byte_integer,
};
use super::{EncodeError, Error, QoS};
use crate::topic::Name;

pub(super) mod flag {
    use super::*;

    pub(crate) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, bool> {
        let flag = |byte| match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::PropertyValue { name, value: byte.into() }),
        };
        map_res(u8, flag).parse(input)
    }

    pub(crate) fn put(_: &'static str, out: &mut Vec<u8>, value: bool) -> Result<(), EncodeError> {
        out.push(value.into());
        Ok(())
    }
}

pub(super) mod qos_0_or_1 {
    use super::*;

    pub(crate) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, QoS> {
        let (input, is_1) = flag::take(name, input)?;
        Ok((input, if is_1 { QoS::AtLeastOnce } else { QoS::AtMostOnce }))
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: QoS) -> Result<(), EncodeError> {
        if value == QoS::ExactlyOnce {
            return Err(Error::PropertyValue { name, value: 2 }.into());
        }
        out.push(value.into());
        Ok(())
    }
}

pub(super) mod two_bytes {
    use super::*;

    pub(crate) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, u16> {
        be_u16(input)
    }

    pub(crate) fn put(_: &'static str, out: &mut Vec<u8>, value: u16) -> Result<(), EncodeError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }
}

pub(super) mod two_bytes_not_0 {
    use super::*;

    pub(crate) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, NonZeroU16> {
        map_res(be_u16, |value| NonZeroU16::new(value).ok_or(Error::PropertyValue { name, value: 0 }))
            .parse(input)
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: NonZeroU16) -> Result<(), EncodeError> {
        two_bytes::put(name, out, value.get())
    }
}

pub(super) mod four_bytes {
    use super::*;

    pub(crate) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, u32> {
        be_u32(input)
    }

    pub(crate) fn put(_: &'static str, out: &mut Vec<u8>, value: u32) -> Result<(), EncodeError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }
}

pub(super) mod four_bytes_not_0 {
    use super::*;

    pub(crate) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, NonZeroU32> {
        map_res(be_u32, |value| NonZeroU32::new(value).ok_or(Error::PropertyValue { name, value: 0 }))
            .parse(input)
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: NonZeroU32) -> Result<(), EncodeError> {
        four_bytes::put(name, out, value.get())
    }
}

pub(super) mod variable {
    use super::*;

    pub(crate) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, NonZeroU32> {
        let broken = |error| nom::Err::Failure(Fault::Broken(error));
        let (input, value) =
            variable_byte_integer(name, input).map_err(broken)?.ok_or(nom::Err::Error(Fault::Truncated))?;
        let value = u32::try_from(value).ok().and_then(NonZeroU32::new);
        Ok((input, value.ok_or(broken(Error::PropertyValue { name, value: 0 }))?))
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: NonZeroU32) -> Result<(), EncodeError> {
        match usize::try_from(value.get()) {
            Ok(length) if length <= MAX_REMAINING_LENGTH => put_remaining_length(out, length),
            _ => return Err(Error::PropertyValue { name, value: value.get() }.into()),
        }
        Ok(())
    }
}

pub(super) mod text {
    use super::*;

    pub(crate) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, &'a str> {
        string(name).parse(input)
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: &str) -> Result<(), EncodeError> {
        put_string(out, name, value)
    }
}

pub(super) mod bytes {
    use super::*;

    pub(crate) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, &'a [u8]> {
        binary(input)
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: &[u8]) -> Result<(), EncodeError> {
        put_binary(out, name, value)
    }
}

pub(super) mod topic_name {
    use super::*;

    // [MQTT-3.3.2-13] [MQTT-3.3.2-14]
    pub(crate) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, Name<'a>> {
        map_res(binary, |topic| Name::from_bytes(topic).map_err(Error::ResponseTopic)).parse(input)
    }

    pub(crate) fn put(name: &'static str, out: &mut Vec<u8>, value: Name<'_>) -> Result<(), EncodeError> {
        put_binary(out, name, value.as_str().as_bytes())
    }
}
