//! The same over TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{Certificate, ClientConfig, ClientConnection, RootCertStore, ServerName, StreamOwned};
use sol::Limits;
use sol::config::{Http, Tls, TlsVersions};

use crate::broker_with;
use crate::client::{answer, open};

fn certificate(directory: &std::path::Path) -> (Tls, Vec<u8>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certfile, keyfile) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certfile, cert.pem()).unwrap();
    std::fs::write(&keyfile, signing_key.serialize_pem()).unwrap();
    let versions = TlsVersions::V1_2AndV1_3;
    let tls = Tls { certfile, keyfile, cafile: None, require_certificate: false, versions };
    (tls, cert.der().to_vec())
}

#[test]
fn https_is_http_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (tls, der) = certificate(directory.path());
    let http = Http { tls: Some(tls), ..Http::on("127.0.0.1:0".parse().unwrap()) };
    let broker = broker_with(Limits::default(), http);
    let connect = |der: &[u8]| {
        let mut roots = RootCertStore::empty();
        roots.add(&Certificate(der.to_vec())).unwrap();
        let config =
            ClientConfig::builder().with_safe_defaults().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(client, open(broker.http_addrs()[0]))
    };
    let status = |mut stream: StreamOwned<ClientConnection, TcpStream>| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
        // The end may come without the word that TLS has for it.
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..n]);
        }
        std::io::Result::Ok(answer(&*all).status)
    };
    assert_eq!(status(connect(&der)).unwrap(), 200);
    // Plain HTTP is not answered.
    let mut plain = open(broker.http_addrs()[0]);
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut said = Vec::new();
    _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"));
    // A new certificate is read on reload.
    let (_, new) = certificate(directory.path());
    broker.reload().unwrap();
    assert!(status(connect(&der)).is_err());
    assert_eq!(status(connect(&new)).unwrap(), 200);
}
