//! Who may use a node: tokens of a real issuer with keys made here, API keys, scopes, and what
//! belongs to whom.

mod issuer;
mod keys;
mod owners;
mod scopes;
mod tokens;

use std::time::UNIX_EPOCH;

use ninefold::auth::Authorization;
use ninefold::limits::Limits;
use ninefold::server::Builder;
use ninefold::{Context, Elicit, NoArguments, Resource, Server};
use serde_json::json;

use crate::local::Local;
use issuer::{AUDIENCE, ISSUER, Key};

/// Where the metadata is, as challenges say.
const METADATA: &str = "https://mcp.example/.well-known/oauth-protected-resource/mcp";

/// A request with `token`.
fn with(token: &str, request: &str) -> String {
    with_field(&format!("Authorization: Bearer {token}"), request)
}

/// A request with one more field.
fn with_field(field: &str, request: &str) -> String {
    let host = "Host: localhost\r\n";
    assert!(request.contains(host), "{request}");
    request.replacen(host, &format!("{host}{field}\r\n"), 1)
}

/// Takes tokens of the issuer.
fn oauth() -> Authorization {
    Authorization::new().audience(AUDIENCE).issuer(ISSUER)
}

/// Features of all kinds, some of which say who called them.
fn features(limits: Limits) -> Builder {
    let who = |NoArguments {}, from: Context| async move {
        let identity = from.identity().expect("an identity");
        let scopes: Vec<_> = identity.scopes().collect();
        format!("{} {}", identity.subject(), scopes.join(","))
    };
    let asks = |NoArguments {}, of: Context| async move {
        let form = Elicit::form_of("Who?", json!({"type": "object", "properties": {}}));
        match of.elicit("name", form).await {
            Ok(answer) => format!("{:?}", answer.action),
            Err(error) => error.to_string(),
        }
    };
    let works = |NoArguments {}, to: Context| async move {
        to.become_task().await;
        let form = Elicit::form_of("Sure?", json!({"type": "object", "properties": {}}));
        to.elicit("sure", form).await.map_err(|it| it.to_string())?;
        Ok::<_, String>("worked")
    };
    Server::builder("test", "1")
        .limits(limits)
        .builtin_tools(|| UNIX_EPOCH)
        .with_tasks()
        .context_tool("who", "Says who calls", who)
        .context_tool("asks", "Asks", asks)
        .context_tool("works", "Is a task that asks", works)
        .resource(Resource::new("test://private", "Private"), || "secret")
        .prompt("hello", "Says hello", |NoArguments {}| "hello")
}

/// A node under `authorization`.
fn node(authorization: Authorization, adjust: impl FnOnce(&mut Limits)) -> Local {
    let mut limits = Limits {
        auth_reload_ms: 20,
        ..Limits::default()
    };
    adjust(&mut limits);
    let server = features(limits).authorize(authorization).build();
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    Local::serving(&server, 2)
}

/// A node that takes tokens signed by `key`, which it has from a file.
fn node_of(key: &Key, shape: impl FnOnce(Authorization) -> Authorization) -> Local {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), issuer::set(&[key])).expect("a file that can be written");
    let node = node(shape(oauth().keys_file(file.path())), |limits| {
        limits.auth_leeway_ms = 0;
    });
    // What was read from a file that is gone stays in use.
    drop(file);
    node
}
