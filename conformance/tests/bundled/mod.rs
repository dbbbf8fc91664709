//! The broker of this repository, in this process.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use conformance::target::{Credentials, Target};
use tempfile::NamedTempFile;

/// The broker of this repository, closed at one port and open at another.
pub(crate) struct Bundled {
    pub(crate) broker: sol::Broker,
    _passwords: NamedTempFile,
}

/// A user of the bundled broker, and how it knows the password: `openssl passwd -6`, with as few rounds as there can be.
const USERNAME: &str = "kit";
const PASSWORD: &str = "right pässword";
const HASH: &str = "$6$rounds=1000$conformancekit$9uHst4tWf.GvmJB/X6K7dyyGkEVbPbpGiG/V8K3ClBvkOKGPbtI2ZH2hrhfgn7Z9HhTVQ0uh.ZPXgSIDNnGJd/";

impl Bundled {
    pub(crate) fn start() -> Result<(Self, Vec<Target>), String> {
        let password_file = || -> std::io::Result<NamedTempFile> {
            let mut file = NamedTempFile::new()?;
            writeln!(file, "{USERNAME}:{HASH}")?;
            Ok(file)
        };
        let passwords = password_file().map_err(|error| format!("no password file: {error}"))?;
        let anywhere = || sol::config::Listener::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let closed = sol::config::Listener {
            allow_anonymous: false,
            password_file: Some(passwords.path().to_owned()),
            ..anywhere()
        };
        let usual = sol::Limits::default();
        let limits = sol::Limits {
            // Room for the scenarios that need `large-packets`.
            max_packet_bytes: 4 << 20,
            // They are many who come with wrong passwords from one address.
            login_delay: sol::auth::DelayLimits { longest: Duration::from_millis(10), ..usual.login_delay },
            ..usual
        };
        let config = sol::Config { listeners: vec![closed, anywhere()], limits, ..sol::Config::default() };
        let broker = sol::Broker::start(config)
            .map_err(|error| format!("the bundled broker does not start: {error}"))?;

        let mut targets: Vec<_> = broker
            .local_addrs()
            .iter()
            .map(|address| Target { promises: true, ..Target::new(*address) })
            .collect();
        let closed = targets.remove(0).with_credentials(Credentials {
            username: USERNAME.to_owned(),
            password: Some(PASSWORD.as_bytes().to_vec()),
        });
        targets.insert(0, closed);
        Ok((Bundled { broker, _passwords: passwords }, targets))
    }
}
