//! AUTH: enhanced authentication (§4.12 of 5.0), at CONNECT and as often as the client likes after it.
//!
//! ```text
//! client                               broker
//! CONNECT with a method   ───────────▶ nothing is done for it yet
//!                         ◀─────────── AUTH 0x18
//! AUTH 0x18               ───────────▶
//!                         ◀─────────── CONNACK with the last word, or a refusal
//!
//! AUTH 0x19               ───────────▶ other packets go both ways meanwhile
//!                         ◀─────────── AUTH 0x18
//! AUTH 0x18               ───────────▶
//!                         ◀─────────── AUTH 0x00 with the last word, or DISCONNECT 0x87
//! ```
//!
//! As long as a client is not let in, nothing is consumed: the connection gives the CONNECT again, and behind it the AUTH
//! packets so far.
//!
//! The one method is SCRAM-SHA-256, where the password file has a secret for it; others get 0x8C. A password in the same
//! CONNECT is not looked at. A user name must be the one of SCRAM, and who authenticates again must be the same user.

use std::mem;
use std::time::Instant;

use base64ct::{Base64, Encoding};

use super::connack::Refusal;
use super::login::{Login, bad};
use super::peer::Rare;
use super::{Batch, Ending, Hub, Next, Peer};
use crate::auth::Access;
use crate::auth::scram::{Exchange, Failure, SCRAM_SHA_256};
use crate::codec::{
    Auth, Connect, Decoded, Packet, PacketType, Properties, PropertiesBuf, Property, Reason, Version, decode,
};
use crate::session::Terms;

/// How far a client that gave a method is.
#[derive(Debug)]
pub(super) struct Authentication {
    /// Who it said it is, and must be from then on.
    user: Option<String>,
    state: State,
    /// Bytes behind its CONNECT that were handled already.
    handled: usize,
}

#[derive(Debug)]
enum State {
    /// Nothing goes on.
    Idle,
    /// The client is to say who it is.
    Asked,
    /// It is to show that it knows the password.
    Begun(Box<Exchange>),
}

/// What to say to a client.
enum Answer {
    /// It is to go on.
    More(Option<String>),
    /// It is who it says it is, and the broker shows that it knows of the password.
    Done(String),
}

impl Authentication {
    /// Who the client is.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The message in an AUTH, if it is the turn of such a one.
    fn message<'a>(&self, auth: &Auth<'a>) -> Result<Option<&'a [u8]>, &'static str> {
        let expected = match self.state {
            State::Idle => Reason::ReAuthenticate,
            State::Asked | State::Begun(_) => Reason::ContinueAuthentication,
        };
        let said = Said::of(auth.properties);
        if said.method != Some(SCRAM_SHA_256) {
            return Err("AUTH with another authentication method than CONNECT [5.0 MQTT-4.12.0-5]");
        }
        if auth.reason != expected {
            return Err("AUTH with a reason code whose turn it is not [5.0 MQTT-4.12.0-3]");
        }
        Ok(said.message)
    }

    /// Takes what the client says, which may be nothing at first. `user_name` is who it must be, if CONNECT says so.
    fn step(
        &mut self,
        access: &Access,
        user_name: Option<&str>,
        message: Option<&[u8]>,
    ) -> Result<Answer, Failure> {
        match (mem::replace(&mut self.state, State::Idle), message) {
            (State::Idle, None) => {
                self.state = State::Asked;
                Ok(Answer::More(None))
            }
            (State::Idle | State::Asked, message) => {
                let table = access.passwords.as_ref().ok_or(Failure::UnknownUser)?;
                let message = message.unwrap_or_default();
                let (exchange, answer) = Exchange::begin(table, message, &nonce()?)?;
                let known = self.user.get_or_insert_with(|| exchange.user().to_owned());
                if [Some(known.as_str()), user_name].into_iter().flatten().any(|user| user != exchange.user())
                {
                    return Err(Failure::OtherUser);
                }
                self.state = State::Begun(Box::new(exchange));
                Ok(Answer::More(Some(answer)))
            }
            (State::Begun(exchange), message) => {
                exchange.finish(message.unwrap_or_default()).map(Answer::Done)
            }
        }
    }
}

/// What the broker adds to the client's nonce.
fn nonce() -> Result<String, Failure> {
    let mut random = [0; 18];
    getrandom::fill(&mut random).map_err(|_| Failure::NoRandom)?;
    Ok(Base64::encode_string(&random))
}

/// What a packet says about authentication.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) method: Option<&'a str>,
    message: Option<&'a [u8]>,
}

impl<'a> Said<'a> {
    pub(super) fn of(properties: Properties<'a>) -> Self {
        let mut said = Self::default();
        for property in properties.iter() {
            match property {
                Property::AuthenticationMethod(method) => said.method = Some(method),
                Property::AuthenticationData(message) => said.message = Some(message),
                _ => {}
            }
        }
        said
    }
}

/// A client is let in.
#[derive(Default)]
pub(super) struct Authenticated {
    /// Bytes behind its CONNECT that were handled.
    pub(super) handled: usize,
    /// What the broker has to say at the end.
    pub(super) last_word: Option<String>,
}

impl Hub {
    /// Lets in a CONNECT with a method, or says what to do instead. The bytes are those behind it.
    pub(super) fn authenticate(
        &self,
        peer: &mut Peer,
        (connect, terms): (&Connect<'_>, &Terms),
        bytes: &[u8],
        now: Instant,
        batch: &mut Batch,
    ) -> Result<Authenticated, Next> {
        if let Login::Refused(until, refusal) = peer.login() {
            let known = peer.authentication().and_then(|known| known.user.as_deref());
            let connect = Connect { user_name: connect.user_name.or(known), ..*connect };
            return Err(self.tell_at(*until, refusal, (&connect, terms), now, batch));
        }
        let said = Said::of(connect.properties);
        let is_first = peer.authentication().is_none();
        if is_first && !(said.method == Some(SCRAM_SHA_256) && offers_scram(&peer.access)) {
            let why = "an authentication method that is not offered [5.0 MQTT-4.12.0-1]";
            return Err(self.break_off((Reason::BadAuthenticationMethod, why), terms, batch));
        }
        let Peer { rare, access, .. } = &mut *peer;
        let authentication = Rare::authentication_or(rare, || {
            Box::new(Authentication { user: None, state: State::Idle, handled: 0 })
        });
        let mut message = match is_first {
            true => said.message,
            false => self.next_message(authentication, terms, bytes, batch)?,
        };
        loop {
            match authentication.step(access, connect.user_name, message) {
                Ok(Answer::More(answer)) => {
                    say(Reason::ContinueAuthentication, answer.as_deref(), terms, batch)
                        .map_err(|refusal| self.break_off(refusal, terms, batch))?
                }
                Ok(Answer::Done(answer)) => {
                    let handled = mem::take(&mut authentication.handled);
                    return Ok(Authenticated { handled, last_word: Some(answer) });
                }
                Err(failure) => {
                    // The log is to name it.
                    let known = authentication.user.clone();
                    let connect = Connect { user_name: connect.user_name.or(known.as_deref()), ..*connect };
                    return Err(self.refuse_login(peer, bad(failure.why()), (&connect, terms), now, batch));
                }
            }
            message = self.next_message(authentication, terms, bytes, batch)?;
        }
    }

    /// What the next packet behind a CONNECT says.
    fn next_message<'b>(
        &self,
        authentication: &mut Authentication,
        terms: &Terms,
        bytes: &'b [u8],
        batch: &mut Batch,
    ) -> Result<Option<&'b [u8]>, Next> {
        let rest = bytes.get(authentication.handled..).unwrap_or_default();
        let message = match decode(rest, Some(Version::V5), self.limits.read().max_packet_bytes) {
            Ok(Decoded::Incomplete { needed }) => return Err(Next::Read(needed)),
            Err(error) => {
                // A packet that may not come at all can be broken in ways that CONNACK has no code for.
                let code = Some(error.reason()).filter(|code| code.may_stand_in(PacketType::Connack));
                let refusal = (code.unwrap_or(Reason::ProtocolError), error.to_string());
                return Err(Next::End(self.refuse(terms, refusal, None, batch)));
            }
            Ok(Decoded::Packet { packet: Packet::Disconnect(_), .. }) => {
                return Err(Next::End(Ending::Disconnect));
            }
            Ok(Decoded::Packet { packet: Packet::Auth(auth), length }) => {
                authentication.handled += length;
                batch.tally.messages_received += 1;
                authentication.message(&auth)
            }
            Ok(_) => Err("a packet other than AUTH before CONNACK [5.0 MQTT-3.1.2-30]"),
        };
        message.map_err(|why| self.break_off((Reason::ProtocolError, why), terms, batch))
    }

    /// CONNACK for what a client did wrong, and the end.
    fn break_off(&self, (code, why): Refusal, terms: &Terms, batch: &mut Batch) -> Next {
        Next::End(self.refuse(terms, (code, why.to_owned()), Some(why), batch))
    }

    /// AUTH of a client that is let in.
    pub(super) fn handle_auth(
        &self,
        authentication: Option<&mut Authentication>,
        access: &Access,
        terms: &Terms,
        auth: &Auth<'_>,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        let violation = |(reason, what): Refusal| Ending::Violation { reason, what: what.into() };
        let forbidden = |what| violation((Reason::ProtocolError, what));
        let Some(authentication) = authentication else {
            return Err(forbidden("AUTH without an authentication method in CONNECT [5.0 MQTT-4.12.0-7]"));
        };
        let message = authentication.message(auth).map_err(forbidden)?;
        let (reason, answer) = match authentication.step(access, None, message) {
            Ok(Answer::More(answer)) => (Reason::ContinueAuthentication, answer),
            Ok(Answer::Done(answer)) => (Reason::Success, Some(answer)),
            // [5.0 MQTT-4.12.1-2]
            Err(failure) => {
                let what = format!("authenticating again failed: {}", failure.why()).into();
                return Err(Ending::Violation { reason: Reason::NotAuthorized, what });
            }
        };
        say(reason, answer.as_deref(), terms, batch).map_err(violation)
    }
}

fn offers_scram(access: &Access) -> bool {
    !access.user_from_certificate && access.passwords.as_ref().is_some_and(|table| table.has_scram())
}

/// AUTH with what the broker has to say.
fn say(reason: Reason, message: Option<&str>, terms: &Terms, batch: &mut Batch) -> Result<(), Refusal> {
    let mut kept = PropertiesBuf::new();
    let is_put = properties(message).try_for_each(|property| kept.push(property)).is_ok();
    let auth = Packet::Auth(Auth { reason, properties: kept.as_properties() });
    let before = batch.replies.len();
    // [5.0 MQTT-3.1.2-24]
    let fits = is_put
        && auth.encode(Version::V5, &mut batch.replies).is_ok()
        && terms.takes(batch.replies.len() - before);
    if !fits {
        batch.replies.truncate(before);
        return Err((Reason::PacketTooLarge, "it takes no packets as large as the AUTH that it needs"));
    }
    batch.tally.messages_sent += 1;
    Ok(())
}

/// The method, and what the broker has to say.
pub(super) fn properties(message: Option<&str>) -> impl Iterator<Item = Property<'_>> {
    let message = message.map(|message| Property::AuthenticationData(message.as_bytes()));
    [Property::AuthenticationMethod(SCRAM_SHA_256)].into_iter().chain(message)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::{Entrance, Table};
    use crate::hub::Limits;

    /// `pencil`.
    const USERS: &str = "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn entrance() -> Arc<Entrance> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), USERS).unwrap();
        let passwords = Some(Arc::new(Table::load(file.path()).unwrap()));
        Entrance::new("here", Access { allow_anonymous: false, passwords, ..Access::open() })
    }

    fn said(method: &str, message: Option<&[u8]>) -> PropertiesBuf {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthenticationMethod(method)).unwrap();
        if let Some(message) = message {
            properties.push(Property::AuthenticationData(message)).unwrap();
        }
        properties
    }

    fn connect(user_name: Option<&str>, message: Option<&[u8]>) -> Vec<u8> {
        let properties = said(SCRAM_SHA_256, message);
        let connect = Connect {
            version: Version::V5,
            clean_session: true,
            keep_alive: 0,
            client_id: "client",
            will: None,
            user_name,
            password: None,
            properties: properties.as_properties(),
        };
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(Version::V5, &mut bytes).unwrap();
        bytes
    }

    fn auth(reason: Reason, message: Option<&[u8]>) -> Vec<u8> {
        let properties = said(SCRAM_SHA_256, message);
        let auth = Auth { reason, properties: properties.as_properties() };
        let mut bytes = Vec::new();
        Packet::Auth(auth).encode(Version::V5, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn until_the_end_nothing_is_consumed_and_nothing_is_said_twice() {
        let (hub, mut batch) = (Hub::new(Limits::default()), Batch::new(Instant::now()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let now = Instant::now();
        let mut peer = hub.accept(address, entrance(), now).unwrap();
        let mut bytes = connect(None, None);
        for next in [auth(Reason::ContinueAuthentication, Some(b"n,,n=user,r=abc")), Vec::new()] {
            for is_new in [true, false] {
                let handled = hub.handle(&mut peer, &bytes, now, &mut batch);
                assert!(matches!(handled.next, Next::Read(_)) && handled.consumed == 0, "{handled:?}");
                assert_eq!(!batch.replies.is_empty(), is_new);
                batch.replies.clear();
            }
            bytes.extend(next);
        }
        bytes.extend(auth(
            Reason::ContinueAuthentication,
            Some(b"c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ));
        let handled = hub.handle(&mut peer, &bytes, now, &mut batch);
        let Next::End(ending) = handled.next else { panic!("{handled:?}") };
        let expected = "a message of another exchange, client \"client\", user \"user\"";
        assert!(ending.to_string().ends_with(expected), "{ending}");
    }

    #[test]
    fn a_user_name_takes_memory_only_once_it_is_known() {
        let (hub, mut batch) = (Hub::new(Limits::default()), Batch::new(Instant::now()));
        let now = Instant::now();
        for (user_name, is_kept) in [("x".repeat(60_000), false), ("user".to_owned(), true)] {
            let mut peer = hub.accept(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), entrance(), now).unwrap();
            let mut bytes = connect(Some(&user_name), None);
            hub.handle(&mut peer, &bytes, now, &mut batch);
            assert_eq!(peer.authentication().unwrap().user, None);
            bytes.extend(auth(Reason::ContinueAuthentication, Some(b"n,,n=user,r=abc")));
            let handled = hub.handle(&mut peer, &bytes, now, &mut batch);
            assert_eq!(matches!(handled.next, Next::Read(_)), is_kept, "{handled:?}");
            assert_eq!(peer.authentication().unwrap().user.as_deref(), Some("user"));
        }
    }

    fn reason() -> impl Strategy<Value = Reason> {
        prop::sample::select(vec![Reason::ContinueAuthentication, Reason::ReAuthenticate, Reason::Success])
    }

    fn message() -> impl Strategy<Value = Option<Vec<u8>>> {
        let text = prop_oneof![
            Just("n,,n=user,r=abc".to_owned()),
            Just("n,,n=nobody,r=abc".to_owned()),
            "c=biws,r=abc[a-zA-Z0-9+/]{24},p=[a-zA-Z0-9+/]{43}=",
            "[nyp],,[nr]=[a-z,=]{0,8}",
        ];
        prop::option::of(prop_oneof![
            text.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20)
        ])
    }

    proptest! {
        #[test]
        fn whoever_does_not_know_the_password_is_not_let_in(
            first in message(),
            auths in prop::collection::vec((reason(), message()), 0..5),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let (hub, mut batch) = (Hub::new(Limits::default()), Batch::new(Instant::now()));
            let now = Instant::now();
            let mut peer = hub.accept(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), entrance(), now).unwrap();
            let mut bytes = connect(None, first.as_deref());
            for (reason, message) in auths {
                _ = hub.handle(&mut peer, &bytes, now, &mut batch);
                bytes.extend(auth(reason, message.as_deref()));
            }
            bytes.extend(rest);
            let handled = hub.handle(&mut peer, &bytes, now, &mut batch);
            prop_assert!(!peer.is_connected() && handled.consumed == 0);
        }
    }
}
