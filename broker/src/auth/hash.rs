//! The hash of a password, in each form that a password file may have.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use base64ct::{Base64, Encoding};
use ctutils::CtEq;
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest as _, Sha512};
use thiserror::Error;

use super::crypt::{self, Crypt, Digest};
use super::scram::{self, Secret};

/// Most PBKDF2 iterations taken: near a second of one core for each login.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Most memory taken for argon2id, in KiB, for each login that is verified at the time: 256 MiB.
pub const MAX_ARGON2_KIB: u32 = 256 << 10;
/// Most memory written for argon2id, in KiB: memory times passes, near a second of one core.
pub const MAX_ARGON2_WORK_KIB: u32 = 1 << 20;
/// Longest salt taken in mosquitto's forms. Its own are of 12 bytes.
const MAX_SALT_BYTES: usize = 64;
/// Base64 of a SHA-512 digest.
const SHA512_BASE64_LEN: usize = 88;

/// What is wrong with a hash.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FormError {
    /// Not one of those known. Holds its identifier if it has one.
    #[error(
        "unknown form of hash{}: known are $5$ and $6$ (crypt and mosquitto), $7$ (mosquitto), $argon2id$ and SCRAM-SHA-256$",
        .0.as_deref().map(|id| format!(" ${id}$")).unwrap_or_default()
    )]
    Unknown(Option<String>),
    /// The fields are not those of the form.
    #[error("hash that is cut off or garbled: its fields are not those of its form")]
    Fields,
    /// The salt is too long.
    #[error("salt of {length} bytes, at most {max} are used")]
    Salt {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The work for each login is not within the limits.
    #[error("{what} outside {min} to {max}")]
    Cost {
        /// What is counted.
        what: &'static str,
        /// The fewest.
        min: u32,
        /// The most.
        max: u32,
    },
    /// Not a set of parameters that argon2id has.
    #[error("argon2id: {0}")]
    Argon2(String),
}

/// The hash of a password. Its `Debug` tells the form alone.
pub struct Hash(Form);

type Salt = Box<[u8]>;
type Sha512Digest = Box<[u8; 64]>;

enum Form {
    /// `$5$` and `$6$` of crypt(3).
    Crypt(Crypt),
    /// mosquitto's `$7$iterations$salt$hash`: PBKDF2 with HMAC-SHA-512.
    Pbkdf2 { iterations: u32, salt: Salt, digest: Sha512Digest },
    /// mosquitto's older `$6$salt$hash`: SHA-512 of the password and the salt, once.
    Salted { salt: Salt, digest: Sha512Digest },
    /// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`
    Argon2id { argon2: Box<Argon2<'static>>, salt: Salt, digest: Box<[u8]> },
    /// PostgreSQL's `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    Scram(Box<Secret>),
}

/// Which hash to make of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// `$6$` of crypt(3) with 5,000 rounds, which every program knows.
    Crypt,
    /// A secret for SCRAM-SHA-256, which plain passwords can be verified with, too.
    Scram,
}

impl Hash {
    /// Whether it is a hash, or meant to be one, and no password in plain text.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with('$') || text.starts_with(scram::PREFIX)
    }

    /// Parses a hash.
    ///
    /// # Errors
    ///
    /// It is of no known form, or asks for more work than the limits of this module allow.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        if let Some(fields) = text.strip_prefix(scram::PREFIX) {
            return Ok(Self(Form::Scram(Box::new(Secret::parse(fields)?))));
        }
        let (id, fields) =
            text.strip_prefix('$').and_then(|rest| rest.split_once('$')).ok_or(FormError::Unknown(None))?;
        let form = match id {
            "5" => Form::Crypt(Crypt::parse(Digest::Sha256, fields)?),
            // mosquitto's is told from crypt's by the length of the last field.
            "6" if fields.rsplit('$').next().is_some_and(|last| last.len() == SHA512_BASE64_LEN) => {
                let (salt, digest) = parse_salted(fields)?;
                Form::Salted { salt, digest }
            }
            "6" => Form::Crypt(Crypt::parse(Digest::Sha512, fields)?),
            "7" => {
                let (iterations, rest) = fields.split_once('$').ok_or(FormError::Fields)?;
                let iterations = parse_iterations(iterations)?;
                let (salt, digest) = parse_salted(rest)?;
                Form::Pbkdf2 { iterations, salt, digest }
            }
            "argon2id" => parse_argon2id(text)?,
            // It may be the beginning of a password, which no error may show.
            _ => return Err(FormError::Unknown(is_identifier(id).then(|| id.to_owned()))),
        };
        Ok(Self(form))
    }

    /// Hashes a password. The salt's `random` bytes must be fresh. None for a password that crypt(3) does not take:
    /// longer than [`MAX_PASSWORD_BYTES`](crypt::MAX_PASSWORD_BYTES), or with a NUL.
    pub fn make(password: &[u8], make: Make, random: [u8; 12]) -> Option<String> {
        if password.len() > crypt::MAX_PASSWORD_BYTES || password.contains(&0) {
            return None;
        }
        match make {
            Make::Crypt => crypt::sha512(password, random),
            Make::Scram => Some(Secret::make(password, &random)),
        }
    }

    /// The secret for SCRAM-SHA-256, if it is one.
    pub(super) fn scram(&self) -> Option<&Secret> {
        match &self.0 {
            Form::Scram(secret) => Some(secret),
            _ => None,
        }
    }

    /// Whether it is the hash of the password. Takes long, for as long with a wrong password as with the right one.
    pub fn verify(&self, password: &[u8]) -> bool {
        // The programs that make the hashes take no NUL, and PBKDF2 would take `x` and `x\0` for the same.
        if password.contains(&0) {
            return false;
        }
        match &self.0 {
            Form::Crypt(crypt) => crypt.verify(password),
            Form::Pbkdf2 { iterations, salt, digest } => {
                pbkdf2_hmac_array::<Sha512, 64>(password, salt, *iterations).ct_eq(digest).into()
            }
            Form::Salted { salt, digest } => {
                let made = Sha512::new().chain_update(password).chain_update(salt).finalize();
                made.as_slice().ct_eq(digest.as_slice()).into()
            }
            Form::Argon2id { argon2, salt, digest } => {
                let mut made = vec![0; digest.len()];
                argon2.hash_password_into(password, salt, &mut made).is_ok() && made.ct_eq(digest).into()
            }
            Form::Scram(secret) => secret.verify(password),
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Form::Crypt(_) => "Hash(crypt)",
            Form::Pbkdf2 { .. } => "Hash(pbkdf2)",
            Form::Salted { .. } => "Hash(salted sha512)",
            Form::Argon2id { .. } => "Hash(argon2id)",
            Form::Scram(_) => "Hash(scram)",
        })
    }
}

/// `salt$hash`, both in base64.
fn parse_salted(fields: &str) -> Result<(Salt, Sha512Digest), FormError> {
    let (salt, digest) = fields.split_once('$').ok_or(FormError::Fields)?;
    let decode = |text| Base64::decode_vec(text).map_err(|_| FormError::Fields);
    let (salt, digest) = (decode(salt)?, decode(digest)?);
    if salt.len() > MAX_SALT_BYTES {
        return Err(FormError::Salt { length: salt.len(), max: MAX_SALT_BYTES });
    }
    let digest = Sha512Digest::try_from(digest.into_boxed_slice()).map_err(|_| FormError::Fields)?;
    Ok((salt.into(), digest))
}

fn parse_iterations(iterations: &str) -> Result<u32, FormError> {
    if iterations.is_empty() || !iterations.bytes().all(|c| c.is_ascii_digit()) {
        return Err(FormError::Fields);
    }
    let number = iterations.parse().ok().filter(|number| (1..=MAX_ITERATIONS).contains(number));
    number.ok_or(FormError::Cost { what: "iterations", min: 1, max: MAX_ITERATIONS })
}

fn parse_argon2id(text: &str) -> Result<Form, FormError> {
    let garbled = |error: &dyn fmt::Display| FormError::Argon2(error.to_string());
    let hash = PasswordHash::new(text).map_err(|error| garbled(&error))?;
    let params = argon2::Params::try_from(&hash).map_err(|error| garbled(&error))?;
    let (Some(salt), Some(digest)) = (hash.salt, hash.hash) else { return Err(FormError::Fields) };
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return Err(FormError::Argon2("keyid and data are not known here".to_owned()));
    }
    let limit = |what, min, max, is: u32| {
        if is <= max { Ok(()) } else { Err(FormError::Cost { what, min, max }) }
    };
    limit("argon2id memory m (KiB)", argon2::Params::MIN_M_COST, MAX_ARGON2_KIB, params.m_cost())?;
    let work = params.m_cost().saturating_mul(params.t_cost());
    limit("argon2id memory m (KiB) times passes t", argon2::Params::MIN_M_COST, MAX_ARGON2_WORK_KIB, work)?;
    // Without the version it is the first one, as the reference has it.
    let version = argon2::Version::try_from(hash.version.unwrap_or(0x10)).map_err(|error| garbled(&error))?;
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, version, params);
    Ok(Form::Argon2id { argon2: Box::new(argon2), salt: (*salt).into(), digest: digest.as_bytes().into() })
}

fn is_identifier(id: &str) -> bool {
    (1..=10).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passwords and their hashes, by libxcrypt's crypt(3), `openssl passwd`, `mosquitto_passwd` and the reference of
    /// argon2. All give the same for the same salt.
    const HASHES: [(&str, &str); 20] = [
        (
            "secret",
            "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
        ),
        ("secret", "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"),
        ("secret", "$5$openssl$E2g9TyCzRwtLcgL4OGz6k5dv2HhdS3rRmxXf0RpcxJ0"),
        (
            "secret",
            "$6$openssl$IVBPCMqocSRqcy0eMGtnQTqlstbfvXUADP.FQdAczAe4IX4lc.yoXJxrMLM7wCKCKbm101nZMhvtQ552/bfxW0",
        ),
        (
            "secret",
            "$6$rounds=1000$abc$MqEcPZUYRGGcOeq7PhMpfjfu/F0HrVEI0OlZBijWvO8mSG77iNUDP5MqFceKpJTBc8iITVtNyLiNTRNCxv6oh0",
        ),
        ("secret", "$5$rounds=1234$0123456789abcdef$FT0mmJbMbpLCrYIMBMNZsFJ7OBuXdTxyju0OZM972o0"),
        ("", "$6$x$QSmr1Bx2g4O6BzKvdkgOcyU6H91X6I/XBv5pSalMhSPkwdH6Beo3F455xZJg0v//bxVK5F4OE5k1.0xuR26MK0"),
        (
            "pässwörd",
            "$6$./Zz09$0RJmPIvlJ/iy7DkcXzqcyZtESyYxgyWSTqs6Tk9eHyCLFwcsxpNOeeAdL2Ka.nstq814MVHDxpk4d3QzfFhqw0",
        ),
        // Salts that the crate's own reading refuses.
        ("pw", "$6$$Z7WSO9A8tKGD2oGB9t2ViKdYTIHgnjMZIbdOJElGnO.QoZE5zDsfnF1WHM.IL2KPxhNG4/v/zU9LBcGhxg5Uy."),
        ("pw", "$5$$EPxZX4DoQWu4KoghxUArtr9dmHmQzOXFqq.aJMdG0bA"),
        (
            "pw",
            "$6$a=b~$7a9kY62pICjnUF0LHlJr6Q9KLCV6cVBRIJyLiOXweGMdKjk0KTxmbbKZYVQZ3G48OM6Eu0pebzO4MKfloVPtA.",
        ),
        (
            "secret",
            "$6$o7lDgpiwv8eVjuoC$6U1JIAv3DAw+mbzXGFxJHxfugLXTJLZcZIThUJydM6wwB/1MP5OsqCwpSa02W6XvuDQ+3XeQMYZf2d1uWscLig==",
        ),
        (
            "secret",
            "$7$101$SV0bPSmAwARY8EO9$gUWahGGfIfxCxqXLRXwhVzvjbRYpl5jZwzLH+ijjrAzWh2aoxIfevbk6kYjuekusL6v6r3QYj2LrgfCL5tYF6w==",
        ),
        (
            "secret",
            "$7$5000$RiX7kHajYvUfgSvI$gfrqKkI/Hk/kXjnpNCkBUHM0ySzdBDEcfEhgI4edW17g0hFyno9yweK8moe50+xZEcrJtw2OSpFb6iw5FAlN3w==",
        ),
        (
            "secret",
            "$7$101$dHdlbHZlIGJ5dGVz$v/lj6L3NtZzRH+EyeyPkX06ZV2hBBVZqta7rtt0tD+UEtFehuQLthWWy1s9ZSdmRV5IZqoUymx/Udzry8Wtupw==",
        ),
        (
            "",
            "$7$1$dHdlbHZlIGJ5dGVz$lVrY899Nnhvz2Ue4ewTIhvPtL3hoNHD58n5wd03CyZ4l0KVWBV3gPH3idiBLDZJIP71SzUlqn2GXUSDDwr+EIw==",
        ),
        (
            "secret",
            "$argon2id$v=19$m=1024,t=2,p=2$c29tZXNhbHRzb21lc2FsdA$6b4UKew5+f7HHg6T4lQLh+TbmsNqTpKc5pdqC/I1cjI",
        ),
        ("", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$D4COdQOGXB7SErdL7O1Ahw"),
        (
            "secret",
            "$argon2id$v=16$m=1024,t=2,p=2$c29tZXNhbHRzb21lc2FsdA$FUpiQ9zrtPpX/TbjLcvsC0uzPNBZ6z2c3IMHMPFeiVM",
        ),
        (
            "pencil",
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        ),
    ];

    #[test]
    fn hashes_of_other_programs_verify() {
        for (password, hash) in HASHES {
            let parsed = Hash::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
            assert!(parsed.verify(password.as_bytes()), "{hash}");
            for wrong in [&b"Secret"[..], b"secret ", b"secret\0", b"secre", b"\0"] {
                assert!(!parsed.verify(wrong), "{hash} with {wrong:?}");
            }
        }
    }

    #[test]
    fn the_case_of_a_letter_counts() {
        for (password, hash) in HASHES {
            let last = hash.rfind(|c: char| c.is_ascii_alphabetic()).unwrap();
            let first = hash.rfind('$').unwrap() + 1;
            for at in [first, last] {
                let mut other = hash.as_bytes().to_vec();
                if !other[at].is_ascii_alphabetic() {
                    continue;
                }
                other[at] ^= 0x20;
                // Some are no hash at all any more: bits that mean nothing are not 0.
                if let Ok(other) = Hash::parse(std::str::from_utf8(&other).unwrap()) {
                    assert!(!other.verify(password.as_bytes()), "{hash} at {at}");
                }
            }
        }
    }

    #[test]
    fn hashes_that_are_made_verify_and_differ() {
        let make = |password: &[u8], random| Hash::make(password, Make::Crypt, random);
        let made = make(b"secret", [7; 12]).unwrap();
        assert!(made.starts_with("$6$") && made.len() == "$6$".len() + 16 + 1 + 86, "{made}");
        assert_ne!(make(b"secret", [8; 12]).unwrap(), made);
        for form in [Make::Crypt, Make::Scram] {
            let make = |password: &[u8]| Hash::make(password, form, [7; 12]);
            let verifies = |password: &[u8]| {
                let hash = Hash::parse(&make(password).unwrap()).unwrap();
                hash.verify(password) && !hash.verify(b"other")
            };
            assert!(verifies(b"secret") && verifies(&[b'x'; crypt::MAX_PASSWORD_BYTES]));
            assert_eq!(make(&[b'x'; crypt::MAX_PASSWORD_BYTES + 1]), None);
            assert_eq!(make(b"a\0b"), None);
        }
    }

    #[test]
    fn a_password_too_long_for_crypt_costs_nothing() {
        let hash = Hash::parse(HASHES[0].1).unwrap();
        // Hashing this as the specification has it would go through four gigabytes.
        assert!(!hash.verify(&[b'x'; 65_535]));
    }

    #[test]
    fn what_is_no_hash() {
        let error = |text: &str| Hash::parse(text).unwrap_err();
        let text = "x".repeat(86);
        assert_eq!(error("secret"), FormError::Unknown(None));
        assert_eq!(error(""), FormError::Unknown(None));
        assert_eq!(error("$"), FormError::Unknown(None));
        assert_eq!(error("$2b$10$abc"), FormError::Unknown(Some("2b".to_owned())));
        assert_eq!(error("$my pass$word"), FormError::Unknown(None));
        assert_eq!(
            error("$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$D4COdQOGXB7SErdL7O1Ahw").to_string(),
            "unknown form of hash $argon2i$: known are $5$ and $6$ (crypt and mosquitto), $7$ (mosquitto), $argon2id$ and SCRAM-SHA-256$"
        );
        for garbled in [
            "$6$".to_owned(),
            "$6$salt".to_owned(),
            "$6$salt$".to_owned(),
            format!("$6$salt${text}x"),
            format!("$6$salt${}=", &text[1..]),
            format!("$6$salt${text}$"),
            format!("$5$salt${text}"),
            "$6$rounds=1000".to_owned(),
            "$7$101$c2FsdA==".to_owned(),
            "$7$x$c2FsdA==$c2FsdA==".to_owned(),
            "$7$101$c2FsdA==$c2FsdA==".to_owned(),
            format!("$7$101$c2FsdA$v/lj{}==", &text[4..]),
        ] {
            assert_eq!(error(&garbled), FormError::Fields, "{garbled}");
        }
        assert_eq!(error(&format!("$6$12345678901234567${text}")), FormError::Salt { length: 17, max: 16 });
        assert!(matches!(error("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ"), FormError::Fields));
        assert!(matches!(
            error("$argon2id$v=19$m=64,t=1,p=1,x=1$c2FsdHNhbHQ$D4COdQOGXB7SErdL7O1Ahw"),
            FormError::Argon2(_)
        ));
        assert!(matches!(
            error("$argon2id$v=20$m=64,t=1,p=1$c2FsdHNhbHQ$D4COdQOGXB7SErdL7O1Ahw"),
            FormError::Argon2(_)
        ));
    }

    #[test]
    fn the_work_for_a_login_is_limited() {
        let text = "x".repeat(86);
        let rounds = FormError::Cost { what: "rounds", min: 1000, max: crypt::MAX_ROUNDS };
        for number in ["999", "01000", "+1000", "0", "", "x", "1000001", "999999999", "99999999999999999999"]
        {
            let hash = format!("$6$rounds={number}$salt${text}");
            assert_eq!(Hash::parse(&hash).unwrap_err(), rounds, "{number}");
        }
        for number in ["1000", "1000000"] {
            assert!(Hash::parse(&format!("$6$rounds={number}$salt${text}")).is_ok(), "{number}");
        }
        let base64 = &HASHES[14].1["$7$101".len()..];
        for (number, is_ok) in
            [("1", true), ("1000000", true), ("0", false), ("1000001", false), ("9999999999", false)]
        {
            assert_eq!(Hash::parse(&format!("$7${number}{base64}")).is_ok(), is_ok, "{number}");
        }
        for (params, is_ok) in [
            ("m=262144,t=4,p=1", true),
            ("m=262144,t=5,p=1", false),
            ("m=262145,t=1,p=1", false),
            ("m=64,t=16384,p=1", true),
            ("m=64,t=16385,p=1", false),
        ] {
            let hash = format!("$argon2id$v=19${params}$c2FsdHNhbHQ$D4COdQOGXB7SErdL7O1Ahw");
            assert_eq!(Hash::parse(&hash).is_ok(), is_ok, "{params}");
        }
    }
}
