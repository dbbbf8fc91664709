//! Who a client is, by its certificate.
//!
//! async-tls shows nobody the certificate, so whoever verifies it leaves the name in a place of the thread's own, and
//! whoever drives the handshake takes it from there, in the same call.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::HandshakeSignatureValid;
use rustls::server::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{
    Ia5StringRef, ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef,
};
use x509_cert::der::{Decode, Tag, Tagged};

use crate::config::CertificateName;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

thread_local! {
    static NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Calls it, and gives with what comes of that the name in the certificate that was verified meanwhile, if any was.
pub(super) fn named<T>(handshake: impl FnOnce() -> T) -> (T, Option<Box<str>>) {
    NAME.take();
    let done = handshake();
    (done, NAME.take())
}

/// Verifies as another does, and leaves the name for [`named`].
pub(super) struct Naming {
    verifier: Arc<dyn ClientCertVerifier>,
    name: CertificateName,
}

impl Naming {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>, name: CertificateName) -> Self {
        Self { verifier, name }
    }
}

impl ClientCertVerifier for Naming {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn client_auth_root_subjects(&self) -> &[DistinguishedName] {
        self.verifier.client_auth_root_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &rustls::Certificate,
        intermediates: &[rustls::Certificate],
        now: SystemTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        NAME.set(name(&end_entity.0, self.name));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::Certificate,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::Certificate,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The user name in a certificate; none if it has none that can be one.
fn name(der: &[u8], name: CertificateName) -> Option<Box<str>> {
    let subject = Certificate::from_der(der).ok()?.tbs_certificate.subject;
    let name = match name {
        CertificateName::Subject => subject.to_string(),
        CertificateName::CommonName => {
            let mut parts = subject.0.iter().flat_map(|parts| parts.0.iter());
            text(parts.find(|part| part.oid == COMMON_NAME)?)?.to_owned()
        }
    };
    // As in a packet.
    (!name.is_empty() && !name.contains('\0')).then(|| name.into())
}

fn text(part: &AttributeTypeAndValue) -> Option<&str> {
    let value = &part.value;
    match value.tag() {
        Tag::Utf8String => Utf8StringRef::try_from(value).ok().map(|text| text.as_str()),
        Tag::PrintableString => PrintableStringRef::try_from(value).ok().map(|text| text.as_str()),
        Tag::Ia5String => Ia5StringRef::try_from(value).ok().map(|text| text.as_str()),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok().map(|text| text.as_str()),
        _ => None,
    }
}
