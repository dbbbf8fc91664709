//! The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), as far as a scenario says or expects it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest, Sha256};

/// A message of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scram {
    /// `scram.first`: the client says who it is.
    First,
    /// `scram.final($answer)`: it shows that it knows the password.
    Final,
    /// `scram.wrong($answer)`: it would show that, but knows another one.
    Wrong,
    /// `scram.signature($answer)`: the broker shows that it knows of the password.
    Signature,
}

/// A client, who chooses this nonce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) username: &'a [u8],
    pub(super) password: &'a [u8],
    pub(super) nonce: &'a str,
}

/// More would be a way to keep the kit busy.
const MOST_ITERATIONS: u32 = 1 << 20;
/// No channel binding.
const HEADER: &str = "n,,";

impl Scram {
    /// All that stand behind `scram.`
    pub(super) const NAMES: [(&'static str, Scram); 4] = [
        ("first", Scram::First),
        ("final", Scram::Final),
        ("wrong", Scram::Wrong),
        ("signature", Scram::Signature),
    ];

    /// The message, given the broker's answer to the first one. None if that is no answer to this client.
    pub(super) fn message(self, client: Client<'_>, answer: &[u8]) -> Option<Vec<u8>> {
        let bare = client.bare();
        if self == Scram::First {
            return Some([HEADER.as_bytes(), &bare].concat());
        }
        let (nonce, salt, iterations) = challenge(answer)?;
        if !nonce.starts_with(client.nonce) || iterations > MOST_ITERATIONS {
            return None;
        }
        let password = match self {
            Scram::Wrong => [client.password, b"x"].concat(),
            _ => client.password.to_vec(),
        };
        let salted = salted(&password, salt, iterations);
        let unproved = format!("c={},r={nonce}", Base64::encode_string(HEADER.as_bytes()));
        let signed = [&bare, answer, unproved.as_bytes()].join(&b',');
        if self == Scram::Signature {
            let signature = hmac(&hmac(&salted, b"Server Key"), &signed);
            return Some(format!("v={}", Base64::encode_string(&signature)).into_bytes());
        }
        let key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(key), &signed);
        let proof: Vec<u8> = key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        Some(format!("{unproved},p={}", Base64::encode_string(&proof)).into_bytes())
    }
}

impl Client<'_> {
    /// The first message without its header.
    fn bare(&self) -> Vec<u8> {
        let mut name = Vec::new();
        for byte in self.username {
            match byte {
                b',' => name.extend(b"=2C"),
                b'=' => name.extend(b"=3D"),
                other => name.push(*other),
            }
        }
        [b"n=", name.as_slice(), b",r=", self.nonce.as_bytes()].concat()
    }
}

/// Nonce, salt and iterations of a broker's first message.
fn challenge(answer: &[u8]) -> Option<(&str, Vec<u8>, u32)> {
    let mut fields = std::str::from_utf8(answer).ok()?.split(',');
    let nonce = fields.next()?.strip_prefix("r=")?;
    let salt = Base64::decode_vec(fields.next()?.strip_prefix("s=")?).ok()?;
    let iterations = fields.next()?.strip_prefix("i=")?.parse().ok()?;
    Some((nonce, salt, iterations))
}

/// A password, salted. It takes its time, so it is kept for the next exchange, as RFC 5802 suggests (2.2).
fn salted(password: &[u8], salt: Vec<u8>, iterations: u32) -> [u8; 32] {
    type Known = HashMap<(Vec<u8>, Vec<u8>, u32), [u8; 32]>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() > MOST_KEPT {
        known.clear();
    }
    let made = known.entry((password.to_vec(), salt, iterations));
    *made.or_insert_with_key(|(_, salt, _)| {
        pbkdf2_hmac_array::<Sha256, 32>(&prepared(password), salt, iterations)
    })
}

/// How many salted passwords are kept.
const MOST_KEPT: usize = 64;

/// A password by SASLprep, or as it is where that has no answer.
fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(Cow::Owned(prepared))) => Cow::Owned(prepared.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key is filled up with zeros to a block of the hash: that is how HMAC is defined.
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut hmac = Hmac::<Sha256>::new(&block.into());
    hmac.update(message);
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 §3.
    #[test]
    fn says_what_the_example_says() {
        let client = Client { username: b"user", password: b"pencil", nonce: "rOprNGfwEbeRWgbNEkqO" };
        let answer: &[u8] =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let says =
            |what: Scram| String::from_utf8(what.message(client, answer).expect("said")).expect("text");
        assert_eq!(says(Scram::First), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(says(Scram::Final), last);
        assert_ne!(says(Scram::Wrong), last);
        assert_eq!(says(Scram::Signature), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn says_nothing_to_somebody_elses_answer() {
        let client = Client { username: b"a=b,c", password: b"", nonce: "abc" };
        let first = Scram::First.message(client, b"").expect("said");
        assert_eq!(first, b"n,,n=a=3Db=2Cc,r=abc");
        for answer in ["", "r=abc", "r=abd,s=AAAA,i=1", "r=abc1,s=!,i=1", "r=abc1,s=AAAA,i=99999999"] {
            assert_eq!(Scram::Final.message(client, answer.as_bytes()), None, "{answer}");
        }
    }
}
