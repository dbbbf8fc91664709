//! TLS, by async-tls: nothing outside this folder knows of it but the types made public here.
//!
//! async-tls 0.13 stands on rustls 0.21, whose certificate parser is no longer mended; `deny.toml` names what is
//! known of it, and why it cannot be reached. Revocation lists are never read.

mod client;
mod error;
mod files;
mod identity;
mod stream;

pub(super) use async_tls::TlsAcceptor as Acceptor;
use parking_lot::RwLock;

use super::StartError;
use crate::config::{BridgeTls, CertificateName, Endpoint, Tls};
pub(crate) use client::{Client, Secured};
pub use error::TlsError;
pub(super) use stream::Secure;

/// Reads the files that a listener's TLS is made of, and tells everything that is wrong with them.
///
/// # Errors
///
/// Each file that cannot be used, with the reason.
pub fn check_tls(tls: &Tls) -> Result<(), Vec<TlsError>> {
    files::read(tls, None).map(drop)
}

/// Reads the files that a bridge's TLS is made of, and tells everything that is wrong with them.
///
/// # Errors
///
/// Each file that cannot be used, with the reason.
pub fn check_bridge_tls(tls: &BridgeTls) -> Result<(), Vec<TlsError>> {
    Client::read(tls).map(drop)
}

/// How one listener speaks TLS.
pub(super) struct Terms {
    endpoint: Endpoint,
    tls: Tls,
    user_from: Option<CertificateName>,
    /// For handshakes from now on.
    acceptor: RwLock<Acceptor>,
}

impl Terms {
    /// With where in a client's certificate its user name stands, if it does.
    pub(super) fn new(
        endpoint: Endpoint,
        tls: Tls,
        user_from: Option<CertificateName>,
    ) -> Result<Self, StartError> {
        match files::read(&tls, user_from) {
            Ok(config) => Ok(Self { endpoint, tls, user_from, acceptor: RwLock::new(config.into()) }),
            Err(errors) => Err(StartError::Tls { endpoint, errors }),
        }
    }

    pub(super) fn acceptor(&self) -> Acceptor {
        self.acceptor.read().clone()
    }

    /// Reads the files again. If they cannot be used, what was read before stays in use.
    pub(super) fn reload(&self) -> Result<(), StartError> {
        match files::read(&self.tls, self.user_from) {
            Ok(config) => {
                *self.acceptor.write() = config.into();
                Ok(())
            }
            Err(errors) => Err(StartError::Tls { endpoint: self.endpoint.clone(), errors }),
        }
    }
}
