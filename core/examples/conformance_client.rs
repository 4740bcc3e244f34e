//! The client that the conformance suite of the specification drives: it is started with the URL
//! of the suite's server, and does what the scenario in its environment wants to see.

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ninefold::client::{Auth, Blocking, Client, ClientError, EraChoice, Grant, Options, accept};
use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let url = env::args().next_back().unwrap_or_default();
    let scenario = env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context = env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let era = match env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").as_deref() {
        Ok(version) if version < "2026" => EraChoice::Legacy,
        Ok(_) => EraChoice::Modern,
        Err(_) => EraChoice::Auto,
    };
    let mut options = Options::new("ninefold-conformance", env!("CARGO_PKG_VERSION")).era(era);
    // Who can be asked opens a stream for questions, which `sse-retry` takes for a reconnection.
    if scenario != "sse-retry" {
        options = options.on_elicit(|asked| {
            let mut content = Map::new();
            // The one form of the suite that has no defaults.
            if asked["requestedSchema"]["properties"]["confirmed"].is_object() {
                content.insert("confirmed".to_owned(), true.into());
            }
            std::future::ready(Ok(accept(&asked, content)))
        });
    }
    if scenario.starts_with("auth/") {
        options = options.auth(auth(&scenario, &context)?);
    }
    let client = Blocking::connect(&url.parse()?, options)?;
    let outcome = client.run(async |client| play(client, &scenario, &context).await);
    client.close();
    Ok(outcome?)
}

/// Who the client is to the suite's authorization server.
fn auth(scenario: &str, context: &Value) -> Result<Auth, Failure> {
    let text = |name: &str| context[name].as_str();
    let mut auth = Auth::new("ninefold-conformance")
        .client_metadata_url("https://conformance-test.local/client-metadata.json")?
        .sign_in_by("http://localhost:3000/callback", |url| {
            std::future::ready(browse(&url).map_err(|error| error.to_string()))
        });
    if let Some(id) = text("client_id") {
        auth = auth.client_id(id);
    }
    if let Some(secret) = text("client_secret") {
        auth = auth.client_secret(secret);
    }
    if let Some(key) = text("private_key_pem") {
        auth = auth.private_key(key.as_bytes())?;
    }
    if let Some(issuer) = text("issuer") {
        auth = auth.issuer(issuer);
    }
    if let Some(assertion) = text("valid_jwt") {
        let issuer = audience(assertion).ok_or("an assertion for nobody")?;
        auth = auth
            .grant(Grant::Assertion(assertion.to_owned()))
            .issuer(&issuer);
    }
    if let Some(token) = text("idp_id_token") {
        auth = auth.grant(Grant::Organization {
            token_endpoint: text("idp_token_endpoint").unwrap_or_default().to_owned(),
            client_id: text("idp_client_id").unwrap_or_default().to_owned(),
            id_token: token.to_owned(),
        });
    }
    Ok(match scenario.starts_with("auth/client-credentials") {
        true => auth.grant(Grant::Client),
        false => auth,
    })
}

/// Whom a JWT is for.
fn audience(jwt: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["aud"].as_str().map(str::to_owned)
}

/// A browser in which somebody agrees to everything: visits `url` and comes back with where the
/// authorization server has led to. The suite's servers are on this host and speak plain HTTP.
fn browse(url: &str) -> Result<String, Failure> {
    let rest = url.strip_prefix("http://").ok_or("wanted http")?;
    let (host, path) = rest.split_once('/').ok_or("wanted a path")?;
    let mut stream = TcpStream::connect(host)?;
    let head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    let location = lines.find(|(name, _)| name.eq_ignore_ascii_case("location"));
    let (_, location) = location.ok_or("no redirection")?;
    Ok(location.to_owned())
}

async fn play(client: &Client, scenario: &str, context: &Value) -> Result<(), ClientError> {
    let tools = client.tools().await?;
    match scenario {
        "tools_call" => {
            client.call("add_numbers", json!({"a": 5, "b": 3})).await?;
        }
        "elicitation-sep1034-client-defaults" => {
            let tool = "test_client_elicitation_defaults";
            client.call(tool, json!({})).await?;
        }
        "sse-retry" => {
            client.call("test_reconnection", json!({})).await?;
        }
        "sep-2322-client-request-state" => {
            for tool in [
                "test_mrtr_echo_state",
                "test_mrtr_unrelated",
                "test_mrtr_no_state",
                "test_mrtr_no_result_type",
            ] {
                client.call(tool, json!({})).await?;
            }
        }
        "http-standard-headers" => everything(client, &tools).await?,
        "http-custom-headers" => {
            for call in context["toolCalls"].as_array().into_iter().flatten() {
                let name = call["name"].as_str().unwrap_or_default();
                client.call(name, call["arguments"].clone()).await?;
            }
        }
        "http-invalid-tool-headers" => {
            for tool in &tools {
                let name = tool["name"].as_str().unwrap_or_default();
                client.call(name, json!({})).await?;
            }
        }
        "json-schema-2020-12-preservation" => {
            let named = |it: &&Value| it["name"] == "json_schema_2020_12_tool";
            let tool = tools.iter().find(named).cloned().unwrap_or_default();
            let arguments = json!({"schema": tool["inputSchema"]});
            client.call("json_schema_echo", arguments).await?;
        }
        _ if scenario.starts_with("auth/") => {
            client.call("test-tool", json!({})).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Uses the first of each kind that the server offers.
async fn everything(client: &Client, tools: &[Value]) -> Result<(), ClientError> {
    let text = |entry: Option<&Value>, key: &str| {
        let value = entry.and_then(|it| it[key].as_str());
        value.map(str::to_owned)
    };
    if let Some(name) = text(tools.first(), "name") {
        client.call(&name, json!({})).await?;
    }
    if let Some(uri) = text(client.resources().await?.first(), "uri") {
        client.read(&uri).await?;
    }
    if let Some(name) = text(client.prompts().await?.first(), "name") {
        client.prompt(&name, json!({})).await?;
    }
    Ok(())
}
