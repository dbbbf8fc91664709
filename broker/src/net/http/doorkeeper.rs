//! Who is let in, and what a browser must not be made to do by a page from elsewhere.
//!
//! Such a page cannot read an answer, for none says that it may (no CORS); it can send what a form could, but with the
//! browser's credentials. So whatever changes something must have a header that a form cannot have. A page whose name is
//! made to point to this machine (DNS rebinding) could read answers too, but the browser then says that name in `Host`:
//! where nobody is asked who they are, it must be one of this machine's.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use ctutils::CtEq;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use smol::lock::Semaphore;
use smol::{Timer, unblock};
use zeroize::Zeroizing;

use super::answer::Refusal;
use crate::auth::{Table, Verdict, Verification};
use crate::config::Http;
use crate::net::StartError;

/// Characters of the shortest token.
const MIN_TOKEN_CHARS: usize = 16;
/// Bytes of the longest file with one.
const MAX_TOKEN_BYTES: u64 = 4096;
/// How long a client waits that gave a wrong token or password.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);
/// Passwords that need not be verified again: hashing one takes a while, and a page asks each second.
const MAX_KNOWN: usize = 16;

/// Who is let in.
pub(in crate::net) struct Doorkeeper {
    token: Option<Token>,
    passwords: Option<Arc<Table>>,
    /// A password at a time.
    verifying: Arc<Semaphore>,
    known: Mutex<Known>,
}

struct Token(Zeroizing<String>);

/// Names and passwords that were right, as hashes with a secret.
#[derive(Default)]
struct Known {
    /// Without it nothing is kept.
    secret: Option<[u8; 32]>,
    credentials: Vec<[u8; 32]>,
}

impl Doorkeeper {
    /// Reads the files.
    pub(super) fn new(settings: &Http) -> Result<Self, StartError> {
        let token = settings.token_file.as_deref().map(read_token).transpose();
        let token = token.map_err(StartError::HttpToken)?.map(Token);
        let passwords = settings.password_file.as_deref().map(Table::load).transpose();
        let passwords = passwords.map_err(StartError::Passwords)?.map(Arc::new);
        Ok(Self { token, passwords, verifying: Arc::new(Semaphore::new(1)), known: Mutex::default() })
    }

    fn is_open(&self) -> bool {
        self.token.is_none() && self.passwords.is_none()
    }

    /// Refuses what a page from elsewhere may make a browser do.
    pub(super) fn check_source(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.is_open()
            && let Some(host) = headers.get(HOST)
            && !host.to_str().is_ok_and(is_this_machine)
        {
            let what = "the `Host` is no name of this machine: ask for it as 127.0.0.1, [::1] or localhost, or set \
                        `http_token_file` or `http_password_file`";
            return Err(Refusal::new(StatusCode::FORBIDDEN, what));
        }
        if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
            && headers.get("sec-fetch-mode").is_none_or(|mode| mode != "navigate")
        {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "pages from elsewhere may not ask"));
        }
        let is_json = || {
            let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        };
        let is_asking = [Method::GET, Method::HEAD].contains(method);
        if is_asking || is_json() || headers.get("x-sol").is_some_and(|value| value == "1") {
            return Ok(());
        }
        let what = "what changes something needs `Content-Type: application/json` or the header `X-Sol: 1`";
        Err(Refusal::new(StatusCode::FORBIDDEN, what))
    }

    /// Refuses whom it does not know.
    pub(super) async fn check_credentials(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.is_open() {
            return Ok(());
        }
        let Some(given) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return Err(self.unauthorized("say who you are"));
        };
        let (scheme, credentials) = given.split_once(' ').unwrap_or((given, ""));
        let is_known = match &self.token {
            Some(token) if scheme.eq_ignore_ascii_case("bearer") => token.is(credentials.trim()),
            _ if scheme.eq_ignore_ascii_case("basic") => self.knows(credentials.trim()).await,
            _ => false,
        };
        if is_known {
            return Ok(());
        }
        Timer::after(REFUSAL_DELAY).await;
        Err(self.unauthorized("this is no token, or no user and password, that are let in"))
    }

    fn unauthorized(&self, what: &str) -> Refusal {
        let (scheme, how) = match (&self.token, &self.passwords) {
            (Some(_), None) => ("Bearer realm=\"sol\"", "give the token of `http_token_file`"),
            (None, _) => ("Basic realm=\"sol\"", "give a user of `http_password_file` and the password"),
            (Some(_), Some(_)) => (
                "Basic realm=\"sol\"",
                "give the token of `http_token_file`, or a user of `http_password_file` and the password",
            ),
        };
        Refusal::new(StatusCode::UNAUTHORIZED, format!("{what}: {how}"))
            .with(WWW_AUTHENTICATE, HeaderValue::from_static(scheme))
    }

    /// Whether it is a user and a password.
    async fn knows(&self, credentials: &str) -> bool {
        let Some(table) = &self.passwords else { return false };
        let Some(decoded) = Base64::decode_vec(credentials).ok().map(Zeroizing::new) else { return false };
        let Some(colon) = decoded.iter().position(|byte| *byte == b':') else { return false };
        let (user, password) = decoded.split_at(colon);
        let (Ok(user), Some(password)) = (str::from_utf8(user), password.get(1..)) else { return false };
        if self.known.lock().has(&decoded) {
            return true;
        }
        let verification = Verification::new(Arc::clone(table), user, password);
        let turn = self.verifying.acquire_arc().await;
        let verdict = unblock(move || verification.run()).await;
        drop(turn);
        let is_right = verdict == Verdict::Granted;
        if is_right {
            self.known.lock().add(&decoded);
        }
        is_right
    }
}

impl Token {
    fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).to_bool()
    }
}

impl Known {
    fn has(&self, credentials: &[u8]) -> bool {
        self.hash(credentials).is_some_and(|hash| self.credentials.contains(&hash))
    }

    fn add(&mut self, credentials: &[u8]) {
        let mut secret = [0; 32];
        if self.secret.is_none() && getrandom::fill(&mut secret).is_ok() {
            self.secret = Some(secret);
        }
        if self.credentials.len() < MAX_KNOWN {
            self.credentials.extend(self.hash(credentials));
        }
    }

    fn hash(&self, credentials: &[u8]) -> Option<[u8; 32]> {
        Some(Sha256::new().chain_update(self.secret?).chain_update(credentials).finalize().into())
    }
}

/// Whether a page with that host can only come from this machine, or from one that someone named by its address.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, String> {
    let wrong = |what: &str| Err(format!("{}: {what}", path.display()));
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_TOKEN_BYTES => return wrong("it is too long for a token"),
        Ok(_) => {}
        Err(error) => return wrong(&format!("it cannot be read: {error}")),
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => return wrong(&format!("it cannot be read: {error}")),
    };
    let token = Zeroizing::new(text.trim().to_owned());
    if token.len() < MIN_TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(
            "a token is one line of 16 characters or more, visible and ASCII: make one by `openssl rand -hex 32`",
        );
    }
    Ok(token)
}

/// Looks at the file with the token for HTTP. Gives what is wrong, with its key.
pub fn check(settings: &Http) -> Vec<(&'static str, String)> {
    let token = settings.token_file.as_deref().map(read_token);
    token.and_then(Result::err).map(|what| ("http_token_file", what)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for host in
            ["localhost", "LOCALHOST:9883", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9883", "127.9.9.9"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org:80",
            "192.0.2.1",
            "[2001:db8::1]:1",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
