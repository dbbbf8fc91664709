//! One test a scenario and version: `cargo test -p conformance`, filtered by name as usual.
//!
//! Against the bundled broker, or with `BROKER_URL=mqtt://host:port` against that one.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use conformance::probe::find_out;
use conformance::scenario::{Duty, Scenario, load};
use conformance::target::{Credentials, Target};
use conformance::transport::Trust;
use conformance::verdict::{Outcome, Verdict};
use conformance::{Version, run};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::NamedTempFile;

/// Scenarios mostly wait, so more of them run at once than there are processors.
const THREADS: usize = 16;

fn main() -> ExitCode {
    match tests() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn tests() -> Result<ExitCode, String> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let scenarios =
        load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")).map_err(|e| e.to_string())?;

    let tested = if arguments.list { Tested::nobody() } else { Tested::start()? };
    let conclusion = libtest_mimic::run(&arguments, trials(scenarios, &tested.targets));
    if let Some(bundled) = tested.bundled {
        bundled.broker.stop();
    }
    Ok(conclusion.exit_code())
}

/// Whom the scenarios run against.
struct Tested {
    /// The first is for every scenario that it does not skip.
    targets: Vec<Arc<Target>>,
    /// The broker of this repository, in this process.
    bundled: Option<Bundled>,
}

impl Tested {
    /// The broker at `BROKER_URL`, or else the bundled one. Found out once, so that a broker which is not there is one
    /// error and not one for each scenario.
    fn start() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).ok();
        let (targets, bundled, name) = match variable("BROKER_URL") {
            Some(url) => {
                let target = Target::from_url(&url, &Trust::configured(variable));
                let target = target.map_err(|error| format!("BROKER_URL: {error}"))?;
                (vec![target], None, format!("BROKER_URL={}", Target::shown(&url)))
            }
            None => {
                let (bundled, targets) = Bundled::start()?;
                (targets, Some(bundled), "the bundled broker".to_owned())
            }
        };
        // `BROKER_…` tell of the broker at `BROKER_URL`.
        let told = |name: &str| variable(name).filter(|_| bundled.is_none() || !name.starts_with("BROKER_"));
        let ready = |target: Target| {
            let mut target = target.configured(told).map_err(|error| error.to_string())?;
            let found = find_out(&mut target).map_err(|error| error.to_string())?;
            found.apply(&mut target);
            // What is said of the broker goes before what was found.
            target.configured(told).map(Arc::new).map_err(|error| error.to_string())
        };
        let targets: Result<_, String> = targets.into_iter().map(ready).collect();
        Ok(Tested { targets: targets.map_err(|error| format!("{name}: {error}"))?, bundled })
    }

    /// For `--list`, which needs no broker.
    fn nobody() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Tested { targets: vec![Arc::new(Target::new(nowhere))], bundled: None }
    }
}

/// The broker of this repository, closed at one port and open at another.
struct Bundled {
    broker: sol::Broker,
    _passwords: NamedTempFile,
}

/// A user of the bundled broker, and how it knows the password: `openssl passwd -6`, with as few rounds as there can be.
const USERNAME: &str = "kit";
const PASSWORD: &str = "right pässword";
const HASH: &str = "$6$rounds=1000$conformancekit$9uHst4tWf.GvmJB/X6K7dyyGkEVbPbpGiG/V8K3ClBvkOKGPbtI2ZH2hrhfgn7Z9HhTVQ0uh.ZPXgSIDNnGJd/";

impl Bundled {
    fn start() -> Result<(Self, Vec<Target>), String> {
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

        let targets = broker.local_addrs().iter();
        let mut targets = targets.map(|address| Target { promises: true, ..Target::new(*address) });
        let credentials =
            Credentials { username: USERNAME.to_owned(), password: Some(PASSWORD.as_bytes().to_vec()) };
        let closed = targets.next().map(|target| target.with_credentials(credentials));
        let targets = closed.into_iter().chain(targets).collect();
        Ok((Bundled { broker, _passwords: passwords }, targets))
    }
}

fn trials(scenarios: Vec<Scenario>, targets: &[Arc<Target>]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for scenario in scenarios.into_iter().map(Arc::new) {
        let fitting = targets.iter().find(|target| run::skipped(&scenario, target).is_none());
        let Some(target) = fitting.or(targets.first()) else { continue };
        let versions = Version::ALL.into_iter().filter(|version| version.is_spoken());
        for version in
            versions.filter(|version| scenario.proves.iter().any(|proof| proof.version == *version))
        {
            let (scenario, target) = (scenario.clone(), target.clone());
            let name = run::name(&scenario, version);
            trials.push(Trial::ignorable_test(name, move || judge(&run::run(&scenario, version, &target))));
        }
    }
    trials
}

/// Failures fail the test, with the whole report; warnings and notes are printed beside it; what is skipped says why.
fn judge(verdict: &Verdict) -> Result<Completion, Failed> {
    match &verdict.outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(Duty::Must, _) | Outcome::Inconclusive(_) => Err(verdict.to_string().into()),
        Outcome::Failed(Duty::Should | Duty::May, _) => {
            eprintln!("{verdict}");
            Ok(Completion::Completed)
        }
    }
}
