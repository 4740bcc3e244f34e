//! A small server: two tools, a resource, a prompt with a completion, over Streamable HTTP. The
//! same in another SDK is compared with it in `docs/reference/rmcp.md`.

use std::time::Duration;

use ninefold::{Context, Node, NodeConfig, Resource, Server};
use ninefold_runtime::sleep;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Adds two numbers.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Add {
    a: i64,
    b: i64,
}

/// Counts, and tells how far it is.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Count {
    /// How far.
    to: u32,
}

/// Greets somebody.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Greet {
    /// Who is greeted.
    name: String,
}

async fn count(Count { to }: Count, client: Context) -> String {
    for n in 1..=to {
        client.progress(n.into(), Some(to.into()), None);
        sleep(Duration::from_millis(10)).await;
    }
    format!("counted to {to}")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder("small", "1.0.0")
        .tool("add", "", |Add { a, b }| a + b)
        .context_tool("count", "", count)
        .resource(Resource::new("about://us", "About us"), || "We are small.")
        .prompt("greet", "", |Greet { name }| format!("Hello, {name}!"))
        .complete_prompt("greet", "name", |asked| {
            let names = ["Ada", "Alan"].into_iter();
            let typed = asked.value.to_owned();
            names.filter(move |it| it.starts_with(&typed))
        })
        .build()?;
    let node = Node::start(server, &NodeConfig::default())?;
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    node.shutdown();
    Ok(())
}
