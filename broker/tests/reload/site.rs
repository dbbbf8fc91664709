//! A broker whose configuration and files are others each time.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use sol::auth::{Hash, Make};
use sol::codec::{Connect, Packet, Property, Reason, Version};

use crate::client::{client, shown};
use crate::common::process::{Place, Sol, listens_on};
use crate::common::{Client, PATIENCE, connect};
use crate::pki::{Identity, Pki};

/// The broker, its configuration and its files.
pub(crate) struct Site {
    files: Files,
    pub(crate) sol: Sol,
    pub(crate) plain: SocketAddr,
    tls: SocketAddr,
    /// The certificate that is shown there.
    certificate: Vec<u8>,
    http: SocketAddr,
    extra: Option<SocketAddr>,
    /// Which configuration holds.
    pub(crate) number: usize,
}

struct Files {
    place: Place,
    pki: Pki,
    served: Identity,
}

impl Files {
    /// What all of it says the nth time.
    fn configuration(&self, n: usize) -> String {
        let (even, level) = (n % 2, if n.is_multiple_of(2) { "INFO" } else { "DEBUG" });
        let broker = format!(
            "http_listener 127.0.0.1:0\nhttp_token_file $D/token-{even}\nlog_level {level}\nlog_dest stderr\n\
             log_dest file $D/log-{even}\npassword_file $D/passwords\nacl_file $D/acl-{even}\nallow_anonymous true\n\
             max_topic_alias {}\nmax_queued_messages {}\nmax_inflight_messages {}\nmax_memory {}MB\n\
             max_connections_per_address {}\nstats_publish_interval {}s\nresponse_information replies/{n}\n\
             server_reference other-{n}\nthreads {}\n",
            n + 1,
            1000 + n,
            20 + n % 10,
            512 + n,
            5000 + n,
            1 + n % 5,
            if n == 0 { 2 } else { 3 },
        );
        let listener = format!(
            "listener 0 127.0.0.1\nmax_connections {}\nmax_publish_messages_per_second {}\ntcp_backlog {}\n",
            4000 + n,
            100_000 * even,
            128 + n,
        );
        let (certfile, keyfile) = (self.served.certfile.display(), self.served.keyfile.display());
        let extra = if even == 1 { listener.as_str() } else { "" };
        format!("{broker}{listener}{listener}certfile {certfile}\nkeyfile {keyfile}\n{extra}")
    }

    fn write(&self, n: usize) {
        self.place.configure(&self.configuration(n));
        let password = Hash::make(password(n).as_bytes(), Make::Crypt, [0; 12]).unwrap();
        fs::write(self.place.path("passwords"), format!("anna:{password}\n")).unwrap();
        let acl = format!("topic own/#\ntopic read only/#\ntopic write only/{n}\nuser anna\ntopic own/#\n");
        fs::write(self.place.path(&format!("acl-{}", n % 2)), acl).unwrap();
        fs::write(self.place.path(&format!("token-{}", n % 2)), token(n)).unwrap();
        self.served.replace_with(&self.identity(n));
    }

    fn certificate(&self) -> Vec<u8> {
        let served = fs::read(&self.served.certfile).unwrap();
        CertificateDer::from_pem_slice(&served).unwrap().to_vec()
    }

    fn identity(&self, n: usize) -> Identity {
        self.pki.server(&format!("server-{n}"))
    }
}

fn password(n: usize) -> String {
    format!("secret-{n}")
}

fn token(n: usize) -> String {
    format!("the-token-of-number-{n}")
}

impl Site {
    pub(crate) fn new() -> Self {
        let pki = Pki::new("authority");
        let files = Files { place: Place::new(""), served: pki.server("served"), pki };
        files.write(0);
        let mut sol = files.place.start();
        let (plain, tls) = (sol.address, listens_on(&sol.line(" listens on ")));
        let line = sol.line("tells of itself on http://");
        let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap();
        let http = address.parse().unwrap();
        let certificate = files.certificate();
        Self { files, sol, plain, tls, certificate, http, extra: None, number: 0 }
    }

    /// Goes on to the next configuration: by a signal or by HTTP, in turn.
    pub(crate) fn next(&mut self) {
        let n = self.number + 1;
        self.files.write(n);
        if n.is_multiple_of(2) {
            self.sol.signal(Signal::HUP);
        } else {
            let (status, answer) = self.ask();
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["needs_restart"], serde_json::json!(["threads"]), "{answer}");
            let changed: Vec<_> =
                answer["changed"].as_array().unwrap().iter().map(|key| key.as_str()).collect();
            for key in
                ["listener", "acl_file", "http_token_file", "log_dest", "max_topic_alias", "tcp_backlog"]
            {
                assert!(changed.contains(&Some(key)), "{key}: {answer}");
            }
        }
        if n % 2 == 1 {
            self.extra = Some(listens_on(&self.sol.line(", too").replace(", too", "")));
        }
        self.sol.line("`threads` has changed: that takes a restart");
        self.sol.line("read the configuration again, and its files");
        self.number = n;
        self.certificate = self.files.certificate();
        self.check();
    }

    /// Where the listener is that only every other configuration has, once it is there.
    pub(crate) fn extra(&self) -> SocketAddr {
        self.extra.unwrap()
    }

    /// One with an error, which changes nothing.
    pub(crate) fn stumble(&mut self) {
        let n = self.number + 1;
        let good = self.files.configuration(n);
        let broken = |config: &str| self.files.place.configure(config);
        let taken = self.plain.port();
        let refusals = [
            (good.replace("threads", "treads"), "unknown key `treads`"),
            (format!("{good}listener {taken} 127.0.0.1\n"), "cannot listen on"),
            (good.replace("$D/passwords", "$D/nothing"), "cannot read the password file"),
        ];
        // What the files say is not taken over either.
        self.files.write(n);
        for (config, what) in refusals {
            broken(&config);
            let (status, answer) = self.ask();
            assert_eq!(status, 422, "{answer}");
            let problems = answer["problems"].to_string();
            assert!(problems.contains(what), "{what}: {problems}");
            self.check();
        }
    }

    /// What holds now is what the configuration said when it was taken over, for who is new.
    fn check(&self) {
        let n = self.number;
        let password = password(n);
        let mut anna = connect("anna");
        (anna.user_name, anna.password) = (Some("anna"), Some(password.as_bytes()));
        Client::connect_as(self.plain, anna, false).ping();

        let mut new = Client::open(self.plain);
        new.send(&[connect_v5("new")]);
        let Packet::Connack(connack) = new.receive() else { panic!("no CONNACK") };
        assert_eq!(connack.reason, Reason::Success);
        let aliases = u16::try_from(n + 1).unwrap();
        assert!(
            connack.properties.iter().any(|it| it == Property::TopicAliasMaximum(aliases)),
            "{connack:?}"
        );

        let secure = client(self.tls, &self.files.pki.cafile(), "secure");
        assert_eq!(shown(&secure), self.certificate);
    }

    /// POST /api/v1/reload
    fn ask(&self) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\nx-sol: 1\r\nconnection: close\r\n\
             authorization: Bearer {}\r\ncontent-length: 0\r\n\r\n",
            token(self.number)
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }
}

pub(crate) fn connect_v5(client_id: &str) -> Packet<'_> {
    Packet::Connect(Connect { version: Version::V5, ..connect(client_id) })
}
