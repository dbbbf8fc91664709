//! Authorities and their certificates, made anew for each test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sol::config::{Tls, TlsVersions};
use tempfile::TempDir;

/// A directory with an authority in it: `ca.pem`.
pub(crate) struct Pki {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
pub(crate) struct Identity {
    pub(crate) certfile: PathBuf,
    pub(crate) keyfile: PathBuf,
    pub(crate) der: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// When a certificate is good.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Over,
    Later,
}

impl Pki {
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn cafile(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub(crate) fn server(&self, name: &str) -> Identity {
        self.identity(name, Validity::Now, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn client(&self, name: &str) -> Identity {
        self.identity(name, Validity::Now, ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(crate) fn identity(
        &self,
        name: &str,
        validity: Validity,
        usage: ExtendedKeyUsagePurpose,
    ) -> Identity {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        match validity {
            Validity::Now => {}
            Validity::Over => params.not_after = date_time_ymd(2001, 2, 3),
            Validity::Later => params.not_before = date_time_ymd(4001, 2, 3),
        }
        let key = KeyPair::generate().unwrap();
        self.write(name, &params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    /// A client's certificate with that subject, in a file of that name.
    pub(crate) fn client_of(&self, name: &str, subject: DistinguishedName) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        self.write(name, &params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    fn write(&self, name: &str, certificate: &Certificate, key: &KeyPair) -> Identity {
        let certfile = self.path(&format!("{name}.pem"));
        let keyfile = self.path(&format!("{name}.key"));
        fs::write(&certfile, certificate.pem()).unwrap();
        fs::write(&keyfile, key.serialize_pem()).unwrap();
        Identity { certfile, keyfile, der: certificate.der().to_vec(), key: key.serialize_der() }
    }
}

impl Identity {
    /// Served with both versions, and nothing asked of clients.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            certfile: self.certfile.clone(),
            keyfile: self.keyfile.clone(),
            cafile: None,
            require_certificate: false,
            versions: TlsVersions::V1_2AndV1_3,
        }
    }

    /// Puts another's files in the place of this one's.
    pub(crate) fn replace_with(&self, other: &Identity) {
        copy(&other.keyfile, &self.keyfile);
        copy(&other.certfile, &self.certfile);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}
