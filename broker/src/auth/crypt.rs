//! SHA-crypt, `$5$` and `$6$`, exactly as crypt(3) writes it.
//!
//! The hash is made as text and compared as text, which is what login programs do with crypt(3). So a hash whose
//! letters have another case, or whose last character has bits that mean nothing, is another hash. The crate's own
//! reading is not used: it refuses empty salts and salts with characters outside `./0-9A-Za-z`, which crypt(3) takes.

use base64ct::{Base64ShaCrypt, Encoding};
use ctutils::CtEq;
use sha_crypt::{Params, sha256_crypt, sha512_crypt};

use super::FormError;

/// Most `rounds=` taken: near a second of one core for each login.
pub const MAX_ROUNDS: u32 = 1_000_000;
/// Longest password hashed in this form, as in libxcrypt: the work grows with the square of the length.
pub const MAX_PASSWORD_BYTES: usize = 511;
/// crypt(3) uses no more of a salt, and writes no more.
const MAX_SALT_BYTES: usize = 16;

const ROUNDS: &str = "rounds=";

/// Which bytes of the digest go into which characters, as crypt(3) has it.
const ORDER_SHA256: [u8; 32] = [
    20, 10, 0, 11, 1, 21, 2, 22, 12, 23, 13, 3, 14, 4, 24, 5, 25, 15, 26, 16, 6, 17, 7, 27, 8, 28, 18, 29,
    19, 9, 30, 31,
];
const ORDER_SHA512: [u8; 64] = [
    42, 21, 0, 1, 43, 22, 23, 2, 44, 45, 24, 3, 4, 46, 25, 26, 5, 47, 48, 27, 6, 7, 49, 28, 29, 8, 50, 51,
    30, 9, 10, 52, 31, 32, 11, 53, 54, 33, 12, 13, 55, 34, 35, 14, 56, 57, 36, 15, 16, 58, 37, 38, 17, 59,
    60, 39, 18, 19, 61, 40, 41, 20, 62, 63,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Digest {
    Sha256,
    Sha512,
}

impl Digest {
    /// Characters of the hash.
    pub(super) fn text_len(self) -> usize {
        match self {
            Self::Sha256 => 43,
            Self::Sha512 => 86,
        }
    }
}

/// A hash as it stands in the file.
pub(super) struct Crypt {
    digest: Digest,
    params: Params,
    salt: Box<str>,
    text: Box<str>,
}

impl Crypt {
    /// Parses what is behind `$5$` or `$6$`: `[rounds=N$]salt$hash`.
    pub(super) fn parse(digest: Digest, fields: &str) -> Result<Self, FormError> {
        let (params, rest) = match fields.strip_prefix(ROUNDS) {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or(FormError::Fields)?;
                (parse_rounds(rounds)?, rest)
            }
            None => (Params::default(), fields),
        };
        let (salt, text) = rest.split_once('$').ok_or(FormError::Fields)?;
        if salt.len() > MAX_SALT_BYTES {
            return Err(FormError::Salt { length: salt.len(), max: MAX_SALT_BYTES });
        }
        let is_crypt = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'/');
        if text.len() != digest.text_len() || !text.bytes().all(is_crypt) {
            return Err(FormError::Fields);
        }
        Ok(Self { digest, params, salt: salt.into(), text: text.into() })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        password.len() <= MAX_PASSWORD_BYTES
            && encode(self.digest, self.params, &self.salt, password)
                .is_some_and(|text| text.as_bytes().ct_eq(self.text.as_bytes()).into())
    }
}

/// crypt(3) makes no hash with fewer or more rounds, or with another way to write the number.
fn parse_rounds(rounds: &str) -> Result<Params, FormError> {
    let number = match rounds.bytes().next() {
        Some(b'1'..=b'9') => rounds.parse().ok(),
        _ => None,
    };
    number
        .filter(|rounds| *rounds <= MAX_ROUNDS)
        .and_then(|rounds| Params::new(rounds).ok())
        .ok_or(FormError::Cost { what: "rounds", min: Params::ROUNDS_MIN, max: MAX_ROUNDS })
}

/// Hashes a password with a fresh salt and the usual 5,000 rounds: `$6$salt$hash`.
pub(super) fn sha512(password: &[u8], random: [u8; 12]) -> Option<String> {
    let mut salt = [0; 16];
    let salt = Base64ShaCrypt::encode(&random, &mut salt).ok()?;
    let text = encode(Digest::Sha512, Params::default(), salt, password)?;
    Some(format!("$6${salt}${text}"))
}

/// The hash as text. None never comes: the buffer has room.
fn encode(digest: Digest, params: Params, salt: &str, password: &[u8]) -> Option<String> {
    let ordered = match digest {
        Digest::Sha256 => reorder(&sha256_crypt(password, salt.as_bytes(), params), &ORDER_SHA256),
        Digest::Sha512 => reorder(&sha512_crypt(password, salt.as_bytes(), params), &ORDER_SHA512),
    };
    let mut buffer = [0; 86];
    Base64ShaCrypt::encode(&ordered, &mut buffer).ok().map(str::to_owned)
}

fn reorder(digest: &[u8], order: &[u8]) -> Vec<u8> {
    order.iter().filter_map(|&from| digest.get(usize::from(from)).copied()).collect()
}
