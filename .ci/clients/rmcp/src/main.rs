//! Crate `rmcp` 3.11.0 against a node with the conformance fixtures: in both eras the seven steps
//! of `../steps.py`.
//!
//! Usage: interop-rmcp http://HOST:PORT/mcp

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ErrorData, GetPromptRequestParams, ProgressNotificationParam, ProtocolVersion,
    ReadResourceRequestParams, ServerNotification, SubscriptionFilter,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, RequestContext, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What the server has told the client so far.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<(Vec<f64>, usize)>>);

impl Heard {
    fn progress(&self) -> Vec<f64> {
        self.0.lock().unwrap().0.clone()
    }

    fn changes(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl ClientHandler for Heard {
    fn get_info(&self) -> ClientConfig {
        serde_json::from_value(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {"form": {}}},
            "clientInfo": {"name": "ninefold-ci", "version": "0.1.0"},
        }))
        .unwrap()
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let person = json!({"username": "ada", "email": "ada@example.com"});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(person))
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.lock().unwrap().0.push(progress.progress);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.lock().unwrap().1 += 1;
    }
}

/// Prints one line a step; the first mismatch ends the run.
fn check<T: PartialEq + Debug>(label: &str, found: T, wanted: T) -> Result<(), Failed> {
    if found != wanted {
        return Err(format!("FAIL {label}: wanted {wanted:?}, found {found:?}").into());
    }
    println!("ok   {label}");
    Ok(())
}

/// Calls a tool; the text of its first block.
async fn call(
    client: &RunningService<RoleClient, Heard>,
    tool: &'static str,
    arguments: Value,
) -> Result<String, Failed> {
    let mut params = CallToolRequestParams::new(tool);
    params.arguments = arguments.as_object().cloned();
    text(client.call_tool(params).await?, "/content/0/text")
}

/// The text at `path` of a result as it is on the wire.
fn text(result: impl serde::Serialize, path: &str) -> Result<String, Failed> {
    let result = serde_json::to_value(result)?;
    let text = result.pointer(path).and_then(Value::as_str);
    Ok(text
        .ok_or_else(|| format!("FAIL no text at {path} of {result}"))?
        .to_owned())
}

async fn list_change(
    client: &RunningService<RoleClient, Heard>,
    era: &str,
    heard: &Heard,
) -> Result<(), Failed> {
    let label = format!("{era}: list change");
    if era == "modern" {
        let wanted = SubscriptionFilter::builder().tools_list_changed().build();
        let mut subscription = client.listen(wanted).await?;
        call(client, "test_trigger_tool_change", json!({})).await?;
        let news = subscription.next().await?;
        let told = matches!(
            news,
            Some(ServerNotification::ToolListChangedNotification(_))
        );
        return check(&label, told, true);
    }
    // The stream of the session is opened behind the handshake.
    for _ in 0..200 {
        call(client, "test_trigger_tool_change", json!({})).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if heard.changes() > 0 {
            break;
        }
    }
    check(&label, heard.changes() > 0, true)
}

async fn exercise(url: &str, era: &str, how: ClientLifecycleMode) -> Result<(), Failed> {
    let heard = Heard::default();
    let transport = StreamableHttpClientTransport::from_uri(url);
    let client = heard.clone().serve_with_lifecycle(transport, how).await?;

    let tools = client.list_all_tools().await?;
    let listed = tools.iter().any(|it| it.name == "test_simple_text");
    check(&format!("{era}: tools/list"), listed, true)?;
    let found = call(&client, "test_simple_text", json!({})).await?;
    let wanted = "This is a simple text response for testing.";
    check(&format!("{era}: tools/call"), found.as_str(), wanted)?;

    let params = ReadResourceRequestParams::new("test://static-text");
    let found = text(client.read_resource(params).await?, "/contents/0/text")?;
    let wanted = "This is the content of the static text resource.";
    check(&format!("{era}: resources/read"), found.as_str(), wanted)?;

    let mut params = GetPromptRequestParams::new("test_prompt_with_arguments");
    params.arguments = json!({"arg1": "a", "arg2": "b"}).as_object().cloned();
    let found = text(client.get_prompt(params).await?, "/messages/0/content/text")?;
    let wanted = "Prompt with arguments: arg1='a', arg2='b'";
    check(&format!("{era}: prompts/get"), found.as_str(), wanted)?;

    call(&client, "test_tool_with_progress", json!({})).await?;
    check(
        &format!("{era}: progress"),
        heard.progress(),
        vec![0.0, 50.0, 100.0],
    )?;
    list_change(&client, era, &heard).await?;
    let found = call(
        &client,
        "test_elicitation",
        json!({"message": "Who are you?"}),
    )
    .await?;
    check(
        &format!("{era}: elicitation"),
        found.contains("\"username\":\"ada\""),
        true,
    )?;
    client.cancel().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let url = std::env::args().nth(1).ok_or("usage: interop-rmcp URL")?;
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let modern = ClientLifecycleMode::Discover { preferred_versions };
    exercise(&url, "modern", modern).await?;
    exercise(&url, "legacy", ClientLifecycleMode::Initialize).await
}
