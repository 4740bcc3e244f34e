//! The conversation behind one call: what its handler has said and is still to be sent, what it
//! has asked, and what it was answered.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::pending;
use std::rc::Rc;
use std::task::{Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::ask::AskError;
use crate::auth::{Identity, Owner};
use crate::context::Level;
use crate::limits::Limits;
use crate::mcp::{Capabilities, Era};
use crate::rpc::RpcError;
use crate::session::{Reply, SessionLink};
use crate::task::RELATED;

/// What a client must be able to do to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    ElicitForm,
    ElicitUrl,
    Sample,
    SampleTools,
    Roots,
}

impl Need {
    fn met(self, by: Capabilities) -> bool {
        match self {
            Self::ElicitForm => by.elicit_form,
            Self::ElicitUrl => by.elicit_url,
            Self::Sample => by.sample,
            Self::SampleTools => by.sample_tools,
            Self::Roots => by.roots,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ElicitForm => "elicitation by form",
            Self::ElicitUrl => "elicitation by URL",
            Self::Sample => "sampling",
            Self::SampleTools => "sampling with tools",
            Self::Roots => "roots",
        }
    }

    /// The capability that is missing, as the client would declare it.
    fn capability(self) -> Value {
        match self {
            Self::ElicitForm => json!({"elicitation": {"form": {}}}),
            Self::ElicitUrl => json!({"elicitation": {"url": {}}}),
            Self::Sample => json!({"sampling": {}}),
            Self::SampleTools => json!({"sampling": {"tools": {}}}),
            Self::Roots => json!({"roots": {}}),
        }
    }
}

/// How the handler of a call is to go on, when its future waits.
pub(crate) enum Standing {
    /// It waits for something else.
    Waits,
    /// It has asked what only the client can answer, with another request (modern era).
    Asks,
    /// It asked what this client cannot be asked, or the answer was malformed: the call has failed.
    Failed(RpcError),
}

/// How a call stands to becoming a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TaskWish {
    None,
    Wished,
    Granted,
    Refused,
}

pub(crate) struct Talk {
    pub(crate) era: Era,
    pub(crate) capabilities: Capabilities,
    /// Least level of log messages that the client wants; `None` for none at all.
    log_level: Option<Level>,
    /// The progress token, as JSON.
    token: Option<String>,
    done: Cell<f64>,
    /// Messages to be sent before the result, and their bytes.
    outbox: RefCell<VecDeque<String>>,
    outbox_bytes: Cell<usize>,
    room_bytes: usize,
    /// The task that sends what is in the outbox.
    sender: RefCell<Option<Waker>>,
    ended: Cell<bool>,
    stream_ends: Cell<bool>,
    /// Questions of the legacy era that wait for the client.
    waiting: Cell<u32>,
    /// Whether the call is to become a task, is one, or cannot be one.
    task: Cell<TaskWish>,
    /// The id of that task.
    task_id: RefCell<String>,
    /// The call of a task, which waits for answers.
    asker: RefCell<Option<Waker>>,
    link: Option<Rc<dyn SessionLink>>,
    identity: Option<Rc<Identity>>,
    /// Answers by key, in the modern era: those of this request and, from its state, of earlier
    /// rounds.
    answers: RefCell<Map<String, Value>>,
    used: RefCell<BTreeSet<String>>,
    wanted: RefCell<Map<String, Value>>,
    failed: RefCell<Option<RpcError>>,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk")
            .field("era", &self.era)
            .finish_non_exhaustive()
    }
}

/// What a conversation begins with.
pub(crate) struct Opening {
    pub(crate) era: Era,
    pub(crate) capabilities: Capabilities,
    pub(crate) log_level: Option<Level>,
    pub(crate) token: Option<String>,
    pub(crate) link: Option<Rc<dyn SessionLink>>,
    /// Who calls, where that has to be said.
    pub(crate) identity: Option<Rc<Identity>>,
    pub(crate) answers: Map<String, Value>,
}

impl Talk {
    pub(crate) fn new(opening: Opening, limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            era: opening.era,
            capabilities: opening.capabilities,
            log_level: opening.log_level,
            token: opening.token,
            done: Cell::new(f64::NEG_INFINITY),
            outbox: RefCell::default(),
            outbox_bytes: Cell::new(0),
            room_bytes: limits.stream_bytes,
            sender: RefCell::default(),
            ended: Cell::new(false),
            stream_ends: Cell::new(false),
            waiting: Cell::new(0),
            task: Cell::new(TaskWish::None),
            task_id: RefCell::default(),
            asker: RefCell::default(),
            link: opening.link,
            identity: opening.identity,
            answers: RefCell::new(opening.answers),
            used: RefCell::default(),
            wanted: RefCell::default(),
            failed: RefCell::default(),
        })
    }

    pub(crate) fn link(&self) -> Option<&Rc<dyn SessionLink>> {
        self.link.as_ref()
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// Whose call it is.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.identity().map(Identity::owner)
    }

    // [mcp:progress-increases] [mcp:progress-known]
    pub(crate) fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        let Some(token) = &self.token else {
            return;
        };
        if !done.is_finite() || done <= self.done.get() {
            return;
        }
        self.done.set(done);
        let mut params = json!({"progress": done});
        if let Some(total) = total {
            params["total"] = total.into();
        }
        if let Some(message) = message {
            params["message"] = message.into();
        }
        // The token is JSON already; a client gets back the very text it sent.
        params["progressToken"] = serde_json::from_str(token).unwrap_or_default();
        self.send(&json!({
            "jsonrpc": "2.0", "method": "notifications/progress", "params": params,
        }));
    }

    // [mcp:logging-asked]
    pub(crate) fn log(&self, level: Level, data: &impl Serialize) {
        if self.log_level.is_none_or(|least| level < least) {
            return;
        }
        let data = serde_json::to_value(data).unwrap_or_default();
        self.send(&json!({
            "jsonrpc": "2.0", "method": "notifications/message",
            "params": {"level": level, "data": data},
        }));
    }

    // [mcp:elicit-complete]
    pub(crate) fn complete_elicitation(&self, id: &str) {
        let asked = self.era == Era::Legacy && Need::ElicitUrl.met(self.capabilities);
        if let Some(link) = self.link.as_ref().filter(|_| asked) {
            let note = json!({
                "jsonrpc": "2.0", "method": "notifications/elicitation/complete",
                "params": {"elicitationId": id},
            });
            if self.task.get() == TaskWish::Granted {
                self.send_of_task(&note);
            } else {
                link.say(note.to_string());
            }
        }
    }

    /// Queues a message; false when it was dropped, because the call has ended or the client does
    /// not read what is there already.
    fn send(&self, message: &Value) -> bool {
        if self.task.get() == TaskWish::Granted {
            return self.send_of_task(message);
        }
        self.pass_on(message.to_string())
    }

    /// Queues a whole message; false when it was dropped.
    pub(crate) fn pass_on(&self, text: String) -> bool {
        let bytes = self.outbox_bytes.get() + text.len();
        if self.ended.get() || bytes > self.room_bytes {
            return false;
        }
        self.outbox_bytes.set(bytes);
        self.outbox.borrow_mut().push_back(text);
        self.wake();
        true
    }

    /// A task has no stream of its own: what it says goes to that of its session. The modern era
    /// has neither.
    // [mcp:tasks-progress]
    fn send_of_task(&self, message: &Value) -> bool {
        let Some(link) = &self.link else {
            return false;
        };
        let mut message = message.clone();
        message["params"]["_meta"] = self.related();
        link.say(message.to_string());
        true
    }

    /// The `_meta` of what belongs to the task, in the legacy era.
    // [mcp:tasks-related]
    fn related(&self) -> Value {
        json!({RELATED: {"taskId": *self.task_id.borrow()}})
    }

    fn wake(&self) {
        if let Some(waker) = self.sender.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The next message to be sent.
    // [mcp:http-stream-notes]
    pub(crate) fn take_message(&self) -> Option<String> {
        let text = self.outbox.borrow_mut().pop_front()?;
        self.outbox_bytes.set(self.outbox_bytes.get() - text.len());
        Some(text)
    }

    /// Remembers who is to be woken when there is a message to be sent.
    pub(crate) fn note_sender(&self, waker: &Waker) {
        let mut sender = self.sender.borrow_mut();
        if !sender.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *sender = Some(waker.clone());
        }
    }

    /// What is said from now on is dropped.
    pub(crate) fn end(&self) {
        self.ended.set(true);
    }

    pub(crate) fn end_stream(&self) {
        if self.link.is_some() {
            self.stream_ends.set(true);
            self.wake();
        }
    }

    /// Whether the stream is to end now; true once for each wish.
    pub(crate) fn takes_stream_end(&self) -> bool {
        self.stream_ends.replace(false)
    }

    /// Whether a question waits for the client, which takes the time that a person takes.
    pub(crate) fn waits_for_client(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Makes the call a task, if its client and the node have tasks.
    // [mcp:result-type-extension] [mcp:extensions-fallback]
    pub(crate) async fn become_task(&self) -> bool {
        if self.era == Era::Modern && self.capabilities.tasks && self.task.get() == TaskWish::None {
            self.task.set(TaskWish::Wished);
        }
        // Whoever runs the call decides while it waits here.
        std::future::poll_fn(|_| match self.task.get() {
            TaskWish::Wished => Poll::Pending,
            wish => Poll::Ready(wish == TaskWish::Granted),
        })
        .await
    }

    /// As [`Talk::become_task`], but the call fails where there are no tasks.
    pub(crate) async fn require_task(&self) {
        if !self.become_task().await {
            let error = match self.era {
                Era::Modern => RpcError::no_tasks(),
                Era::Legacy => RpcError::failed("this tool runs only as a task"),
            };
            self.fail(error).await
        }
    }

    /// Whether the call wants to become a task.
    pub(crate) fn wishes_task(&self) -> bool {
        self.task.get() == TaskWish::Wished
    }

    /// Decides on that wish.
    pub(crate) fn grant_task(&self, granted: bool) {
        self.task.set(if granted {
            TaskWish::Granted
        } else {
            TaskWish::Refused
        });
    }

    /// Remembers which task the call has become.
    pub(crate) fn name_task(&self, id: &str) {
        self.task_id.replace(id.to_owned());
    }

    /// Whether a task waits for its client.
    pub(crate) fn asks(&self) -> bool {
        !self.wanted.borrow().is_empty()
    }

    /// The keys of what a task asks now.
    pub(crate) fn open_questions(&self) -> Vec<String> {
        self.wanted.borrow().keys().cloned().collect()
    }

    /// Remembers the call of a task, which waits for answers.
    pub(crate) fn note_asker(&self, waker: &Waker) {
        *self.asker.borrow_mut() = Some(waker.clone());
    }

    /// What a task asks now, by key.
    pub(crate) fn wanted(&self) -> Map<String, Value> {
        self.wanted.borrow().clone()
    }

    /// Takes answers to what a task asks; others are ignored. True when there was one.
    pub(crate) fn answer(&self, answers: Map<String, Value>) -> bool {
        let mut taken = false;
        for (key, answer) in answers {
            if self.wanted.borrow_mut().remove(&key).is_some() {
                self.answers.borrow_mut().insert(key, answer);
                taken = true;
            }
        }
        if taken && let Some(asker) = self.asker.take() {
            asker.wake();
        }
        taken
    }

    /// Questions that only another request of the client can answer.
    pub(crate) fn take_wanted(&self) -> Map<String, Value> {
        self.wanted.take()
    }

    /// The answers that the handler has made use of, for the state of the next round. What it never
    /// asked for goes no further.
    pub(crate) fn used_answers(&self) -> Map<String, Value> {
        let mut answers = self.answers.take();
        let used = self.used.borrow();
        answers.retain(|key, _| used.contains(key));
        answers
    }

    pub(crate) fn standing(&self) -> Standing {
        if let Some(error) = self.failed.take() {
            return Standing::Failed(error);
        }
        if self.wanted.borrow().is_empty() {
            Standing::Waits
        } else {
            Standing::Asks
        }
    }

    /// Asks the client.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        key: &str,
        method: &'static str,
        params: Option<Value>,
        need: Need,
    ) -> Result<T, AskError> {
        match self.era {
            _ if !need.met(self.capabilities) => self.cannot_ask(need).await,
            Era::Modern if self.task.get() == TaskWish::Granted => {
                self.ask_in_task(key, method, params).await
            }
            Era::Modern => self.ask_in_rounds(key, method, params).await,
            Era::Legacy => self.ask_on_stream(method, params).await,
        }
    }

    // [mcp:capability-need] [mcp:mrtr-declared] [mcp:elicit-mode]
    async fn cannot_ask<T>(&self, need: Need) -> Result<T, AskError> {
        match self.era {
            Era::Legacy => Err(AskError::Unsupported(need.name())),
            Era::Modern => {
                self.fail(RpcError::missing_capability(
                    need.name(),
                    &need.capability(),
                ))
                .await
            }
        }
    }

    /// Ends the call with `error`: its handler never comes back from here.
    async fn fail<T>(&self, error: RpcError) -> T {
        self.failed.borrow_mut().get_or_insert(error);
        pending().await
    }

    // [mcp:mrtr-no-requests] [mcp:mrtr-no-wait]
    async fn ask_in_rounds<T: DeserializeOwned>(
        &self,
        key: &str,
        method: &'static str,
        params: Option<Value>,
    ) -> Result<T, AskError> {
        let answer = self.answers.borrow().get(key).cloned();
        if let Some(answer) = answer {
            self.used.borrow_mut().insert(key.to_owned());
            return match serde_json::from_value(answer) {
                Ok(answer) => Ok(answer),
                Err(error) => {
                    let what = format!("Invalid params: inputResponses.{key}: {error}");
                    self.fail(RpcError::invalid_params(what)).await
                }
            };
        }
        let mut request = json!({"method": method});
        if let Some(params) = params {
            request["params"] = params;
        }
        self.wanted.borrow_mut().insert(key.to_owned(), request);
        pending().await
    }

    async fn ask_in_task<T: DeserializeOwned>(
        &self,
        key: &str,
        method: &'static str,
        params: Option<Value>,
    ) -> Result<T, AskError> {
        let mut request = json!({"method": method});
        if let Some(params) = params {
            request["params"] = params;
        }
        if !self.answers.borrow().contains_key(key) {
            self.wanted.borrow_mut().insert(key.to_owned(), request);
        }
        let answer = std::future::poll_fn(|_| match self.answers.borrow().get(key) {
            Some(answer) => Poll::Ready(answer.clone()),
            None => Poll::Pending,
        });
        serde_json::from_value(answer.await).map_err(|error| {
            // Asked again, it waits for a better one.
            self.answers.borrow_mut().remove(key);
            AskError::Malformed(error.to_string())
        })
    }

    async fn ask_on_stream<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Option<Value>,
    ) -> Result<T, AskError> {
        let Some(link) = &self.link else {
            return Err(AskError::Unsupported(
                "requests of the server without a session",
            ));
        };
        let expected = link.expect().ok_or(AskError::Full)?;
        let mut request = json!({"jsonrpc": "2.0", "id": expected.id, "method": method});
        if let Some(params) = params {
            request["params"] = params;
        }
        let reply = if self.task.get() == TaskWish::Granted {
            // It goes out with the request for the task's result that its client is to make.
            request["params"]["_meta"] = self.related();
            let _wanted = Wanted::new(&self.wanted, &expected.id, request);
            expected.reply.await
        } else if self.send(&request) {
            let _waits = Waits::new(&self.waiting);
            expected.reply.await
        } else {
            return Err(AskError::Full);
        };
        match reply {
            Some(Reply::Result(json)) => {
                serde_json::from_str(&json).map_err(|error| AskError::Malformed(error.to_string()))
            }
            Some(Reply::Error { code, message }) => Err(AskError::Refused { code, message }),
            None => Err(AskError::Late),
        }
    }
}

/// Counts a question as waiting, however the wait ends.
struct Waits<'a>(&'a Cell<u32>);

impl<'a> Waits<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A question of a task, which is open until its wait ends, however it does.
struct Wanted<'a>(&'a RefCell<Map<String, Value>>, &'a str);

impl<'a> Wanted<'a> {
    fn new(all: &'a RefCell<Map<String, Value>>, id: &'a str, question: Value) -> Self {
        all.borrow_mut().insert(id.to_owned(), question);
        Self(all, id)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(self.1);
    }
}
