//! Calls that go on as tasks: experimental in 2025-11-25, an extension of the modern era.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use super::Client;
use super::error::ClientError;
use super::limits::TASK_POLL_MIN_MS;
use crate::mcp::Era;
use crate::tool::TaskSupport;

/// What a call has become.
#[derive(Debug)]
pub enum Called<'a> {
    /// It is done: its result.
    Done(Value),
    /// It goes on as a task.
    Task(Task<'a>),
}

/// A task of the server. Dropping it does not end it: its id leads back to it.
#[derive(Debug)]
pub struct Task<'a> {
    client: &'a Client,
    id: String,
    /// The tool that was called, if that is known.
    tool: Option<String>,
}

impl Client {
    /// Calls a tool and does not wait, if the server makes the call a task. In 2025-11-25 it is the
    /// client that asks for a task, to be remembered for `ttl`, if the server has tasks; tools that
    /// were not listed yet are listed first. In the modern era it is the server that decides, if
    /// [`super::Options::tasks`] says that the client knows tasks.
    ///
    /// # Errors
    /// As any request; [`ClientError::NoTask`], before the call is made, of a tool whose
    /// `execution.taskSupport` does not allow a task.
    // [mcp:tasks-declared]
    pub async fn start(
        &self,
        tool: &str,
        arguments: Value,
        ttl: Option<Duration>,
    ) -> Result<Called<'_>, ClientError> {
        let mut params = json!({"name": tool, "arguments": arguments});
        if self.asks_for_tasks() {
            self.may_be_task(tool).await?;
            params["task"] = match ttl.map(|ttl| u64::try_from(ttl.as_millis())) {
                Some(Ok(ms)) => json!({"ttl": ms}),
                _ => json!({}),
            };
        }
        let result = self.asked("tools/call", params, None).await?;
        let id = match self.era() {
            Era::Legacy => &result["task"]["taskId"],
            Era::Modern if result["resultType"] == "task" => &result["taskId"],
            Era::Modern => &Value::Null,
        };
        if let Some(id) = id.as_str() {
            let mut task = self.task(id);
            task.tool = Some(tool.to_owned());
            return Ok(Called::Task(task));
        }
        self.promises.check(tool, &result)?;
        Ok(Called::Done(result))
    }

    /// Whether it is the client that asks for tasks here.
    fn asks_for_tasks(&self) -> bool {
        let able = &self.server().capabilities["tasks"]["requests"]["tools"]["call"];
        self.era() == Era::Legacy && able.is_object()
    }

    /// Whether `tool` was listed as one that must be a task.
    // [mcp:tasks-asked]
    pub(super) fn must_be_task(&self, tool: &str) -> bool {
        self.supports.of(tool) == Some(TaskSupport::Required) && self.asks_for_tasks()
    }

    /// Refuses a task of a tool that does not say that it can be one.
    // [mcp:tasks-asked]
    async fn may_be_task(&self, tool: &str) -> Result<(), ClientError> {
        if self.supports.of(tool).is_none() {
            self.tools().await?;
        }
        match self.supports.of(tool) {
            Some(TaskSupport::Optional | TaskSupport::Required) => Ok(()),
            Some(TaskSupport::Forbidden) | None => Err(ClientError::NoTask(tool.to_owned())),
        }
    }

    /// The task `id` of this server, begun by whomever: in 2025-11-25 by this session.
    pub fn task(&self, id: &str) -> Task<'_> {
        Task {
            client: self,
            id: id.to_owned(),
            tool: None,
        }
    }
}

impl Task<'_> {
    /// What leads back to it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it stands, described as the server's era does.
    pub async fn state(&self) -> Result<Value, ClientError> {
        self.ask("tasks/get").await
    }

    /// Ends it.
    ///
    /// # Errors
    /// As any request; -32602 for one that has ended, in the legacy era.
    // [mcp:cancel-task]
    pub async fn cancel(&self) -> Result<(), ClientError> {
        self.ask("tasks/cancel").await.map(drop)
    }

    /// Waits for its result and answers what it asks meanwhile.
    ///
    /// # Errors
    /// The error that the call has ended with; [`ClientError::TaskCancelled`];
    /// [`ClientError::Late`] beyond `task_ms`, and the task goes on.
    pub async fn result(&self) -> Result<Value, ClientError> {
        let limits = &self.client.peer.options.limits;
        let waited = timeout(Duration::from_millis(limits.task_ms), async {
            match self.client.era() {
                Era::Legacy => self.result_on_stream().await,
                Era::Modern => self.result_in_state().await,
            }
        });
        let late = || ClientError::late("tasks/get", "task_ms");
        let result = waited.await.unwrap_or_else(|_| Err(late()))?;
        if let Some(tool) = &self.tool {
            self.client.promises.check(tool, &result)?;
        }
        Ok(result)
    }

    async fn ask(&self, method: &str) -> Result<Value, ClientError> {
        self.client
            .request(method, json!({"taskId": self.id}))
            .await
    }

    /// The modern era: the state holds questions and, in the end, the result.
    async fn result_in_state(&self) -> Result<Value, ClientError> {
        let mut answered = BTreeSet::new();
        loop {
            let mut state = self.state().await?;
            match state["status"].as_str().unwrap_or_default() {
                "working" => {}
                "input_required" => self.answer(&state, &mut answered).await?,
                "completed" => return Ok(state["result"].take()),
                "failed" => {
                    let error = &mut state["error"];
                    return Err(ClientError::Rpc {
                        code: error["code"].as_i64().unwrap_or_default(),
                        message: error["message"].as_str().unwrap_or_default().to_owned(),
                        data: error.get_mut("data").map(|data| Box::new(data.take())),
                    });
                }
                "cancelled" => return Err(ClientError::TaskCancelled),
                other => return Err(ClientError::Garbage(format!("a task that is `{other}`"))),
            }
            self.pause(&state["pollIntervalMs"]).await;
        }
    }

    /// Answers what the task asks and was not answered yet; its keys are never used twice.
    async fn answer(
        &self,
        state: &Value,
        answered: &mut BTreeSet<String>,
    ) -> Result<(), ClientError> {
        let mut answers = Map::new();
        for (key, question) in state["inputRequests"].as_object().into_iter().flatten() {
            if !answered.contains(key) {
                let answer = self.client.answer(question).await?;
                answers.insert(key.clone(), answer);
            }
        }
        if answers.is_empty() {
            return Ok(());
        }
        answered.extend(answers.keys().cloned());
        let params = json!({"taskId": self.id, "inputResponses": answers});
        self.client.request("tasks/update", params).await.map(drop)
    }

    /// The legacy era: the request for the result waits, and questions come on its stream.
    // [mcp:tasks-patience]
    async fn result_on_stream(&self) -> Result<Value, ClientError> {
        loop {
            let state = self.state().await?;
            if state["status"] != "working" {
                match self.ask("tasks/result").await {
                    // Its questions take the time that a person takes: it is asked again.
                    Err(error) if error.is_late() => {}
                    Err(_) if state["status"] == "cancelled" => {
                        return Err(ClientError::TaskCancelled);
                    }
                    outcome => return outcome,
                }
            }
            self.pause(&state["pollInterval"]).await;
        }
    }

    /// Waits as long as the server wishes between two questions, within bounds.
    async fn pause(&self, wished: &Value) {
        let longest = Duration::from_millis(self.client.peer.options.limits.retry_max_ms);
        let shortest = Duration::from_millis(TASK_POLL_MIN_MS);
        let wished = wished.as_u64().map_or(shortest, Duration::from_millis);
        sleep(wished.clamp(shortest.min(longest), longest)).await;
    }
}
