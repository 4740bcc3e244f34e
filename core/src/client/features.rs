//! What one asks of a server.

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::ClientError;
use super::options::Progress;
use super::peer::Told;
use super::tasks::Called;
use super::{Client, Transport};
use crate::mcp::Era;

impl Client {
    /// Every tool. Over HTTP in the modern era without those whose `x-mcp-header` is broken, which
    /// must not be used.
    pub async fn tools(&self) -> Result<Vec<Value>, ClientError> {
        let mut tools = self.list("tools/list", "tools").await?;
        if let (Era::Modern, Transport::Http(_)) = (self.era(), &self.transport) {
            tools.retain(|tool| self.params.learn(tool));
        }
        self.supports.learn(&tools);
        self.promises
            .learn(&tools, self.peer.options.limits.schema_bytes);
        Ok(tools)
    }

    /// Every resource.
    pub async fn resources(&self) -> Result<Vec<Value>, ClientError> {
        self.list("resources/list", "resources").await
    }

    /// Every template of resources.
    pub async fn templates(&self) -> Result<Vec<Value>, ClientError> {
        self.list("resources/templates/list", "resourceTemplates")
            .await
    }

    /// Every prompt.
    pub async fn prompts(&self) -> Result<Vec<Value>, ClientError> {
        self.list("prompts/list", "prompts").await
    }

    /// Follows the pages of a list to its end.
    // [mcp:cursor-opaque] [mcp:cursor-empty]
    async fn list(&self, method: &str, member: &str) -> Result<Vec<Value>, ClientError> {
        let limits = &self.peer.options.limits;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut params = json!({});
        for _ in 0..limits.page_count {
            let mut page = self.request(method, params).await?;
            let Some(found) = page.get_mut(member).and_then(Value::as_array_mut) else {
                return Err(ClientError::Garbage(format!("a list without `{member}`")));
            };
            bytes += found.iter().map(|it| it.to_string().len()).sum::<usize>();
            if bytes > limits.list_bytes {
                return Err(ClientError::TooMuch("list_bytes"));
            }
            entries.append(found);
            if entries.len() > limits.entry_count {
                return Err(ClientError::TooMuch("entry_count"));
            }
            match &page["nextCursor"] {
                Value::Null => return Ok(entries),
                cursor => params = json!({"cursor": cursor}),
            }
        }
        Err(ClientError::TooMuch("page_count"))
    }

    /// Calls a tool. A tool that failed has a result, with `isError`. The result of a tool that
    /// was listed is held to what its `outputSchema` promises. In 2025-11-25 one that was listed as
    /// a tool that must be a task is called as one, and its result is waited for.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value, ClientError> {
        self.call_to_its_end(tool, arguments, None).await
    }

    /// As [`Client::call`]; `told` hears how far the call has come. That of what 2025-11-25 makes a
    /// task comes to [`super::Options::on_event`] alone.
    pub async fn call_with_progress(
        &self,
        tool: &str,
        arguments: Value,
        told: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Value, ClientError> {
        let told: Told = Arc::new(told);
        self.call_to_its_end(tool, arguments, Some(told)).await
    }

    async fn call_to_its_end(
        &self,
        tool: &str,
        arguments: Value,
        told: Option<Told>,
    ) -> Result<Value, ClientError> {
        if self.must_be_task(tool) {
            return match self.start(tool, arguments, None).await? {
                Called::Done(result) => Ok(result),
                Called::Task(task) => task.result().await,
            };
        }
        let params = json!({"name": tool, "arguments": arguments});
        let mut result = self.asked("tools/call", params, told).await?;
        if result["resultType"] == "task" {
            let id = result["taskId"].as_str().unwrap_or_default();
            result = self.task(id).result().await?;
        }
        self.promises.check(tool, &result)?;
        Ok(result)
    }

    /// Reads a resource.
    pub async fn read(&self, uri: &str) -> Result<Value, ClientError> {
        self.request("resources/read", json!({"uri": uri})).await
    }

    /// Gets a prompt; its arguments are texts.
    pub async fn prompt(&self, name: &str, arguments: Value) -> Result<Value, ClientError> {
        let params = json!({"name": name, "arguments": arguments});
        self.request("prompts/get", params).await
    }

    /// Completes an argument of what `reference` names, as in `completion/complete`.
    pub async fn complete(
        &self,
        reference: Value,
        argument: &str,
        value: &str,
    ) -> Result<Value, ClientError> {
        let argument = json!({"name": argument, "value": value});
        let params = json!({"ref": reference, "argument": argument});
        self.request("completion/complete", params).await
    }

    /// Asks for a sign of life: `ping`, or in the modern era, which has none, `server/discover`.
    pub async fn ping(&self) -> Result<(), ClientError> {
        let method = match self.era() {
            Era::Legacy => "ping",
            Era::Modern => "server/discover",
        };
        self.request(method, json!({})).await.map(|_| ())
    }

    /// Asks for the log from `level` on; in the modern era [`super::Options::log_level`] does it.
    pub async fn set_log_level(&self, level: &str) -> Result<(), ClientError> {
        self.only(Era::Legacy, "logging/setLevel")?;
        let params = json!({"level": level});
        self.request("logging/setLevel", params).await.map(|_| ())
    }
}
