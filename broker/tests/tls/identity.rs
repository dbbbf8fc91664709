//! User names from clients' certificates.

use std::process::Command;

use rcgen::{DistinguishedName, DnType};
use sol::codec::{Connack, Connect, Packet, Property, Reason};
use sol::config::{CertificateName, Listener, Tls};
use sol::{Broker, Config, StartError};

use crate::client::{VERSIONS, config, listener, open, open_with};
use crate::common::peers::{exit_status, has};
use crate::common::{Client, connect, v5};
use crate::pki::{Identity, Pki};

/// A broker whose client identifiers are the names in the certificates, so that CONNACK tells them.
fn start(pki: &Pki, name: CertificateName, require_certificate: bool) -> Result<Broker, StartError> {
    let tls = Tls { cafile: Some(pki.cafile()), require_certificate, ..pki.server("server").tls() };
    let listener = Listener {
        // Nobody has a password.
        allow_anonymous: false,
        user_from_certificate: Some(name),
        user_as_client_id: true,
        ..listener(tls)
    };
    Broker::start(Config { listeners: vec![listener], ..Config::default() })
}

fn broker(pki: &Pki, name: CertificateName) -> Broker {
    start(pki, name, true).unwrap()
}

/// Who the broker takes a client for that says something else; none if it refuses it.
fn taken_for<S: std::io::Read + std::io::Write>(mut client: Client<S>) -> Option<String> {
    let connect = Connect {
        user_name: Some("somebody else"),
        password: Some(b"secret"),
        clean_session: true,
        ..v5::connect("")
    };
    client.send(&[Packet::Connect(connect)]);
    let Packet::Connack(connack) = client.receive() else { panic!("no CONNACK") };
    if connack.reason != Reason::Success {
        assert_eq!(connack.reason, Reason::BadUserNameOrPassword);
        return None;
    }
    let mut names = connack.properties.iter().filter_map(|property| match property {
        Property::AssignedClientIdentifier(name) => Some(name.to_owned()),
        _ => None,
    });
    Some(names.next().unwrap())
}

fn subject(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    parts.iter().for_each(|(kind, text)| subject.push(kind.clone(), *text));
    subject
}

#[test]
fn the_common_name_is_the_user_whatever_connect_says() {
    let pki = Pki::new("authority");
    let broker = broker(&pki, CertificateName::CommonName);
    let long = "ä".repeat(40);
    for (file, name) in [("anna", "anna"), ("bert", "bert/ü +#"), ("long", &long)] {
        let parts = [(DnType::OrganizationName, "Example"), (DnType::CommonName, name)];
        let identity = pki.client_of(file, subject(&parts));
        for version in VERSIONS {
            let client = open(broker.local_addr(), &pki.cafile(), version, Some(&identity));
            assert_eq!(taken_for(client).as_deref(), Some(name), "{version:?}");
        }
    }
}

#[test]
fn a_certificate_without_a_name_lets_nobody_in() {
    let pki = Pki::new("authority");
    let broker = broker(&pki, CertificateName::CommonName);
    let unnamed = pki.client_of("unnamed", subject(&[(DnType::OrganizationName, "Example")]));
    let zero = pki.client_of("zero", subject(&[(DnType::CommonName, "anna\0.example")]));
    for identity in [&unnamed, &zero] {
        for version in VERSIONS {
            let client = open(broker.local_addr(), &pki.cafile(), version, Some(identity));
            assert_eq!(taken_for(client), None, "{version:?}");
        }
    }
    let mut old = open(broker.local_addr(), &pki.cafile(), VERSIONS[0], Some(&unnamed));
    old.send(&[Packet::Connect(connect("c"))]);
    old.expect(Packet::Connack(Connack::new(false, Reason::BadUserNameOrPassword)));
}

#[test]
fn who_comes_again_shows_the_certificate_again() {
    let pki = Pki::new("authority");
    let broker = broker(&pki, CertificateName::CommonName);
    let anna = pki.client("anna");
    for version in VERSIONS {
        // It would resume its session with TLS, if the broker let it.
        let config = config(&pki.cafile(), version, Some(&anna));
        for _ in 0..3 {
            let client = open_with(broker.local_addr(), config.clone());
            assert_eq!(taken_for(client).as_deref(), Some("anna"), "{version:?}");
        }
    }
}

#[test]
fn a_certificate_must_be_required_for_that() {
    let pki = Pki::new("authority");
    let error = start(&pki, CertificateName::CommonName, false).err().unwrap();
    assert!(matches!(error, StartError::NoCertificates(_)), "{error}");
}

/// The subject as OpenSSL writes it, as mosquitto does.
fn of_openssl(identity: &Identity) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in"])
        .arg(&identity.certfile)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end().trim_start_matches("subject=").to_owned()
}

#[test]
fn the_whole_subject_is_written_as_openssl_writes_it() {
    if !has("openssl", exit_status("openssl", &["version"]).is_some()) {
        return;
    }
    let pki = Pki::new("authority");
    let broker = broker(&pki, CertificateName::Subject);
    for (file, parts) in [
        ("simple", vec![(DnType::CommonName, "anna")]),
        (
            "full",
            vec![
                (DnType::CountryName, "DE"),
                (DnType::StateOrProvinceName, "Berlin"),
                (DnType::LocalityName, "Mitte"),
                (DnType::OrganizationName, "Example"),
                (DnType::OrganizationalUnitName, "Unit 1"),
                (DnType::CommonName, "anna b"),
            ],
        ),
        ("marks", vec![(DnType::OrganizationName, "a, b = c; <d> \"e\""), (DnType::CommonName, "#x\\y ")]),
    ] {
        let identity = pki.client_of(file, subject(&parts));
        let client = open(broker.local_addr(), &pki.cafile(), VERSIONS[1], Some(&identity));
        assert_eq!(taken_for(client), Some(of_openssl(&identity)));
    }
}
