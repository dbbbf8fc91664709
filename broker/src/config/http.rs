//! Where the broker tells of itself by HTTP, and whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Tls;

/// The HTTP side of the broker: figures, and what an operator does by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Where to listen. Port 0 takes a free one; none at all is no HTTP.
    pub addresses: Vec<SocketAddr>,
    /// Holds the token that lets in whoever has it.
    pub token_file: Option<PathBuf>,
    /// Users that are let in, and their passwords' hashes.
    pub password_file: Option<PathBuf>,
    /// HTTPS, and how; none is plain HTTP.
    pub tls: Option<Tls>,
}

impl Http {
    /// Plain HTTP at one address.
    pub fn on(address: SocketAddr) -> Self {
        Self { addresses: vec![address], ..Self::default() }
    }

    /// Whether everybody who reaches it is let in.
    pub fn is_open(&self) -> bool {
        self.token_file.is_none() && self.password_file.is_none()
    }

    /// The first address that other machines may reach though nobody is asked who they are.
    pub fn unguarded(&self) -> Option<SocketAddr> {
        self.addresses.iter().find(|address| self.is_open() && !address.ip().is_loopback()).copied()
    }
}
