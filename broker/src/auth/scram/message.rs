//! The two messages of a client (RFC 5802 §7), taken apart.

use base64ct::{Base64, Encoding};

use super::{Failure, MAX_MESSAGE_BYTES};
use Failure::{Binding, Extension, Malformed};

/// How an exchange begins: `n,,n=user,r=nonce`.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct First<'a> {
    /// `n,,`: what the second message repeats.
    pub(super) header: &'a str,
    /// As whom to act, if the client says so.
    pub(super) act_as: Option<String>,
    /// All behind the header.
    pub(super) bare: &'a str,
    pub(super) user: String,
    pub(super) nonce: &'a str,
}

impl<'a> First<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Failure> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(Malformed)?;
        match flag {
            // What `y` says is true: the client could, the server does not offer it.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(Binding),
            _ => return Err(Malformed),
        }
        let (act_as, bare) = rest.split_once(',').ok_or(Malformed)?;
        let act_as = match act_as {
            "" => None,
            act_as => Some(unescape(value(act_as, "a=")?)?),
        };
        let header = message.get(..message.len() - bare.len()).ok_or(Malformed)?;
        let mut attributes = bare.split(',');
        let mut next = || attributes.next().ok_or(Malformed);
        let user = next()?;
        if user.starts_with("m=") {
            return Err(Extension);
        }
        let user = unescape(value(user, "n=")?)?;
        let nonce = value(next()?, "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(Malformed);
        }
        if !attributes.all(is_attribute) {
            return Err(Malformed);
        }
        Ok(Self { header, act_as, bare, user, nonce })
    }
}

/// How a client shows that it knows the password: `c=biws,r=nonce,p=proof`.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Final<'a> {
    /// The header of the first message, in base64.
    pub(super) header: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: [u8; 32],
    /// All before the proof.
    pub(super) unproved: &'a str,
}

impl<'a> Final<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Failure> {
        let (unproved, encoded) = text(message)?.rsplit_once(",p=").ok_or(Malformed)?;
        let mut attributes = unproved.split(',');
        let mut next = || attributes.next().ok_or(Malformed);
        let header = value(next()?, "c=")?;
        let nonce = value(next()?, "r=")?;
        if !attributes.all(is_attribute) {
            return Err(Malformed);
        }
        let mut proof = [0; 32];
        match Base64::decode(encoded, &mut proof) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self { header, nonce, proof, unproved }),
            _ => Err(Malformed),
        }
    }
}

fn text(message: &[u8]) -> Result<&str, Failure> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(Malformed);
    }
    std::str::from_utf8(message).map_err(|_| Malformed)
}

fn value<'a>(attribute: &'a str, name: &str) -> Result<&'a str, Failure> {
    attribute.strip_prefix(name).ok_or(Malformed)
}

/// Whether it looks like an extension, which may be left unread.
fn is_attribute(attribute: &str) -> bool {
    matches!(attribute.as_bytes(), [name, b'=', _, ..] if name.is_ascii_alphabetic())
}

/// A user name, in which `=2C` is a comma and `=3D` an equals sign.
fn unescape(name: &str) -> Result<String, Failure> {
    let mut pieces = name.split('=');
    let mut unescaped = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (sign, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Malformed),
        };
        unescaped.push(sign);
        unescaped.push_str(rest);
    }
    if unescaped.is_empty() || unescaped.contains('\0') { Err(Malformed) } else { Ok(unescaped) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(message: &str) -> Result<First<'_>, Failure> {
        First::parse(message.as_bytes())
    }

    #[test]
    fn first_messages() {
        let plain = First {
            header: "n,,",
            act_as: None,
            bare: "n=user,r=abc",
            user: "user".to_owned(),
            nonce: "abc",
        };
        assert_eq!(first("n,,n=user,r=abc"), Ok(plain));
        let full = first("y,a=ad=2Cmin,n=pi=3D3=2C14 ü,r=a=%/~!,x=1,y=a=b").unwrap();
        assert_eq!((full.header, full.act_as.as_deref()), ("y,a=ad=2Cmin,", Some("ad,min")));
        assert_eq!((full.user.as_str(), full.nonce), ("pi=3,14 ü", "a=%/~!"));
        assert_eq!(full.bare, "n=pi=3D3=2C14 ü,r=a=%/~!,x=1,y=a=b");
    }

    #[test]
    fn what_is_no_first_message() {
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,n=user,r=abc",
            "N,,n=user,r=abc",
            "yes,,n=user,r=abc",
            "p,,n=user,r=abc",
            ",,n=user,r=abc",
            "n,user,n=user,r=abc",
            "n,a=,n=user,r=abc",
            "n,,n=,r=abc",
            "n,,n=user",
            "n,,r=abc,n=user",
            "n,,n=user,r=",
            "n,,n=user,r=a b",
            "n,,n=user,r=a\u{7f}",
            "n,,n=user,r=ä",
            "n,,n=us\0er,r=abc",
            "n,,n=us=er,r=abc",
            "n,,n=us=2cer,r=abc",
            "n,,n=user=,r=abc",
            "n,,n=user=2,r=abc",
            "n,,n=user,r=abc,",
            "n,,n=user,r=abc,x",
            "n,,n=user,r=abc,x=",
            "n,,n=user,r=abc,1=a",
            " n,,n=user,r=abc",
        ] {
            assert_eq!(first(message), Err(Malformed), "{message:?}");
        }
        assert_eq!(First::parse(b"n,,n=us\xffer,r=abc"), Err(Malformed));
        let long = |length| format!("n,,n=user,r={}", "x".repeat(length - "n,,n=user,r=".len()));
        assert!(first(&long(MAX_MESSAGE_BYTES)).is_ok());
        assert_eq!(first(&long(MAX_MESSAGE_BYTES + 1)), Err(Malformed));
        assert_eq!(first("p=tls-exporter,,n=user,r=abc"), Err(Binding));
        assert_eq!(first("n,,m=1,n=user,r=abc"), Err(Extension));
    }

    #[test]
    fn final_messages() {
        let proof = Base64::encode_string(&[7; 32]);
        let last = |text: String| Final::parse(text.as_bytes()).map(|last| last.unproved.to_owned());
        let plain = format!("c=biws,r=abc,p={proof}");
        let parsed = Final { header: "biws", nonce: "abc", proof: [7; 32], unproved: "c=biws,r=abc" };
        assert_eq!(Final::parse(plain.as_bytes()), Ok(parsed));
        assert_eq!(last(format!("c=biws,r=abc,x=y,p={proof}")), Ok("c=biws,r=abc,x=y".to_owned()));
        for message in [
            String::new(),
            "c=biws,r=abc".to_owned(),
            "c=biws,r=abc,p=".to_owned(),
            format!("p={proof}"),
            format!("c=biws,p={proof}"),
            format!("r=abc,c=biws,p={proof}"),
            format!("c=biws,r=abc,x,p={proof}"),
            format!("c=biws,r=abc,p={proof},x=y"),
            format!("c=biws,r=abc,p={proof} "),
            format!("c=biws,r=abc,p={}", &proof[..proof.len() - 1]),
            format!("c=biws,r=abc,p={}", Base64::encode_string(&[7; 31])),
            format!("c=biws,r=abc,p={}", Base64::encode_string(&[7; 33])),
            format!("c=biws,r=abc,p={}", Base64::encode_string(&[7; 1000])),
        ] {
            assert_eq!(last(message.clone()), Err(Malformed), "{message:?}");
        }
    }

    fn escape(name: &str) -> String {
        name.replace('=', "=3D").replace(',', "=2C")
    }

    proptest! {
        #[test]
        fn any_name_comes_through(name in "[^\0]{1,20}") {
            let message = format!("n,,n={},r=abc", escape(&name));
            prop_assert_eq!(first(&message).unwrap().user, name);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            _ = (First::parse(&bytes), Final::parse(&bytes));
        }

        #[test]
        fn no_message_panics(message in "[nyp],[=a-z0-9,]{0,5},[nmrcp=,a23CD\0ü]{0,30}") {
            if let Ok(parsed) = first(&message) {
                prop_assert_eq!(format!("{}{}", parsed.header, parsed.bare), message.as_str());
            }
            _ = Final::parse(message.as_bytes());
        }
    }
}
