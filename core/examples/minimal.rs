//! A typed Rust function as a tool, served until SIGINT or SIGTERM:
//! `cargo run --package ninefold --example minimal`.

use ninefold::{Node, NodeConfig, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Greet {
    /// Who is greeted.
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder("greeter", "1.0.0")
        .tool("greet", "Greets somebody.", |Greet { name }: Greet| {
            format!("Hello, {name}!")
        })
        .build()?;
    let node = Node::start(server, &NodeConfig::default())?;
    println!("listening on http://{}/mcp", node.address());
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    node.shutdown();
    Ok(())
}
