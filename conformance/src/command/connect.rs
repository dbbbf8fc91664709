//! From what the user says of a broker to a target of which is known what it can do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;
use conformance::instance::{LaunchError, PATIENCE};
use conformance::probe::{Findings, ProbeError, find_out};
use conformance::scenario::CAPABILITIES;
use conformance::target::{Target, TargetError};
use conformance::transport::Trust;

use super::Error;
use super::time::{scale, time};

/// How long after a broker was not there it is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// The broker, and how to reach it.
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The broker: mqtt://[user[:password]@]host[:port], mqtts://…, ws://…[/path], wss://… or unix:///path
    pub(super) url: String,
    /// User name (or BROKER_USERNAME)
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    username: Option<String>,
    /// Password (better: BROKER_PASSWORD, which no list of processes shows)
    #[arg(long, help_heading = "Connection")]
    password: Option<String>,
    /// Certificates of the authorities to trust, PEM (or BROKER_CA)
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca: Option<String>,
    /// The client's certificate, PEM (or BROKER_CERT)
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    cert: Option<String>,
    /// The key of --cert, PEM (or BROKER_KEY)
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    key: Option<String>,
    /// Trust any certificate (or BROKER_INSECURE=1)
    #[arg(long, help_heading = "Connection")]
    insecure: bool,
    /// Start the broker by this command, so that scenarios can kill and restart it (or BROKER_COMMAND): words as in a shell,
    /// but none is started; in them {port} stands for the port and {dir} for an empty directory
    #[arg(long, value_name = "COMMAND", help_heading = "Connection")]
    broker_command: Option<String>,
    /// Take the broker to have this, whatever was found
    #[arg(long, value_name = "WORD", help_heading = "Capabilities", value_parser = capability)]
    assume: Vec<String>,
    /// Take the broker to lack this: what needs it is skipped
    #[arg(long, value_name = "WORD", help_heading = "Capabilities", value_parser = capability)]
    without: Vec<String>,
    /// Also check what Sol promises beyond the standard
    #[arg(long, help_heading = "Capabilities")]
    promises: bool,
    /// How long to wait for a broker that is still starting
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Time limits")]
    wait: Option<Duration>,
    /// How long one wait for a packet may take
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Time limits")]
    deadline: Option<Duration>,
    /// Multiply every time limit: 4 for a slow broker or a busy machine
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = scale, help_heading = "Time limits")]
    pub(super) timeout_scale: f64,
}

fn capability(text: &str) -> Result<String, String> {
    if CAPABILITIES.iter().any(|capability| capability.name == text) {
        return Ok(text.to_owned());
    }
    let words: Vec<_> = CAPABILITIES.iter().map(|capability| capability.name).collect();
    Err(format!("not one of {}", words.join(", ")))
}

impl Connect {
    /// The target with all that was found, assumed and denied.
    pub(super) fn target(&self) -> Result<(Target, Findings), Error> {
        let options = self.variables();
        let variable = |name: &str| options.get(name).cloned().or_else(|| std::env::var(name).ok());
        let trust = Trust::configured(variable);
        let target = Target::from_url(&self.url, &trust).and_then(|target| target.configured(variable));
        let mut target = target.map_err(|error| match error {
            TargetError::Url(_) | TargetError::Tls(_) | TargetError::PasswordAlone => {
                Error::Usage(error.to_string())
            }
            _ => Error::CouldNotRun(error.to_string()),
        })?;
        target.deadline = self.deadline.unwrap_or(target.deadline).mul_f64(self.timeout_scale);
        target.promises = self.promises;
        if let Some(command) = variable("BROKER_COMMAND") {
            let patience = self.wait.unwrap_or_else(|| PATIENCE.mul_f64(self.timeout_scale));
            target = target.started(&command, patience).map_err(|error| match error {
                LaunchError::Words(_) | LaunchError::NoPort(_) => Error::Usage(error.to_string()),
                _ => Error::CouldNotRun(error.to_string()),
            })?;
        }
        let found = self.awaited(&mut target).map_err(|error| Error::CouldNotRun(error.to_string()))?;
        found.apply(&mut target);
        // What the user says goes before what was found.
        let deadline = target.deadline;
        let target = target.configured(variable).map_err(|error| Error::Usage(error.to_string()))?;
        let mut target = Target { deadline, ..target };
        for word in &self.without {
            target.capabilities.remove(word);
        }
        target.capabilities.extend(self.assume.iter().cloned());
        Ok((target, found))
    }

    /// What the broker can do, once it is there.
    fn awaited(&self, target: &mut Target) -> Result<Findings, ProbeError> {
        let until = Instant::now() + self.wait.unwrap_or_default();
        loop {
            match find_out(target) {
                Err(_) if Instant::now() < until => std::thread::sleep(AGAIN),
                found => return found,
            }
        }
    }

    /// The options in the words of the environment.
    fn variables(&self) -> HashMap<&'static str, String> {
        let insecure = self.insecure.then(|| "1".to_owned());
        let options = [
            ("BROKER_USERNAME", &self.username),
            ("BROKER_PASSWORD", &self.password),
            ("BROKER_CA", &self.ca),
            ("BROKER_CERT", &self.cert),
            ("BROKER_KEY", &self.key),
            ("BROKER_INSECURE", &insecure),
            ("BROKER_COMMAND", &self.broker_command),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// The URL as it may be shown.
    pub(super) fn shown_url(&self) -> String {
        Target::shown(&self.url)
    }
}
