//! `sol ctl`: asks a running broker over its HTTP, and tells it to do things.
//!
//! | | |
//! |---|---|
//! | `api.rs` | requests, and what can go wrong with them |
//! | `answers.rs` | what the broker answers, as far as it is shown |
//! | `words.rs` | names and figures as people read them |
//! | `table.rs` | tables that fit the terminal |
//! | `out.rs` | standard output |
//! | `status.rs`, `clients.rs`, `topics.rs`, `orders.rs` | the commands |
//! | `messages.rs` | `publish` and `subscribe` |
//! | `top/` | `top` |

mod answers;
mod api;
mod clients;
mod messages;
mod orders;
mod out;
mod status;
mod table;
mod top;
mod topics;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use api::{Api, Failure};
use out::Out;

/// Ask a running broker, and tell it what to do
///
/// The broker needs `http_listener` in its configuration.
///
/// Exit codes: 0 if it is done, 1 if the broker refused or there is no such thing, 2 for a wrong command line, 69 if no
/// broker answers, 77 if it lets one in with credentials only, 78 if its new configuration is wrong.
#[derive(Args)]
#[command(subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,

    /// Print JSON, as the broker gives it
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// Which broker, and who asks.
#[derive(Args)]
struct Whom {
    /// Where `http_listener` is
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:9883")]
    url: String,

    /// The file with the token: the one of `http_token_file`
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "user")]
    token_file: Option<PathBuf>,

    /// A user of `http_password_file`; the password is asked for
    #[arg(long, global = true, value_name = "NAME")]
    user: Option<String>,

    /// A file whose first line is the password of --user
    #[arg(long, global = true, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// Certificates (PEM) of authorities to trust with https, rather than those of the system
    #[arg(long, global = true, value_name = "FILE")]
    cafile: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Show how the broker is doing
    Status,
    /// List clients
    Clients(clients::Which),
    /// Show one client, its subscriptions and its will
    Client {
        /// Its client identifier
        id: String,
    },
    /// Disconnect a client
    Kick {
        /// Its client identifier
        id: String,

        /// End its session too, whether it is connected or not
        #[arg(long)]
        session: bool,
    },
    /// List subscriptions
    Subscriptions(topics::Subscribed),
    /// List retained messages
    Retained(topics::Kept),
    /// Publish a message
    Publish(messages::Publish),
    /// Print messages as they come, until stopped
    Subscribe(messages::Subscribe),
    /// Let the broker read its configuration again
    ///
    /// All of it is taken or, if something is wrong, none.
    Reload,
    /// Log each packet of a client, or do so no longer
    Trace {
        /// Its client identifier
        id: String,

        state: Switch,
    },
    /// Watch the broker and its clients
    Top {
        /// What to put first
        #[arg(long, value_enum, default_value = "queued")]
        sort: Sort,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// What clients are sorted by: all but the identifier have the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Sort {
    Id,
    Queued,
    Dropped,
    InFlight,
    BytesSent,
    BytesReceived,
    MessagesSent,
    MessagesReceived,
    /// The last that came is first.
    Since,
}

impl Sort {
    /// As the broker calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Queued => "queued",
            Self::Dropped => "dropped",
            Self::InFlight => "in_flight",
            Self::BytesSent => "bytes_sent",
            Self::BytesReceived => "bytes_received",
            Self::MessagesSent => "messages_sent",
            Self::MessagesReceived => "messages_received",
            Self::Since => "since",
        }
    }

    fn next(self) -> Self {
        let all = Self::value_variants();
        let place = all.iter().position(|sort| *sort == self).unwrap_or_default();
        all.get(place + 1).or(all.first()).copied().unwrap_or(self)
    }
}

/// Does it, and says what came of it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match obey(arguments) {
        // Whoever read it has seen enough.
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                // Names are escaped already, where the broker gives them.
                eprintln!("sol ctl: {}", words::escaped(line).replace("\\\\", "\\"));
            }
            failure.code().into()
        }
    }
}

fn obey(arguments: &Arguments) -> Result<(), Failure> {
    let api = Api::new(&arguments.whom)?;
    let out = Out::new(arguments.json);
    match &arguments.command {
        Command::Status => status::show(&api, &out),
        Command::Clients(which) => clients::list(&api, &out, which),
        Command::Client { id } => clients::show(&api, &out, id),
        Command::Kick { id, session } => orders::kick(&api, &out, id, *session),
        Command::Subscriptions(which) => topics::subscriptions(&api, &out, which),
        Command::Retained(which) => topics::retained(&api, &out, which),
        Command::Publish(what) => messages::publish(&api, &out, what),
        Command::Subscribe(what) => messages::subscribe(&api, &out, what),
        Command::Reload => orders::reload(&api, &out),
        Command::Trace { id, state } => orders::trace(&api, &out, id, *state),
        Command::Top { sort } => top::run(api, *sort),
    }
}
