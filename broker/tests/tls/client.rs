//! A blocking TLS client, and a broker for it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::{Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, StreamOwned, version};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sol::config::{Listener, Tls};
use sol::{Broker, Config, Limits};

use crate::common::{Client, PATIENCE, connect};
use crate::pki::Identity;

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1_2,
    V1_3,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::V1_2, Version::V1_3];

pub(crate) fn listener(tls: Tls) -> Listener {
    Listener { tls: Some(tls), ..Listener::from(SocketAddr::from(([127, 0, 0, 1], 0))) }
}

pub(crate) fn broker(tls: Tls, limits: Limits) -> Broker {
    Broker::start(Config { listeners: vec![listener(tls)], limits, ..Config::default() }).unwrap()
}

/// A connection whose handshake begins with the first use. It trusts the authorities of `cafile`.
pub(crate) fn open(
    address: SocketAddr,
    cafile: &Path,
    version: Version,
    identity: Option<&Identity>,
) -> Client<Stream> {
    open_with(address, config(cafile, version, identity))
}

/// The same; what the configuration remembers of an earlier connection is used.
pub(crate) fn open_with(address: SocketAddr, config: Arc<ClientConfig>) -> Client<Stream> {
    let tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    Client::over(StreamOwned::new(tls, Client::open(address).stream))
}

pub(crate) fn config(cafile: &Path, version: Version, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(&Certificate(CertificateDer::from_pem_file(cafile).unwrap().to_vec())).unwrap();
    let versions = match version {
        Version::V1_2 => [&version::TLS12],
        Version::V1_3 => [&version::TLS13],
    };
    let builder = ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { der, key, .. }) => {
            builder.with_client_auth_cert(vec![Certificate(der.clone())], PrivateKey(key.clone())).unwrap()
        }
    };
    Arc::new(config)
}

/// Connected, by TLS 1.3 without a certificate.
pub(crate) fn client(address: SocketAddr, cafile: &Path, client_id: &str) -> Client<Stream> {
    let mut client = open(address, cafile, Version::V1_3, None);
    client.say_connect(connect(client_id), false);
    client
}

/// Tries to connect and to get an answer.
pub(crate) fn attempt(
    address: SocketAddr,
    cafile: &Path,
    version: Version,
    identity: Option<&Identity>,
) -> io::Result<()> {
    use std::io::{Read, Write};

    let mut stream = open(address, cafile, version, identity).stream;
    stream.write_all(&crate::common::encode(&[sol::codec::Packet::Connect(connect("attempt"))]))?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack)?;
    assert_eq!(connack, [0x20, 2, 0, 0]);
    Ok(())
}

/// The certificate that the broker showed.
pub(crate) fn shown(client: &Client<Stream>) -> Vec<u8> {
    client.stream.conn.peer_certificates().unwrap()[0].0.clone()
}

/// The patience of sockets that are not a [`Client`]'s.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}
