//! A broker alone in a process, so that what it uses can be told from its clients': takes a configuration file, prints the
//! address, and stops when its standard input ends.

// For its allocator.
use benches as _;

use std::error::Error;
use std::path::PathBuf;

use sol::Broker;
use sol::config::{Overrides, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let file = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: serve FILE")?);
    let settings = Settings::read(&file, Overrides::default())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let broker = Broker::start(settings.broker)?;
    println!("{}", broker.local_addr());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    broker.stop();
    Ok(())
}
