//! From PEM files to what rustls serves.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::server::{
    AllowAnyAnonymousOrAuthenticatedClient, AllowAnyAuthenticatedClient, NoClientAuth, NoServerSessionStorage,
};
use rustls::sign::{self, SigningKey};
use rustls::{PrivateKey, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::error::TlsError;
use super::identity::Naming;
use crate::config::{CertificateName, Tls, TlsVersions};

/// A signature by a key must be good for the certificate's: one row for each kind of key that rustls signs with.
const PROOFS: [(SignatureScheme, &dyn VerificationAlgorithm); 4] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, &signature::ECDSA_P256_SHA256_ASN1),
    (SignatureScheme::ECDSA_NISTP384_SHA384, &signature::ECDSA_P384_SHA384_ASN1),
    (SignatureScheme::ED25519, &signature::ED25519),
    (SignatureScheme::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
];

/// A certificate and those behind it, and the first of them parsed.
pub(super) type Chain = (Vec<rustls::Certificate>, Certificate);
/// A private key, and what signs with it.
pub(super) type Key = (PrivateKey, Arc<dyn SigningKey>);

/// Reads all the files, and gives everything that is wrong with any.
pub(super) fn read(tls: &Tls, user_from: Option<CertificateName>) -> Result<ServerConfig, Vec<TlsError>> {
    let mut errors = Vec::new();
    let chain = kept(server_chain(&tls.certfile), &mut errors);
    let key = kept(private_key(&tls.keyfile), &mut errors);
    let authorities = kept(authorities(tls), &mut errors);
    errors.extend(mismatch(chain.as_ref().zip(key.as_ref()), &tls.certfile, &tls.keyfile));
    let (Some((chain, _)), Some((key, _)), Some(authorities), true) =
        (chain, key, authorities, errors.is_empty())
    else {
        return Err(errors);
    };
    let verifier = match authorities {
        None => NoClientAuth::boxed(),
        Some(roots) if tls.require_certificate => AllowAnyAuthenticatedClient::new(roots).boxed(),
        // One that is shown must be right all the same.
        Some(roots) => AllowAnyAnonymousOrAuthenticatedClient::new(roots).boxed(),
    };
    let verifier = match user_from {
        None => verifier,
        Some(name) => Arc::new(Naming::new(verifier, name)),
    };
    let config = ServerConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(versions(tls.versions))
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key));
    let mut config = config.map_err(|error| vec![TlsError::Unusable(error.to_string())])?;
    if user_from.is_some() {
        // Who resumes a session shows no certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// The versions as rustls has them.
pub(super) fn versions(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match versions {
        TlsVersions::V1_2 => &V1_2,
        TlsVersions::V1_3 => &V1_3,
        TlsVersions::V1_2AndV1_3 => &BOTH,
    }
}

static V1_2: [&SupportedProtocolVersion; 1] = [&version::TLS12];
static V1_3: [&SupportedProtocolVersion; 1] = [&version::TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

pub(super) fn kept<T>(result: Result<T, TlsError>, errors: &mut Vec<TlsError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn read_file(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read { file: file.to_owned(), source })
}

/// All certificates of a file, of which there must be one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read_file(file)?;
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificates.push(certificate.map_err(|error| malformed(file, certificates.len(), &error))?);
    }
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { file: file.to_owned() });
    }
    Ok(certificates)
}

fn malformed(file: &Path, before: usize, reason: &dyn ToString) -> TlsError {
    TlsError::Certificate { file: file.to_owned(), number: before + 1, reason: reason.to_string() }
}

/// The server's certificate with those behind it, and the first of them parsed. Those behind it may be out of date:
/// clients choose which of them to trust.
pub(super) fn server_chain(file: &Path) -> Result<Chain, TlsError> {
    let mut chain = Vec::new();
    let mut server = None;
    for certificate in certificates(file)? {
        let parsed =
            Certificate::from_der(&certificate).map_err(|error| malformed(file, chain.len(), &error))?;
        server.get_or_insert(parsed);
        chain.push(rustls::Certificate(certificate.to_vec()));
    }
    let server = server.ok_or_else(|| TlsError::NoCertificate { file: file.to_owned() })?;
    let validity = &server.tbs_certificate.validity;
    let now = SystemTime::now();
    if now > validity.not_after.to_system_time() {
        return Err(TlsError::Expired { file: file.to_owned(), until: validity.not_after.to_string() });
    }
    if now < validity.not_before.to_system_time() {
        return Err(TlsError::NotYetValid { file: file.to_owned(), from: validity.not_before.to_string() });
    }
    Ok((chain, server))
}

/// The first private key of a file.
pub(super) fn private_key(file: &Path) -> Result<Key, TlsError> {
    let pem = read_file(file)?;
    let der = match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(der) => der,
        Err(_) if is_encrypted(&pem) => return Err(TlsError::EncryptedKey { file: file.to_owned() }),
        Err(_) => return Err(TlsError::NoKey { file: file.to_owned() }),
    };
    let key = PrivateKey(der.secret_der().to_vec());
    let signing = sign::any_supported_type(&key).map_err(|_| TlsError::Key { file: file.to_owned() })?;
    Ok((key, signing))
}

/// Whether a key that could not be read asks for a passphrase.
fn is_encrypted(pem: &[u8]) -> bool {
    String::from_utf8_lossy(pem)
        .lines()
        .any(|line| line == "-----BEGIN ENCRYPTED PRIVATE KEY-----" || line == "Proc-Type: 4,ENCRYPTED")
}

/// What is wrong with a certificate, the first of its chain, and a key that does not belong to it.
pub(super) fn mismatch(pair: Option<(&Chain, &Key)>, certfile: &Path, keyfile: &Path) -> Option<TlsError> {
    let ((_, certificate), (_, signing)) = pair?;
    let mismatch = || TlsError::Mismatch { keyfile: keyfile.to_owned(), certfile: certfile.to_owned() };
    (!belongs(&**signing, certificate)).then(mismatch)
}

fn belongs(key: &dyn SigningKey, certificate: &Certificate) -> bool {
    let public_key = certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes();
    PROOFS.iter().any(|&(scheme, algorithm)| {
        let signature = key.choose_scheme(&[scheme]).and_then(|signer| signer.sign(b"sol").ok());
        signature.is_some_and(|it| UnparsedPublicKey::new(algorithm, public_key).verify(b"sol", &it).is_ok())
    })
}

/// Whose certificates clients may show.
fn authorities(tls: &Tls) -> Result<Option<RootCertStore>, TlsError> {
    let Some(file) = &tls.cafile else {
        return if tls.require_certificate { Err(TlsError::NoAuthorities) } else { Ok(None) };
    };
    roots(file).map(Some)
}

/// All authorities of a file.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (before, certificate) in certificates(file)?.into_iter().enumerate() {
        let certificate = rustls::Certificate(certificate.to_vec());
        roots.add(&certificate).map_err(|error| malformed(file, before, &error))?;
    }
    Ok(roots)
}
