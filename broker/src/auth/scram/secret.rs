//! What a server keeps of a password for SCRAM-SHA-256: enough to tell who knows it, not enough to log in with.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64ct::{Base64, Encoding};
use ctutils::CtEq;
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest, Sha256};

use super::super::{FormError, MAX_ITERATIONS};

/// How a secret begins in a password file, as PostgreSQL writes it.
pub(in super::super) const PREFIX: &str = "SCRAM-SHA-256$";
/// Fewest iterations taken: RFC 7677 asks for them, and clients refuse less.
pub const MIN_SCRAM_ITERATIONS: u32 = 4096;
/// Iterations of a secret that is made here: the client does them at each login, and it may be a small device.
const ITERATIONS: u32 = 15_000;
/// Longest salt. PostgreSQL's are of 16 bytes.
const MAX_SALT_BYTES: usize = 64;

pub(super) type Key = [u8; 32];

/// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Secret {
    pub(super) iterations: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

impl Secret {
    /// Parses what is behind [`PREFIX`].
    pub(in super::super) fn parse(fields: &str) -> Result<Self, FormError> {
        let (cost, keys) = fields.split_once('$').ok_or(FormError::Fields)?;
        let (iterations, salt) = cost.split_once(':').ok_or(FormError::Fields)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(FormError::Fields)?;
        if iterations.is_empty() || !iterations.bytes().all(|c| c.is_ascii_digit()) {
            return Err(FormError::Fields);
        }
        let range = MIN_SCRAM_ITERATIONS..=MAX_ITERATIONS;
        let iterations = iterations
            .parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or(FormError::Cost { what: "iterations", min: MIN_SCRAM_ITERATIONS, max: MAX_ITERATIONS })?;
        let decode = |text| Base64::decode_vec(text).map_err(|_| FormError::Fields);
        let key = |text| Key::try_from(decode(text)?).map_err(|_| FormError::Fields);
        let (salt, stored_key, server_key) = (decode(salt)?, key(stored_key)?, key(server_key)?);
        match salt.len() {
            0 => Err(FormError::Fields),
            length if length > MAX_SALT_BYTES => Err(FormError::Salt { length, max: MAX_SALT_BYTES }),
            _ => Ok(Self { iterations, salt: salt.into(), stored_key, server_key }),
        }
    }

    /// Makes the secret of a password, as it stands in a file.
    pub(in super::super) fn make(password: &[u8], salt: &[u8]) -> String {
        let Self { iterations, salt, stored_key, server_key } = Self::of(password, salt, ITERATIONS);
        let [salt, stored_key, server_key] = [&salt, &stored_key[..], &server_key].map(Base64::encode_string);
        format!("{PREFIX}{iterations}:{salt}${stored_key}:{server_key}")
    }

    /// Whether it is the secret of that password.
    pub(in super::super) fn verify(&self, password: &[u8]) -> bool {
        let made = Self::of(password, &self.salt, self.iterations);
        made.stored_key.ct_eq(&self.stored_key).into()
    }

    /// RFC 5802 §3.
    fn of(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted: Key = pbkdf2_hmac_array::<Sha256, 32>(&prepare(password), salt, iterations);
        let stored_key = sha256(&hmac(&salted, &[b"Client Key"]));
        let server_key = hmac(&salted, &[b"Server Key"]);
        Self { iterations, salt: salt.into(), stored_key, server_key }
    }
}

/// A password as clients hash it: by SASLprep, or as it is where that has no answer. PostgreSQL does the same.
fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(Cow::Owned(prepared))) if !prepared.is_empty() => Cow::Owned(prepared.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

/// What users without a secret are shown, so that nobody learns by asking who has one: the same for the same name each
/// time, and such as others have.
pub(in super::super) struct Mock {
    key: Key,
    /// Iterations and bytes of salt that there are in the file.
    shapes: Vec<(u32, usize)>,
}

impl Mock {
    /// In the manner of these secrets; none if there are none.
    pub(in super::super) fn of<'a>(secrets: impl Iterator<Item = &'a Secret> + Clone) -> Option<Self> {
        let shapes: BTreeSet<_> =
            secrets.clone().map(|secret| (secret.iterations, secret.salt.len())).collect();
        // Of two users, and neither can compute it alone. It stays the same when others come, go or get another password,
        // and when the broker starts again.
        let mut key = Sha256::new_with_prefix("sol: salts of unknown users");
        secrets.take(2).for_each(|secret| key.update(secret.server_key));
        let shapes: Vec<_> = shapes.into_iter().collect();
        (!shapes.is_empty()).then(|| Self { key: key.finalize().into(), shapes })
    }

    /// The secret of a user who has none. No proof fits it.
    pub(in super::super) fn secret(&self, user: &str) -> Secret {
        let [choice, one, two] = [0, 1, 2].map(|n| hmac(&self.key, &[&[n], user.as_bytes()]));
        let choice =
            choice.iter().fold(0, |rest, &byte| (rest * 256 + usize::from(byte)) % self.shapes.len());
        let &(iterations, length) = self.shapes.get(choice).unwrap_or(&(ITERATIONS, 16));
        let salt = one.into_iter().chain(two).take(length).collect();
        Secret { iterations, salt, stored_key: [0; 32], server_key: [0; 32] }
    }
}

pub(super) fn hmac(key: &Key, message: &[&[u8]]) -> Key {
    // A key is filled up with zeros to a block of the hash: that is how HMAC is defined.
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, &from)| *to = from);
    let mut hmac = Hmac::<Sha256>::new(&block.into());
    message.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

pub(super) fn sha256(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Secret, FormError> {
        Secret::parse(text.strip_prefix(PREFIX).unwrap())
    }

    /// By Python's `hashlib` and `hmac`, with the salt of RFC 7677.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn secrets_of_other_programs_verify() {
        for (password, text) in [("pencil", PENCIL), ("pässwörd", PAESSWOERD)] {
            let secret = parse(text).unwrap();
            assert!(secret.verify(password.as_bytes()), "{text}");
            for wrong in ["Pencil", "pencil ", "", "passwort"] {
                assert!(!secret.verify(wrong.as_bytes()), "{wrong}");
            }
        }
    }

    /// `pässwörd`, likewise.
    const PAESSWOERD: &str = "SCRAM-SHA-256$5000:c2FsdHNhbHQ=$HOSsRsn/zss+St2lmyQR8G5YODVn5vUykZQNr7sV/bA=:EUHktRTgz/a4k15MyfLIV9A65mm8yavEaxMks2Jz0Bo=";

    #[test]
    fn passwords_are_prepared() {
        let secret = parse(PAESSWOERD).unwrap();
        assert!(secret.verify("pa\u{308}sswo\u{308}rd".as_bytes()), "other characters for the same letters");
        assert!(secret.verify("päss\u{ad}wörd".as_bytes()), "a soft hyphen");
        for (password, prepared) in
            [("\u{2168}", "IX"), ("a\u{a0}b", "a b"), ("a\u{7}b", "a\u{7}b"), ("\u{ad}", "\u{ad}")]
        {
            assert_eq!(*prepare(password.as_bytes()), *prepared.as_bytes(), "{password:?}");
        }
        assert_eq!(*prepare(b"a\xff"), *b"a\xff");
    }

    #[test]
    fn secrets_that_are_made_verify() {
        let made = Secret::make("pässwörd".as_bytes(), &[7; 16]);
        assert!(made.starts_with("SCRAM-SHA-256$15000:BwcHBwcHBwcHBwcHBwcHBw==$"), "{made}");
        let secret = parse(&made).unwrap();
        assert!(secret.verify("pässwörd".as_bytes()) && !secret.verify(b"p"));
    }

    #[test]
    fn what_is_no_secret() {
        let fields = PENCIL.strip_prefix(PREFIX).unwrap();
        let cost = FormError::Cost { what: "iterations", min: 4096, max: MAX_ITERATIONS };
        for (number, error) in [
            ("4095", &cost),
            ("1000001", &cost),
            ("99999999999999", &cost),
            ("", &FormError::Fields),
            ("+4096", &FormError::Fields),
            ("x", &FormError::Fields),
        ] {
            let text = fields.replacen("4096", number, 1);
            assert_eq!(Secret::parse(&text).err().as_ref(), Some(error), "{number}");
        }
        let keys = fields.split_once('$').unwrap().1;
        let salted = |length| format!("4096:{}${keys}", Base64::encode_string(&vec![0; length]));
        assert_eq!(Secret::parse(&salted(0)).err(), Some(FormError::Fields));
        assert!(Secret::parse(&salted(64)).is_ok());
        assert_eq!(Secret::parse(&salted(65)).err(), Some(FormError::Salt { length: 65, max: 64 }));
        for text in
            ["", "4096", "4096:c2FsdA==", "4096:c2FsdA==$", "4096:c2FsdA==$AAAA:AAAA", "4096$AAAA:AAAA"]
                .map(str::to_owned)
                .into_iter()
                .chain([
                    fields.replace('=', ""),
                    format!("{fields} "),
                    format!("{fields}:"),
                    fields.replace('$', ":"),
                ])
        {
            assert_eq!(Secret::parse(&text).err(), Some(FormError::Fields), "{text}");
        }
    }

    #[test]
    fn users_without_a_secret_have_one_to_be_shown() {
        let secret = |n: u8, iterations| Secret {
            iterations,
            salt: vec![n; usize::from(n)].into(),
            stored_key: [n; 32],
            server_key: [n; 32],
        };
        let four = [secret(16, 4096), secret(64, 15_000), secret(16, 4096), secret(12, 4096)];
        let mock = Mock::of(four.iter()).unwrap();
        let mut seen = BTreeSet::new();
        for user in (0..100).map(|n| format!("user{n}")) {
            let made = mock.secret(&user);
            assert!(made == mock.secret(&user));
            // Others come and go.
            assert!(made == Mock::of(four[..2].iter().chain(&four[3..])).unwrap().secret(&user));
            assert!(made.salt != mock.secret(&format!("{user}x")).salt);
            seen.insert((made.iterations, made.salt.len()));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(4096, 12), (4096, 16), (15_000, 64)]);
        assert!(Mock::of([].iter()).is_none());
        let other = [secret(16, 4096), secret(63, 15_000)];
        assert!(Mock::of(other.iter()).unwrap().secret("x").salt != mock.secret("x").salt);
    }
}
