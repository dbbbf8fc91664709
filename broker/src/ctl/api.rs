//! Requests, and what can go wrong with them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use ureq::http::{Method, Request, Response, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body};
use zeroize::Zeroizing;

use super::Whom;

/// How long a broker may take for each step of an answer. Streams say something more often.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// More than the broker ever answers.
const MAX_ANSWER_BYTES: u64 = 512 << 20;
/// More than any event has.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// A token or a password.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Why something is not done.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(
        "nothing listens at {0}: the broker does not run, or its configuration has no `http_listener` with that address \
         (--url tells another one)"
    )]
    NoListener(String),
    #[error("cannot ask {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{0} (--token-file, or --user)")]
    NotLetIn(String),
    #[error("nothing is changed:\n{}", .0.join("\n"))]
    Configuration(Vec<String>),
    #[error("{0}")]
    Refused(String),
    #[error(
        "the answer of {url} is not understood: {why}; is it a broker of another version, or something else?"
    )]
    Strange { url: String, why: String },
    #[error("{0}")]
    Other(String),
    /// Standard output was closed.
    #[error("nobody reads")]
    NobodyReads,
}

impl Failure {
    /// The exit code, where there is one by those of sysexits.h.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::Refused(_) | Self::Strange { .. } | Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::NoListener(_) | Self::Unreachable { .. } => 69,
            Self::NotLetIn(_) => 77,
            Self::Configuration(_) => 78,
        }
    }
}

/// A broker, as its HTTP shows it.
#[derive(Clone)]
pub(super) struct Api {
    agent: Agent,
    /// Without a slash at its end.
    url: String,
    authorization: Option<Arc<Zeroizing<String>>>,
}

impl Api {
    /// Asks nothing yet.
    pub(super) fn new(whom: &Whom) -> Result<Self, Failure> {
        let is_tls = check_url(&whom.url)?;
        let authorization = authorization(whom)?.map(Arc::new);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Credentials go nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("sol-ctl/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .timeout_per_write(Some(PATIENCE));
        if is_tls {
            config = config.tls_config(tls(whom.cafile.as_deref())?);
        }
        let url = whom.url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().into(), url, authorization })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, ())
    }

    pub(super) fn put(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::PUT, path, ())
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::DELETE, path, ())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(&Method::POST, path, body.to_string())
    }

    fn ask(&self, method: &Method, path: &str, body: impl AsSendBody) -> Result<Value, Failure> {
        let mut answer = self.send(method, path, body)?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.failed(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.strange(error))
    }

    fn send(&self, method: &Method, path: &str, body: impl AsSendBody) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.as_str());
        }
        if method != Method::GET {
            request = request.header("x-sol", "1").header("content-type", "application/json");
        }
        let request = request.body(body).map_err(|error| Failure::Usage(format!("--url: {error}")))?;
        let answer = self.agent.run(request).map_err(|error| self.failed(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer)) }
    }

    fn refused(&self, mut answer: Response<Body>) -> Failure {
        let status = answer.status();
        let said = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let said: Value = said.ok().and_then(|said| serde_json::from_slice(&said).ok()).unwrap_or_default();
        if let Some(problems) = said.get("problems").and_then(Value::as_array) {
            let problems = problems.iter().map(|text| text.as_str().unwrap_or_default().to_owned());
            return Failure::Configuration(problems.collect());
        }
        match said.get("error").and_then(Value::as_str) {
            Some(why) if status == 401 => Failure::NotLetIn(why.to_owned()),
            Some(why) => Failure::Refused(why.to_owned()),
            None => self.strange(format!("HTTP {status}")),
        }
    }

    fn failed(&self, error: &ureq::Error) -> Failure {
        let url = self.url.clone();
        match error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Failure::NoListener(url)
            }
            // What rustls finds wrong comes as either.
            ureq::Error::Rustls(_) => self.untrusted(error),
            ureq::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => self.untrusted(error),
            ureq::Error::Protocol(_) | ureq::Error::Io(_) => {
                let why = format!("{error}: is this the address of `http_listener`, and not https?");
                Failure::Unreachable { url, why }
            }
            _ => Failure::Unreachable { url, why: error.to_string() },
        }
    }

    fn untrusted(&self, error: &ureq::Error) -> Failure {
        let why = format!("{error}: --cafile names the authority of its certificate");
        Failure::Unreachable { url: self.url.clone(), why }
    }

    fn strange(&self, why: impl ToString) -> Failure {
        Failure::Strange { url: self.url.clone(), why: why.to_string() }
    }

    /// What an answer says.
    pub(super) fn understand<T: DeserializeOwned>(&self, answer: Value) -> Result<T, Failure> {
        serde_json::from_value(answer).map_err(|error| self.strange(error))
    }

    /// Entries of all pages, up to a limit, as one page: the first has `key` with the entries, and `next`.
    pub(super) fn pages(&self, path: &str, key: &str, limit: usize, page: usize) -> Result<Value, Failure> {
        let mut whole = Value::Null;
        let mut after = String::new();
        let mut left = limit;
        loop {
            let size = left.min(page);
            let separator = if path.contains('?') { '&' } else { '?' };
            let mut answer = self.get(&format!("{path}{separator}limit={size}{after}"))?;
            let next = answer.get("next").cloned().unwrap_or_default();
            let entries = answer.get_mut(key).and_then(Value::as_array_mut).map(std::mem::take);
            let entries = entries.ok_or_else(|| self.strange(format!("it has no `{key}`")))?;
            left = left.saturating_sub(entries.len());
            match whole.get_mut(key).and_then(Value::as_array_mut) {
                Some(all) => all.extend(entries),
                None => {
                    whole = answer;
                    if let Some(all) = whole.get_mut(key) {
                        *all = Value::Array(entries);
                    }
                }
            }
            if let Some(told) = whole.get_mut("next") {
                *told = next.clone();
            }
            match next.as_str() {
                Some(next) if left > 0 => after = format!("&after={}", encoded(next)),
                _ => return Ok(whole),
            }
        }
    }

    /// Server-sent events.
    pub(super) fn events(&self, path: &str) -> Result<Events, Failure> {
        let answer = self.send(&Method::GET, path, ())?;
        Ok(Events { api: self.clone(), lines: BufReader::new(Box::new(answer.into_body().into_reader())) })
    }
}

/// Events as they come.
pub(super) struct Events {
    api: Api,
    lines: BufReader<Box<dyn Read>>,
}

/// One of them.
pub(super) struct Event {
    /// None for those that have no name.
    pub(super) name: Option<String>,
    pub(super) data: Value,
}

impl Events {
    /// Waits for the next one; none if the broker sends no more.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Failure> {
        let mut name = None;
        let mut data = None;
        loop {
            let mut line = Vec::new();
            let read = self.lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            read.map_err(|error| Failure::Unreachable {
                url: self.api.url.clone(),
                why: format!("the stream broke: {error}"),
            })?;
            if line.pop() != Some(b'\n') {
                return if line.is_empty() {
                    Ok(None)
                } else {
                    Err(self.api.strange("an event is not whole"))
                };
            }
            if let Some(text) = line.strip_prefix(b"event: ") {
                name = Some(String::from_utf8_lossy(text).into_owned());
            } else if let Some(text) = line.strip_prefix(b"data: ") {
                data = Some(serde_json::from_slice(text).map_err(|error| self.api.strange(error))?);
            } else if line.is_empty()
                && let Some(data) = data.take()
            {
                return Ok(Some(Event { name, data }));
            }
        }
    }
}

/// A part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether it is one with TLS.
fn check_url(url: &str) -> Result<bool, Failure> {
    let wrong = |what: &str| Failure::Usage(format!("--url {url}: {what}"));
    let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("it must begin with http:// or https://")),
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("a user is given by --user"));
    }
    if uri.query().is_some() {
        return Err(wrong("it must end before a `?`"));
    }
    Ok(is_tls)
}

fn authorization(whom: &Whom) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = &whom.token_file {
        return Ok(Some(Zeroizing::new(format!("Bearer {}", secret(path)?.as_str()))));
    }
    let Some(user) = &whom.user else { return Ok(None) };
    if user.contains(':') {
        return Err(Failure::Usage("--user: a name that goes over HTTP has no colon".to_owned()));
    }
    let password = match &whom.password_file {
        Some(path) => secret(path)?,
        None => rpassword::prompt_password("Password: ").map(Zeroizing::new).map_err(|error| {
            Failure::Usage(format!("the password cannot be asked for: {error}; --password-file has one"))
        })?,
    };
    let both = Zeroizing::new(format!("{user}:{}", password.as_str()));
    let both = Zeroizing::new(Base64::encode_string(both.as_bytes()));
    Ok(Some(Zeroizing::new(format!("Basic {}", both.as_str()))))
}

/// The first line of a file.
fn secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let mut text = Zeroizing::new(String::new());
    let file = fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => Err(wrong("its first line is empty".to_owned())),
        Some(line) if line.contains(char::is_control) => {
            Err(wrong("its first line has control characters".to_owned()))
        }
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
    }
}

/// TLS that trusts the authorities in a file, or the system's.
fn tls(cafile: Option<&Path>) -> Result<TlsConfig, Failure> {
    let certificates: Vec<Certificate<'static>> = match cafile {
        Some(path) => {
            let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
            let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificates = parse_pem(&text).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            let certificates: Vec<_> = certificates.collect();
            if certificates.is_empty() {
                return Err(wrong("it has no certificate (PEM)".to_owned()));
            }
            certificates
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
        }
    };
    let provider = Arc::new(rustls_client::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        assert!(!check_url("http://127.0.0.1:9883").unwrap());
        assert!(check_url("https://[::1]:1/prefix/").unwrap());
        for wrong in ["127.0.0.1:9883", "localhost", "ftp://x", "http://a:b@x", "http://x/?y", "http://", ""]
        {
            assert_eq!(check_url(wrong).unwrap_err().code(), 2, "{wrong}");
        }
    }

    #[test]
    fn every_character_of_a_name_is_its_own_in_a_url() {
        assert_eq!(encoded("a/b ü?#"), "a%2Fb%20%C3%BC%3F%23");
    }
}
