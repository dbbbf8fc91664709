//! The broker of this repository in a process of its own, which scenarios kill and start again: the test's own program,
//! told to be a broker.

use std::io::Read;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use sol::config::Persistence;

/// `PROGRAM serve PORT [DIRECTORY]`
const SERVE: &str = "serve";

/// If that is what the program is told, it is a broker until its input ends: then the test is gone.
pub(crate) fn serve_if_told() -> Option<ExitCode> {
    let mut words = std::env::args().skip(1);
    if words.next()? != SERVE {
        return None;
    }
    let (port, directory) = (words.next()?, words.next());
    Some(match serve(&port, directory.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    })
}

fn serve(port: &str, directory: Option<&str>) -> Result<(), String> {
    let port = port.parse().map_err(|error| format!("{port}: {error}"))?;
    let persistence = directory.map(Persistence::at);
    let config = sol::Config { persistence, ..sol::Config::on((Ipv4Addr::LOCALHOST, port).into()) };
    let broker = sol::Broker::start(config).map_err(|error| error.to_string())?;
    let ended = std::io::stdin().read_to_end(&mut Vec::new());
    broker.stop();
    ended.map(drop).map_err(|error| error.to_string())
}

/// The command, with a directory or without.
pub(crate) fn command(is_durable: bool) -> Result<Vec<String>, String> {
    let program = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let mut words = vec![program.to_string_lossy().into_owned(), SERVE.to_owned(), "{port}".to_owned()];
    words.extend(is_durable.then(|| "{dir}".to_owned()));
    Ok(words)
}
