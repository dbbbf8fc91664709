//! TLS over TCP, with rustls.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Plain, Transport, lock};

/// Whom to believe, and as whom to come. Files are PEM.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The authorities that may have signed the broker's certificate; none are the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate, if the broker wants one.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Takes any certificate of the broker's, also an expired one or another's.
    pub insecure: bool,
}

/// Why TLS cannot be spoken as told.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate without a key, or the other way round.
    #[error("a client certificate and its key go together: one of the two is missing")]
    HalfAnIdentity,
    /// A host that no certificate can be for.
    #[error("{0:?} is no name that a certificate could be for")]
    Host(String),
    /// rustls refuses.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

impl Trust {
    /// Reads `BROKER_CA`, `BROKER_CERT`, `BROKER_KEY` and `BROKER_INSECURE=1` through `variable`.
    pub fn configured(variable: impl Fn(&str) -> Option<String>) -> Self {
        let file = |name| variable(name).map(PathBuf::from);
        Trust {
            ca: file("BROKER_CA"),
            certificate: file("BROKER_CERT"),
            key: file("BROKER_KEY"),
            insecure: variable("BROKER_INSECURE").as_deref() == Some("1"),
        }
    }

    /// TLS with the broker on this host.
    ///
    /// # Errors
    /// A file that cannot be read, or has nothing usable in it.
    pub fn tls(&self, host: &str) -> Result<Tls, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host(host.to_owned()))?;
        let provider = Arc::new(crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let private = PrivateKeyDer::from_pem_file(key).map_err(|reason| unusable(key, reason))?;
                builder.with_client_auth_cert(certificates(certificate)?, private)?
            }
            _ => return Err(TlsError::HalfAnIdentity),
        };
        Ok(Tls { config: Arc::new(config), name })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|reason| unusable(path, reason))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all.map_err(|reason| unusable(path, reason))? {
        none if none.is_empty() => Err(unusable(path, "there is no certificate in it")),
        all => Ok(all),
    }
}

fn unusable(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

/// How TLS is spoken with one broker.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn shake_hands(&self, plain: Plain, deadline: Duration) -> io::Result<Sealed> {
        let mut tls =
            ClientConnection::new(self.config.clone(), self.name.clone()).map_err(io::Error::other)?;
        plain.set_read_timeout(Some(deadline))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut &plain.socket)?;
        }
        plain.set_read_timeout(None)?;
        let session = Mutex::new(Session { tls, came: VecDeque::new() });
        Ok(Sealed { plain, session, sending: Mutex::default() })
    }
}

/// The bytes of a TLS connection.
///
/// No lock is held while the network is waited for, but `sending`: a broker that waits until it is read from does not keep
/// the reading thread from doing so.
#[derive(Debug)]
pub(super) struct Sealed {
    plain: Plain,
    session: Mutex<Session>,
    /// Held for a whole write, so that records go out in the order in which they were sealed.
    sending: Mutex<()>,
}

#[derive(Debug)]
struct Session {
    tls: ClientConnection,
    /// What came and is not opened yet.
    came: VecDeque<u8>,
}

/// How much is sealed and read at a time: one record.
const PIECE_BYTES: usize = 16 * 1024;

impl Sealed {
    /// Sends what the session has for the other side. With `sending` held.
    fn flush(&self, change: impl FnOnce(&mut ClientConnection) -> io::Result<()>) -> io::Result<()> {
        let mut sealed = Vec::new();
        let mut session = lock(&self.session);
        change(&mut session.tls)?;
        while session.tls.wants_write() {
            session.tls.write_tls(&mut sealed)?;
        }
        drop(session);
        self.plain.write_all(&sealed)
    }
}

impl Transport for Sealed {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut session = lock(&self.session);
            match session.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Many brokers end a connection without saying so in TLS.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if session.came.is_empty() {
                drop(session);
                let mut piece = [0; PIECE_BYTES];
                let length = self.plain.read(&mut piece)?;
                session = lock(&self.session);
                session.came.extend(piece.get(..length).unwrap_or_default());
            }
            let Session { tls, came } = &mut *session;
            tls.read_tls(came)?;
            // A broker may well close with an alert.
            tls.process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
        }
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let _sending = lock(&self.sending);
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.flush(|tls| tls.writer().write_all(piece)))
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.plain.set_read_timeout(time)
    }

    fn finish(&self) -> io::Result<()> {
        let _sending = lock(&self.sending);
        let said = self.flush(|tls| {
            tls.send_close_notify();
            Ok(())
        });
        said.and(self.plain.finish())
    }

    fn close(&self) {
        self.plain.close();
    }
}

/// Looks at no certificate, but still wants its owner to have signed the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
