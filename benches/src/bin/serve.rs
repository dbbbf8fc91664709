//! A broker alone in a process, so that its CPU time can be told from its clients': listens on a free port, prints the
//! address, and stops when its standard input ends.

// For its allocator.
use benches as _;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use sol::{Broker, Config};

fn main() -> Result<(), Box<dyn Error>> {
    let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let broker = Broker::start(Config::on(free_port))?;
    println!("{}", broker.local_addr());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    broker.stop();
    Ok(())
}
