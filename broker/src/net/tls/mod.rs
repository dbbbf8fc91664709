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

/// How the listener there speaks TLS, by what its files say; with where in a client's certificate its user name stands, if
/// it does.
pub(super) fn acceptor(
    endpoint: &Endpoint,
    tls: &Tls,
    user_from: Option<CertificateName>,
) -> Result<Acceptor, StartError> {
    match files::read(tls, user_from) {
        Ok(config) => Ok(config.into()),
        Err(errors) => Err(StartError::Tls { endpoint: endpoint.clone(), errors }),
    }
}
