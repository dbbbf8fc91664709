//! The files that TLS is made of: what is said of them, and reading them again.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rcgen::ExtendedKeyUsagePurpose::ServerAuth;
use sol::codec::{Ack, Packet, PacketId, QoS};
use sol::config::Tls;
use sol::{Broker, Config, Limits, StartError, check_tls};

use crate::client::{broker, client, listener, shown};
use crate::common::publish;
use crate::pki::{Pki, Validity};

/// All that is wrong with the files.
fn said(tls: &Tls) -> Vec<String> {
    check_tls(tls).unwrap_err().iter().map(ToString::to_string).collect()
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

#[test]
fn what_is_wrong_is_said_with_the_file() {
    let pki = Pki::new("authority");
    let server = pki.server("server");
    let good = Tls { cafile: Some(pki.cafile()), require_certificate: true, ..server.tls() };
    check_tls(&good).unwrap();

    let written = |file: &str, text: &str| {
        fs::write(pki.path(file), text).unwrap();
        pki.path(file)
    };
    let missing = pki.path("missing");
    let empty = written("empty", "");
    let torn = written("torn", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let nonsense = written("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let certificate = fs::read_to_string(&server.certfile).unwrap();
    let second_torn = written("second", &(certificate + &fs::read_to_string(&nonsense).unwrap()));

    let no_file = "No such file or directory (os error 2)";
    for (tls, expected) in [
        (
            Tls { certfile: missing.clone(), ..good.clone() },
            format!("cannot read {}: {no_file}", name(&missing)),
        ),
        (
            Tls { keyfile: missing.clone(), ..good.clone() },
            format!("cannot read {}: {no_file}", name(&missing)),
        ),
        (
            Tls { cafile: Some(missing.clone()), ..good.clone() },
            format!("cannot read {}: {no_file}", name(&missing)),
        ),
        (Tls { certfile: empty.clone(), ..good.clone() }, format!("{} has no certificate: ", name(&empty))),
        (
            Tls { cafile: Some(empty.clone()), ..good.clone() },
            format!("{} has no certificate: ", name(&empty)),
        ),
        (
            Tls { certfile: server.keyfile.clone(), ..good.clone() },
            format!("{} has no certificate: ", name(&server.keyfile)),
        ),
        (
            Tls { keyfile: server.certfile.clone(), ..good.clone() },
            format!("{} has no private key: ", name(&server.certfile)),
        ),
        (
            Tls { certfile: torn.clone(), ..good.clone() },
            format!("certificate 1 in {} is malformed: ", name(&torn)),
        ),
        (
            Tls { certfile: nonsense.clone(), ..good.clone() },
            format!("certificate 1 in {} is malformed: ", name(&nonsense)),
        ),
        (
            Tls { cafile: Some(nonsense.clone()), ..good.clone() },
            format!("certificate 1 in {} is malformed: ", name(&nonsense)),
        ),
        (
            Tls { certfile: second_torn.clone(), ..good.clone() },
            format!("certificate 2 in {} is malformed: ", name(&second_torn)),
        ),
        (Tls { cafile: None, ..good.clone() }, "require_certificate needs cafile".to_owned()),
    ] {
        let said = said(&tls);
        assert!(said.len() == 1 && said[0].starts_with(&expected), "{said:?} for {expected}");
    }
}

#[test]
fn a_certificate_out_of_date_is_refused_with_its_date() {
    let pki = Pki::new("authority");
    let over = pki.identity("over", Validity::Over, ServerAuth);
    let expected = format!("the certificate in {} expired at 2001-02-03T00:00:00Z", name(&over.certfile));
    assert_eq!(said(&over.tls()), [expected]);
    let later = pki.identity("later", Validity::Later, ServerAuth);
    let expected = format!("the certificate in {} is not valid before 4001-02-03T00", name(&later.certfile));
    let said = said(&later.tls());
    assert!(said.len() == 1 && said[0].starts_with(&expected), "{said:?}");
}

#[test]
fn another_certificates_key_is_refused() {
    let pki = Pki::new("authority");
    let [one, other] = [pki.server("one"), pki.server("other")];
    let mixed = Tls { keyfile: other.keyfile.clone(), ..one.tls() };
    let expected = format!(
        "the private key in {} does not belong to the certificate in {}",
        name(&other.keyfile),
        name(&one.certfile)
    );
    assert_eq!(said(&mixed), [expected]);
}

/// Keys of every kind that is served, by OpenSSL, in each way it writes them; and those that are not.
#[test]
fn keys_of_all_kinds_are_read() {
    use crate::common::peers::{exit_status, has};

    if !has("openssl", exit_status("openssl", &["version"]).is_some()) {
        return;
    }
    let pki = Pki::new("authority");
    let openssl = |arguments: &str| {
        let arguments: Vec<_> = arguments
            .split(' ')
            .map(|it| if it.contains('.') { name(&pki.path(it)) } else { it.to_owned() })
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        assert!(exit_status("openssl", &arguments).unwrap().success(), "{arguments:?}");
    };
    let tls = |certificate: &str, key: &str| Tls {
        certfile: pki.path(certificate),
        keyfile: pki.path(key),
        ..pki.server("any").tls()
    };
    for kind in
        ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"]
    {
        openssl(&format!(
            "req -x509 -newkey {kind} -nodes -subj /CN=sol -days 9 -keyout key.pem -out cert.pem"
        ));
        check_tls(&tls("cert.pem", "key.pem")).unwrap();
        if kind != "ed25519" {
            openssl("pkey -in key.pem -traditional -out old.pem");
            check_tls(&tls("cert.pem", "old.pem")).unwrap();
        }
    }
    openssl("pkey -in key.pem -aes128 -passout pass:secret -out locked.pem");
    let expected = format!("the private key in {} is encrypted: ", name(&pki.path("locked.pem")));
    let locked = said(&tls("cert.pem", "locked.pem"));
    assert!(locked.len() == 1 && locked[0].starts_with(&expected), "{locked:?}");
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out large.pem");
    let expected = format!("the private key in {} cannot be used: ", name(&pki.path("large.pem")));
    let large = said(&tls("cert.pem", "large.pem"));
    assert!(large.len() == 1 && large[0].starts_with(&expected), "{large:?}");
}

#[test]
fn everything_is_said_at_once_and_nothing_is_listened_on() {
    let pki = Pki::new("authority");
    let missing = |file: &str| pki.path(file);
    let tls = Tls {
        certfile: missing("cert"),
        keyfile: missing("key"),
        cafile: Some(missing("ca")),
        ..pki.server("any").tls()
    };
    let config = Config { listeners: vec![listener(tls.clone())], ..Config::default() };
    let Err(error) = Broker::start(config).map(drop) else { panic!("it started") };
    assert!(matches!(&error, StartError::Tls { errors, .. } if errors.len() == 3), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("cannot speak TLS on 127.0.0.1:0: cannot read "), "{message}");
    for file in [&tls.certfile, &tls.keyfile, &tls.cafile.unwrap()] {
        assert!(message.contains(&name(file)), "{message}");
    }
}

#[test]
fn certificates_are_swapped_under_load_and_nothing_is_lost() {
    const SWAPS: usize = 20;
    let pki = Pki::new("authority");
    let served = pki.server("served");
    let others = [pki.server("one"), pki.server("other")];
    let broker = broker(served.tls(), Limits::default());
    let (address, cafile) = (broker.local_addr(), pki.cafile());

    let mut subscriber = client(address, &cafile, "subscriber");
    subscriber.subscribe("t", QoS::AtLeastOnce);
    let swapped = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut publisher = client(address, &cafile, "publisher");
            let mut sent = 0u32;
            while !swapped.load(Ordering::Relaxed) {
                let payload = sent.to_be_bytes();
                publisher.send(&[Packet::Publish(publish("t", &payload, QoS::AtLeastOnce))]);
                publisher.expect(Packet::Puback(Ack::new(PacketId::MIN)));
                sent += 1;
            }
            // At QoS 0 it might overtake.
            publisher.send(&[Packet::Publish(publish("t", b"end", QoS::AtLeastOnce))]);
            publisher.expect(Packet::Puback(Ack::new(PacketId::MIN)));
            sent
        });
        let subscriber = scope.spawn(|| {
            let mut received = 0u32;
            loop {
                let payload = subscriber.message();
                if payload == b"end" {
                    return received;
                }
                assert_eq!(payload, received.to_be_bytes());
                received += 1;
            }
        });
        for swap in 0..SWAPS {
            let new = &others[swap % 2];
            served.replace_with(new);
            broker.reload().unwrap();
            let mut fresh = client(address, &cafile, "fresh");
            assert_eq!(shown(&fresh), new.der);
            fresh.ping();
        }
        swapped.store(true, Ordering::Relaxed);
        assert_eq!(publisher.join().unwrap(), subscriber.join().unwrap());
    });
}

#[test]
fn what_cannot_be_read_again_stays_as_it_was() {
    let pki = Pki::new("authority");
    let [one, two, three] = ["one", "two", "three"].map(|name| pki.server(name));
    let listeners = [&one, &two, &three].map(|identity| listener(identity.tls())).to_vec();
    let broker = Broker::start(Config { listeners, ..Config::default() }).unwrap();

    let new = pki.server("new");
    fs::remove_file(&one.certfile).unwrap();
    fs::write(&two.keyfile, "").unwrap();
    three.replace_with(&new);
    let error = broker.reload().unwrap_err();
    assert_eq!(error.0.len(), 2, "{error}");
    let message = error.to_string();
    for file in [&one.certfile, &two.keyfile] {
        assert!(message.contains(&name(file)), "{message}");
    }
    // Nor does what could be.
    for (address, expected) in broker.local_addrs().iter().zip([&one.der, &two.der, &three.der]) {
        assert_eq!(shown(&client(*address, &pki.cafile(), "client")), *expected);
    }
}
