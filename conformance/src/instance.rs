//! Brokers that the kit itself starts, so that a scenario can have them killed and started again.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::scenario::Scenario;
use crate::transport::Endpoint;

/// How long a broker may take until it accepts connections, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(5);

/// In a command: the port to listen on.
const PORT: &str = "{port}";
/// In a command: a directory that is empty when the broker starts first.
const DIRECTORY: &str = "{dir}";

/// How a broker is started: the words of a command, without a shell. In a word `{port}` stands for the port to listen on,
/// and `{dir}` for a directory of this broker's own.
#[derive(Clone, Debug)]
pub struct Launch {
    words: Vec<String>,
    endpoint: Endpoint,
    patience: Duration,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No command, or a quote that does not end.
    #[error("{0:?} is no command: words as in a shell, `program argument 'argument with blanks'`")]
    Words(String),
    /// `{port}` where there is none.
    #[error("{0} has no port for {PORT}: leave {PORT} out of the command")]
    NoPort(String),
    /// It would not be known who answers.
    #[error("something listens at {0} already: stop it, since the kit starts the broker itself")]
    Taken(String),
    /// The command cannot be run, or there is no place for its files.
    #[error("cannot start {program}: {reason}")]
    Start {
        /// The first word.
        program: String,
        /// Why.
        reason: io::Error,
    },
    /// It ran, and does not any more.
    #[error("{program} ended by itself ({status}){said}")]
    Ended {
        /// The first word.
        program: String,
        /// How it ended.
        status: String,
        /// What it wrote last, ready to be put behind.
        said: String,
    },
    /// It runs, and nobody answers.
    #[error("{program} does not accept connections at {endpoint} within {patience:?}{said}")]
    Silent {
        /// The first word.
        program: String,
        /// Where it should.
        endpoint: String,
        /// How long was waited.
        patience: Duration,
        /// What it wrote last, ready to be put behind.
        said: String,
    },
}

impl Launch {
    /// A command as written for a shell, for a broker at `endpoint`.
    ///
    /// # Errors
    /// There is no word in it, a quote does not end, or `{port}` is of no use.
    pub fn parse(text: &str, endpoint: Endpoint) -> Result<Self, LaunchError> {
        let words = shlex::split(text).filter(|words| !words.is_empty());
        Self::of(words.ok_or_else(|| LaunchError::Words(text.to_owned()))?, endpoint)
    }

    /// These words, for a broker at `endpoint`.
    ///
    /// # Errors
    /// `{port}` is of no use.
    pub fn of(words: Vec<String>, endpoint: Endpoint) -> Result<Self, LaunchError> {
        let launch = Launch { words, endpoint, patience: PATIENCE };
        match launch.endpoint.port() {
            None if launch.takes_a_port() => Err(LaunchError::NoPort(launch.endpoint.to_string())),
            _ => Ok(launch),
        }
    }

    /// Waits so long until it accepts connections.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Launch { patience, ..self }
    }

    /// Whether there can be several at once.
    pub fn takes_a_port(&self) -> bool {
        self.words.iter().any(|word| word.contains(PORT))
    }

    /// Starts it, and waits until it accepts connections.
    ///
    /// # Errors
    /// It cannot be started, or does not come up.
    pub fn start(&self) -> Result<Instance, LaunchError> {
        let failed = |reason| LaunchError::Start { program: self.program(), reason };
        if self.endpoint.connect(self.patience).is_ok() {
            return Err(LaunchError::Taken(self.endpoint.to_string()));
        }
        let files = tempfile::Builder::new().prefix("conformance-").tempdir().map_err(failed)?;
        let data = files.path().join("data");
        std::fs::create_dir(&data).map_err(failed)?;
        let port = self.endpoint.port().unwrap_or_default().to_string();
        let mut words = self
            .words
            .iter()
            .map(|word| word.replace(PORT, &port).replace(DIRECTORY, &data.to_string_lossy()));
        let mut command = Command::new(words.next().unwrap_or_default());
        // Who watches its input learns from its end that the kit is gone.
        command.args(words).stdin(Stdio::piped());
        let mut process = Process { command, child: None };
        process.start(self, &files)?;
        Ok(Instance {
            launch: self.clone(),
            process: Mutex::new(process),
            restarts: AtomicU64::new(0),
            turns: RwLock::new(()),
            files,
        })
    }

    /// As [`Launch::start`], on a port that nobody else has.
    ///
    /// # Errors
    /// As [`Launch::start`].
    pub fn start_another(&self) -> Result<Instance, LaunchError> {
        const ATTEMPTS: usize = 5;
        let start = || {
            let port =
                free_port().map_err(|reason| LaunchError::Start { program: self.program(), reason })?;
            Launch { endpoint: self.endpoint.with_port(port), ..self.clone() }.start()
        };
        let mut started = start();
        for _ in 1..ATTEMPTS {
            if !matches!(started, Err(LaunchError::Taken(_))) {
                break;
            }
            started = start();
        }
        started
    }

    fn program(&self) -> String {
        self.words.first().cloned().unwrap_or_default()
    }
}

/// A port that is free now and stays so while its broker is away for a moment: none that a system gives to whoever connects
/// or asks for any. On Linux those begin at 32,768, on others at 10,000 or above.
///
/// # Errors
/// There is none.
pub fn free_port() -> io::Result<u16> {
    const FIRST: u16 = 4_000;
    const COUNT: u64 = 6_000;
    // Another kit that asks now gets another one; and this one a new one each time, though it has not taken the last yet.
    static BEGINNING: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish() % COUNT);
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..COUNT {
        let offset = (*BEGINNING + GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + offset as u16;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A running broker. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Instance {
    launch: Launch,
    process: Mutex<Process>,
    /// How often it was started again.
    restarts: AtomicU64,
    /// Whoever restarts it has it alone.
    turns: RwLock<()>,
    files: TempDir,
}

#[derive(Debug)]
struct Process {
    command: Command,
    child: Option<Child>,
}

impl Instance {
    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.launch.endpoint
    }

    /// Kills it as `kill -9` does: it can neither say nor store anything more.
    pub fn kill(&self) {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    /// Starts it again with the same words, and waits until it accepts connections.
    ///
    /// # Errors
    /// It does not come up again.
    pub fn start_again(&self) -> Result<(), LaunchError> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.kill();
        self.restarts.fetch_add(1, Ordering::Relaxed);
        process.start(&self.launch, &self.files)
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// The right to use it: alone, or beside others.
    pub(crate) fn turn(&self, alone: bool) -> Turn<'_> {
        if alone {
            Turn::Alone(self.turns.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Turn::Shared(self.turns.read().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The right to use a broker, for as long as it is kept.
#[expect(dead_code, reason = "kept, not looked at")]
pub(crate) enum Turn<'a> {
    Alone(RwLockWriteGuard<'a, ()>),
    Shared(RwLockReadGuard<'a, ()>),
}

impl Process {
    fn start(&mut self, launch: &Launch, files: &TempDir) -> Result<(), LaunchError> {
        let (log, program) = (files.path().join("log"), launch.program());
        let failed = |reason| LaunchError::Start { program: program.clone(), reason };
        let file = File::create(&log).map_err(failed)?;
        self.command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        let child = self.child.insert(self.command.spawn().map_err(failed)?);
        let until = Instant::now() + launch.patience;
        let said = || last_lines(&std::fs::read(&log).unwrap_or_default());
        loop {
            // First, so that nobody else's answer is taken for its own.
            if let Ok(Some(status)) = child.try_wait() {
                let (status, said) = (status.to_string(), said());
                return Err(LaunchError::Ended { program, status, said });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (endpoint, patience) = (launch.endpoint.to_string(), launch.patience);
                return Err(LaunchError::Silent { program, endpoint, patience, said: said() });
            }
            if launch.endpoint.connect(left).is_ok() {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It fails only where there is nothing to kill any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The end of what a program wrote, to be put behind a message.
fn last_lines(log: &[u8]) -> String {
    const LINES: usize = 5;
    let text = String::from_utf8_lossy(log);
    let lines: Vec<_> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    if last.is_empty() { String::new() } else { format!(":\n  {}", last.join("\n  ")) }
}

/// Whom a scenario may restart.
#[derive(Clone, Debug)]
pub enum Restarts {
    /// The target itself, one scenario after the other, and nothing beside it.
    This(Arc<Instance>),
    /// A broker of the scenario's own, started for it.
    Own {
        /// How.
        launch: Launch,
        /// The target itself, if the kit has started it too.
        usual: Option<Arc<Instance>>,
    },
}

impl Restarts {
    /// Starts the broker that is to be tested. There are others beside it if the command takes a port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(launch: Launch) -> Result<Self, LaunchError> {
        let usual = Arc::new(launch.start()?);
        Ok(if launch.takes_a_port() { Self::Own { launch, usual: Some(usual) } } else { Self::This(usual) })
    }

    /// For this scenario a broker of its own, if it is to have one.
    pub(crate) fn own(&self, scenario: &Scenario) -> Result<Option<Arc<Instance>>, LaunchError> {
        match self {
            Self::Own { launch, .. } if scenario.restarts() => launch.start_another().map(Arc::new).map(Some),
            Self::Own { .. } | Self::This(_) => Ok(None),
        }
    }
}
