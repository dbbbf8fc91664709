//! The client's side: what a bridge speaks TLS by, over a socket that does not block.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::{ServerCertVerified, ServerCertVerifier, WebPkiVerifier};
use rustls::{Certificate, CertificateError, ClientConfig, ClientConnection, Error, ServerName};

use super::error::TlsError;
use super::files::{kept, mismatch, private_key, roots, server_chain, versions};
use crate::config::BridgeTls;

/// How TLS is spoken with one other broker.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Reads all the files, and gives everything that is wrong with any.
    pub(crate) fn read(tls: &BridgeTls) -> Result<Self, Vec<TlsError>> {
        let mut errors = Vec::new();
        let roots = kept(roots(&tls.cafile), &mut errors);
        let identity = tls.identity.as_ref().map(|(certfile, keyfile)| {
            let chain = kept(server_chain(certfile), &mut errors);
            let key = kept(private_key(keyfile), &mut errors);
            errors.extend(mismatch(chain.as_ref().zip(key.as_ref()), certfile, keyfile));
            (chain, key)
        });
        let (Some(roots), true) = (roots, errors.is_empty()) else { return Err(errors) };
        let unusable = |error: Error| vec![TlsError::Unusable(error.to_string())];
        let verifier = WebPkiVerifier::new(roots, None);
        let verifier: Arc<dyn ServerCertVerifier> =
            if tls.is_insecure { Arc::new(AnyName(verifier)) } else { Arc::new(verifier) };
        let builder = ClientConfig::builder()
            .with_safe_default_cipher_suites()
            .with_safe_default_kx_groups()
            .with_protocol_versions(versions(tls.versions))
            .map_err(unusable)?
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some((Some((chain, _)), Some((key, _)))) => {
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Self { config: Arc::new(config) })
    }

    /// A new connection to the server of that name.
    pub(crate) fn connection(&self, host: &str) -> io::Result<Secured> {
        let name = ServerName::try_from(host)
            .map_err(|_| io::Error::other(format!("{host:?} is no name that a certificate can have")))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(Secured(connection.into()))
    }
}

/// One connection's state.
pub(crate) struct Secured(Box<ClientConnection>);

impl Secured {
    /// Reads what came; [`io::ErrorKind::WouldBlock`] if nothing has.
    pub(crate) fn read(&mut self, mut socket: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Closed without the word that TLS has for it: usual, and MQTT has its own.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            // 0 is told by the reader.
            self.0.read_tls(&mut socket)?;
            self.0
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Takes what it has room for.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writer().write(bytes)
    }

    /// Whether something is to be written, of the handshake or of what was taken.
    pub(crate) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Writes what it has taken, or some of it.
    pub(crate) fn flush(&mut self, mut socket: impl Write) -> io::Result<usize> {
        self.0.write_tls(&mut socket)
    }

    /// Says that nothing more will be written.
    pub(crate) fn close(&mut self) {
        self.0.send_close_notify();
    }
}

/// A certificate must be signed by an authority, and may be for another name.
struct AnyName(WebPkiVerifier);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &Certificate,
        intermediates: &[Certificate],
        server_name: &ServerName,
        scts: &mut dyn Iterator<Item = &[u8]>,
        ocsp_response: &[u8],
        now: SystemTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0.verify_server_cert(end_entity, intermediates, server_name, scts, ocsp_response, now);
        match verified {
            // The name is looked at last.
            Err(Error::InvalidCertificate(CertificateError::NotValidForName)) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }
}
