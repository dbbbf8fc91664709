//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the server's half.
//!
//! ```text
//! client                                     server
//! n,,n=user,r=abc                   ──────▶  Exchange::begin
//!                                   ◀──────  r=abcDEF,s=salt,i=iterations
//! c=biws,r=abcDEF,p=proof           ──────▶  Exchange::finish
//!                                   ◀──────  v=signature
//! ```
//!
//! The password goes over no wire, and the server shows that it knows of it, too. Hashing it is the client's work: here it
//! takes some HMACs. Channel binding is not offered. Own code, as the libraries there are do not fit: `rsasl` (2.3) tells
//! who is unknown and leaves user names escaped, `scram-rs` wants something that is as good as the password, and `scram`
//! is old.

mod message;
mod secret;

use std::fmt;

use base64ct::{Base64, Encoding};
use ctutils::CtEq;

use super::Table;
use message::{Final, First};
pub use secret::MIN_SCRAM_ITERATIONS;
pub(super) use secret::{Mock, PREFIX, Secret};
use secret::{hmac, sha256};

/// The name of the method.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// Longest message taken, in bytes: whoever stops in the middle of an exchange holds no more than a few times as much.
pub const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// Why an exchange failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The file has no secret for SCRAM of such a user.
    UnknownUser,
    /// The proof is not one of the password.
    WrongPassword,
    /// It is none of the messages of RFC 5802.
    Malformed,
    /// The client asks for channel binding.
    Binding,
    /// The client uses an extension that must be understood.
    Extension,
    /// The client wants to act as another user, or is another than it must be.
    OtherUser,
    /// The second message does not belong to the first one.
    OtherExchange,
    /// There is nothing to make a nonce of.
    NoRandom,
}

impl Failure {
    /// It, as the log tells it.
    pub fn why(self) -> &'static str {
        match self {
            Self::UnknownUser => "there is no such user",
            Self::WrongPassword => "wrong password",
            Self::Malformed => "a message that is none of SCRAM (RFC 5802)",
            Self::Binding => "channel binding, which is not offered",
            Self::Extension => "an extension of SCRAM that is not known",
            Self::OtherUser => "the wish to be another user",
            Self::OtherExchange => "a message of another exchange",
            Self::NoRandom => "the system has no random bytes",
        }
    }
}

/// A client has said who it is, and is to show that it knows the password.
pub struct Exchange {
    user: String,
    secret: Secret,
    is_users: bool,
    /// Header of the first message, in base64.
    header: String,
    /// Both halves.
    nonce: String,
    /// The first messages of both.
    messages: String,
}

impl Exchange {
    /// Begins, with the client's first message. The server's half of the nonce must be printable, without commas, and never
    /// come again. Gives the server's answer, too.
    ///
    /// # Errors
    ///
    /// The message is no good. It is not an error that the user is unknown: that comes at the end, as a wrong password
    /// does.
    pub fn begin(table: &Table, message: &[u8], nonce: &str) -> Result<(Self, String), Failure> {
        let First { header, act_as, bare, user, nonce: clients } = First::parse(message)?;
        if act_as.is_some_and(|act_as| act_as != user) {
            return Err(Failure::OtherUser);
        }
        let (secret, is_users) = table.scram_secret(&user).ok_or(Failure::UnknownUser)?;
        let nonce = format!("{clients}{nonce}");
        let salt = Base64::encode_string(&secret.salt);
        let answer = format!("r={nonce},s={salt},i={}", secret.iterations);
        let header = Base64::encode_string(header.as_bytes());
        let messages = format!("{bare},{answer}");
        Ok((Self { user, secret, is_users, header, nonce, messages }, answer))
    }

    /// Who the client says it is.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Ends, with the client's second message. Gives the server's answer to a client that knows the password.
    ///
    /// # Errors
    ///
    /// It does not, or the message is no good.
    pub fn finish(&self, message: &[u8]) -> Result<String, Failure> {
        let Final { header, nonce, proof, unproved } = Final::parse(message)?;
        if header != self.header || nonce != self.nonce {
            return Err(Failure::OtherExchange);
        }
        let signed = [self.messages.as_bytes(), b",", unproved.as_bytes()];
        let mut client_key = hmac(&self.secret.stored_key, &signed);
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        let is_proved = bool::from(sha256(&client_key).ct_eq(&self.secret.stored_key));
        let answer = format!("v={}", Base64::encode_string(&hmac(&self.secret.server_key, &signed)));
        match (self.is_users, is_proved) {
            (true, true) => Ok(answer),
            (true, false) => Err(Failure::WrongPassword),
            (false, _) => Err(Failure::UnknownUser),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({:?})", self.user)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// `pencil`, with the salt of RFC 7677.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    /// `secret`, by crypt(3).
    const CRYPT: &str = "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

    fn table() -> Table {
        let text = format!("user:{PENCIL}\nu=s,er:{PENCIL}\ncrypt:{CRYPT}\n");
        Table::parse(&Path::new("passwd").into(), text.as_bytes()).unwrap()
    }

    /// The exchange of RFC 7677 §3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const ANSWER: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begin(message: &str) -> (Exchange, String) {
        Exchange::begin(&table(), message.as_bytes(), NONCE).unwrap()
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let (exchange, answer) = begin(FIRST);
        assert_eq!((exchange.user(), answer.as_str()), ("user", ANSWER));
        assert_eq!(exchange.finish(LAST.as_bytes()).as_deref(), Ok(SIGNATURE));
    }

    /// The proof that a client which knows `pencil` sends.
    fn prove(first: &str, answer: &str, header: &str) -> String {
        let salted = pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(
            b"pencil",
            &Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            4096,
        );
        let client_key = hmac(&salted, &[b"Client Key"]);
        let bare = &first[first.match_indices(',').nth(1).unwrap().0 + 1..];
        let nonce = answer.split(',').next().unwrap();
        let unproved = format!("c={},{nonce}", Base64::encode_string(header.as_bytes()));
        let signed = format!("{bare},{answer},{unproved}");
        let signature = hmac(&sha256(&client_key), &[signed.as_bytes()]);
        let proof: Vec<_> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{unproved},p={}", Base64::encode_string(&proof))
    }

    #[test]
    fn headers_and_names() {
        for (header, name) in
            [("n,,", "user"), ("y,,", "user"), ("n,a=user,", "user"), ("y,a=u=3Ds=2Cer,", "u=3Ds=2Cer")]
        {
            let first = format!("{header}n={name},r=abc");
            let (exchange, answer) = begin(&first);
            let last = prove(&first, &answer, header);
            assert!(exchange.finish(last.as_bytes()).is_ok(), "{first}");
            // Somebody in between took the wish for channel binding away.
            let other = prove(&first, &answer, if header == "n,," { "y,," } else { "n,," });
            assert_eq!(exchange.finish(other.as_bytes()), Err(Failure::OtherExchange), "{first}");
        }
        let error = |message: &str| Exchange::begin(&table(), message.as_bytes(), NONCE).unwrap_err();
        assert_eq!(error("n,a=admin,n=user,r=abc"), Failure::OtherUser);
        assert_eq!(error("p=tls-unique,,n=user,r=abc"), Failure::Binding);
        assert_eq!(error("n,,m=x,n=user,r=abc"), Failure::Extension);
        assert_eq!(error("user"), Failure::Malformed);
    }

    #[test]
    fn what_does_not_end_an_exchange() {
        let (exchange, _) = begin(FIRST);
        let error = |message: &str| exchange.finish(message.as_bytes()).unwrap_err();
        assert_eq!(error(&LAST.replace("p=dH", "p=dh")), Failure::WrongPassword);
        assert_eq!(error(&LAST.replace("$k0", "$k1")), Failure::OtherExchange);
        assert_eq!(error(&LAST.replace("r=rOpr", "r=ropr")), Failure::OtherExchange);
        assert_eq!(error(&LAST.replace("biws", "eSws")), Failure::OtherExchange);
        assert_eq!(error(FIRST), Failure::Malformed);
        // Signed is what was said.
        assert_eq!(error(&LAST.replace(",p=", ",x=y,p=")), Failure::WrongPassword);
        let (other, _) = Exchange::begin(&table(), FIRST.as_bytes(), "other").unwrap();
        assert_eq!(other.finish(LAST.as_bytes()), Err(Failure::OtherExchange));
    }

    #[test]
    fn an_unknown_user_looks_like_any_other_to_the_end() {
        for name in ["nobody", "User", "crypt"] {
            let first = format!("n,,n={name},r=abc");
            let (exchange, answer) = begin(&first);
            assert_eq!(begin(&first).1, answer, "the same each time");
            let salt = answer.strip_prefix(&format!("r=abc{NONCE},s=")).unwrap();
            assert!(salt.ends_with("==,i=4096") && salt.len() == "W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".len());
            let last = prove(&first, &answer, "n,,");
            assert_eq!(exchange.finish(last.as_bytes()), Err(Failure::UnknownUser));
            // With the key that is in its place, zeros.
            let zeros = format!("c=biws,r=abc{NONCE},p={}", Base64::encode_string(&[0; 32]));
            assert_eq!(exchange.finish(zeros.as_bytes()), Err(Failure::UnknownUser));
        }
        assert_ne!(begin("n,,n=nobody,r=abc").1, begin("n,,n=somebody,r=abc").1);
    }

    #[test]
    fn without_secrets_there_is_no_exchange() {
        let table = Table::parse(&Path::new("passwd").into(), format!("user:{CRYPT}").as_bytes()).unwrap();
        assert!(!table.has_scram());
        assert_eq!(Exchange::begin(&table, FIRST.as_bytes(), NONCE).unwrap_err(), Failure::UnknownUser);
    }

    proptest! {
        #[test]
        fn no_message_panics_or_proves(message in "c=biws,r=[a-z,=]{0,6},?p?=?[a-zA-Z0-9+/]{40,44}=?", raw: Vec<u8>) {
            let (exchange, _) = begin("n,,n=user,r=abc");
            prop_assert!(exchange.finish(message.as_bytes()).is_err());
            prop_assert!(exchange.finish(&raw).is_err());
            _ = Exchange::begin(&table(), &raw, NONCE);
        }
    }
}
