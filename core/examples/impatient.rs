//! A node with short deadlines and low limits, to be attacked: `.ci/slow` does.

use std::error::Error;
use std::net::Ipv4Addr;

use ninefold::limits::Limits;
use ninefold::{Node, NodeConfig, Server};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

fn main() -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGTERM])?;
    let limits = Limits {
        header_deadline_ms: 1000,
        body_deadline_ms: 2000,
        body_grace_ms: 1000,
        keep_alive_idle_ms: 1000,
        write_deadline_ms: 1000,
        ..Limits::default()
    };
    let server = Server::builder("impatient", env!("CARGO_PKG_VERSION"))
        .limits(limits)
        .builtin_tools(ninefold_runtime::clock::wall_clock)
        .build()?;
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    let config = NodeConfig {
        listen: any_port,
        admin: Some(any_port),
        ..NodeConfig::default()
    };
    let node = Node::start(server, &config)?;
    let admin = node.admin_address().ok_or("no admin listener")?;
    println!("{} {admin}", node.address());
    let _ = signals.forever().next();
    let report = node.shutdown();
    println!("tasks dropped: {}", report.tasks_dropped);
    Ok(())
}
