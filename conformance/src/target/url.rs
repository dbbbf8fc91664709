//! `BROKER_URL`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::{Credentials, TargetError};
use crate::transport::{Endpoint, Trust, WebSocket};

/// The path of WebSocket unless one is written.
const PATH: &str = "/mqtt";

/// What a URL says: `mqtt://[user[:password]@]host[:port]`, `mqtts://…`, `ws://…[/path]`, `wss://…`, `unix:///path`.
pub(super) fn parse(url: &str, trust: &Trust) -> Result<(Endpoint, Option<Credentials>), TargetError> {
    let bad = || TargetError::Url(without_password(url));
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let (default_port, is_tls) = match scheme {
        "mqtt" | "tcp" => (1883, false),
        "mqtts" | "ssl" | "tls" => (8883, true),
        "ws" => (80, false),
        "wss" => (443, true),
        "unix" if rest.starts_with('/') => return Ok((Endpoint::Unix(PathBuf::from(rest)), None)),
        _ => return Err(bad()),
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let is_websocket = scheme.starts_with("ws");
    let (host_port, path) = match place.find('/') {
        Some(at) if is_websocket => place.split_at(at),
        _ => (place.trim_end_matches('/'), PATH),
    };
    let (host, port) = match host_port.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (host_port, default_port),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains('/') {
        return Err(bad());
    }
    let credentials = user.map(credentials).transpose().map_err(|()| bad())?;
    let address = address(host, port)?;
    let below = if is_tls { Endpoint::Tls(address, trust.tls(host)?) } else { Endpoint::Tcp(address) };
    let endpoint = if is_websocket {
        let websocket = WebSocket::at(&format!("{scheme}://{host_port}{path}")).ok_or_else(bad)?;
        Endpoint::WebSocket(Box::new(below), websocket)
    } else {
        below
    };
    Ok((endpoint, credentials))
}

fn address(host: &str, port: u16) -> Result<SocketAddr, TargetError> {
    let unknown = |reason| TargetError::Unknown { host: host.to_owned(), reason };
    let all = (host, port).to_socket_addrs().map_err(unknown)?;
    // Of `localhost`, the address that is listened on more often.
    all.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))
}

/// `user:password`, with `%40` for `@` and the like. The password may be any bytes, and may be missing.
fn credentials(text: &str) -> Result<Credentials, ()> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (text, None),
    };
    let username = percent_decode_str(username).decode_utf8().map_err(|_| ())?.into_owned();
    Ok(Credentials { username, password: password.map(|text| percent_decode_str(text).collect()) })
}

/// The URL as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    let shown = |(scheme, rest): (&str, &str)| match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(name, _)| name);
            format!("{scheme}://{user}@{host}")
        }
        None => url.to_owned(),
    };
    url.split_once("://").map_or_else(|| url.to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> (String, Option<Credentials>) {
        let trust = Trust { insecure: true, ..Trust::default() };
        let (endpoint, credentials) = parse(url, &trust).expect("good");
        (endpoint.to_string(), credentials)
    }

    #[test]
    fn reads_where() {
        for (url, endpoint) in [
            ("mqtt://127.0.0.1:1884", "127.0.0.1:1884"),
            ("mqtt://127.0.0.1/", "127.0.0.1:1883"),
            ("mqtt://[::1]", "[::1]:1883"),
            ("mqtt://[::1]:1884", "[::1]:1884"),
            ("mqtts://127.0.0.1", "127.0.0.1:8883 (TLS)"),
            ("mqtts://[::1]:1884", "[::1]:1884 (TLS)"),
            ("ws://127.0.0.1:9001", "127.0.0.1:9001 (WebSocket, /mqtt)"),
            ("ws://u:p/q@127.0.0.1/", "127.0.0.1:80 (WebSocket, /)"),
            ("wss://[::1]/a/b?c", "[::1]:443 (TLS) (WebSocket, /a/b)"),
            ("unix:///run/sol.sock", "/run/sol.sock"),
        ] {
            assert_eq!(read(url).0, endpoint, "{url}");
        }
    }

    #[test]
    fn reads_who() {
        let who = |username: &str, password: Option<&[u8]>| {
            Some(Credentials { username: username.to_owned(), password: password.map(<[u8]>::to_vec) })
        };
        assert_eq!(read("mqtt://127.0.0.1").1, None);
        assert_eq!(read("mqtt://u@127.0.0.1").1, who("u", None));
        assert_eq!(read("wss://u:p@127.0.0.1/path").1, who("u", Some(b"p")));
        assert_eq!(read("mqtt://u:@127.0.0.1").1, who("u", Some(b"")));
        assert_eq!(read("mqtt://u:p:@q@127.0.0.1").1, who("u", Some(b"p:@q")));
        assert_eq!(read("mqtt://%c3%bc%40:%ff%3A@127.0.0.1").1, who("ü@", Some(b"\xff:")));
    }

    #[test]
    fn refuses_other_forms_and_keeps_the_password_to_itself() {
        for bad in [
            "127.0.0.1:1883",
            "http://127.0.0.1",
            "mqtt://",
            "mqtt://127.0.0.1:port",
            "mqtt://127.0.0.1/mqtt",
            "ws:///mqtt",
            "ws://127.0.0.1/two words",
            "unix://relative",
        ] {
            let error = parse(bad, &Trust::default()).expect_err("bad");
            assert!(matches!(&error, TargetError::Url(shown) if shown == bad), "{bad}: {error}");
        }
        let error = parse("mqtt://u:secret@:1883", &Trust::default()).expect_err("bad").to_string();
        assert!(error.contains("mqtt://u@:1883") && !error.contains("secret"), "{error}");
    }
}
