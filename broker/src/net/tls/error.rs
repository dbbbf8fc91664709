//! What can be wrong with the files that TLS is made of.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why TLS cannot be spoken as configured: the file, and what is wrong with it.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no certificate in PEM.
    #[error("{} has no certificate: a PEM file with -----BEGIN CERTIFICATE----- is needed", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// A file is no proper PEM, or a certificate in it no proper certificate.
    #[error("certificate {number} in {} is malformed: {reason}", file.display())]
    Certificate {
        /// Which.
        file: PathBuf,
        /// The number of the certificate in it, from 1.
        number: usize,
        /// What the parser said.
        reason: String,
    },
    /// The server's certificate is over: no client would accept it.
    #[error("the certificate in {} expired at {until}", file.display())]
    Expired {
        /// Which.
        file: PathBuf,
        /// Its last moment, UTC.
        until: String,
    },
    /// The server's certificate is for later: no client would accept it now.
    #[error("the certificate in {} is not valid before {from}; is this machine's clock right?", file.display())]
    NotYetValid {
        /// Which.
        file: PathBuf,
        /// Its first moment, UTC.
        from: String,
    },
    /// A file holds no private key in PEM.
    #[error("{} has no private key: a PEM file with -----BEGIN PRIVATE KEY----- is needed", file.display())]
    NoKey {
        /// Which.
        file: PathBuf,
    },
    /// The private key asks for a passphrase, and nobody is there to give it.
    #[error(
        "the private key in {} is encrypted: decrypt it with `openssl pkey -in FILE -out NEW`",
        file.display()
    )]
    EncryptedKey {
        /// Which.
        file: PathBuf,
    },
    /// The private key is malformed, or of a kind that is not served.
    #[error(
        "the private key in {} cannot be used: RSA of 2048 bits or more, ECDSA P-256 or P-384 and Ed25519 can",
        file.display()
    )]
    Key {
        /// Which.
        file: PathBuf,
    },
    /// The private key is another certificate's.
    #[error("the private key in {} does not belong to the certificate in {}", keyfile.display(), certfile.display())]
    Mismatch {
        /// Where the key is.
        keyfile: PathBuf,
        /// Where the certificate is.
        certfile: PathBuf,
    },
    /// A client must show a certificate, and there is none to hold it against.
    #[error("require_certificate needs cafile: the authorities that sign clients' certificates")]
    NoAuthorities,
    /// The TLS library refuses what the files hold.
    #[error("TLS cannot be set up: {0}")]
    Unusable(String),
}

impl TlsError {
    /// The file to look at first, if it is about one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { file, .. }
            | Self::NoCertificate { file }
            | Self::Certificate { file, .. }
            | Self::Expired { file, .. }
            | Self::NotYetValid { file, .. }
            | Self::NoKey { file }
            | Self::EncryptedKey { file }
            | Self::Key { file }
            | Self::Mismatch { keyfile: file, .. } => Some(file),
            Self::NoAuthorities | Self::Unusable(_) => None,
        }
    }
}
