//! What both transports share: requests that wait for their answers, and the server's questions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::error::ClientError;
use super::listen::{Change, Ear};
use super::message::{Incoming, Question, write_answer};
use super::options::{Event, Options, Progress, VISIT};
use super::visits::Visits;
use crate::mcp::{Era, META_SUBSCRIPTION};
use crate::task::RELATED;
use crate::turns;

/// Locks; what a panic left behind is still whole, because nothing here is changed in steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Outcome = Result<Value, ClientError>;

#[derive(Default)]
struct Pending {
    waiting: HashMap<u64, Expecting>,
    /// Why nothing more will come.
    end: Option<ClientError>,
}

/// What is known of a request while it waits.
struct Expecting {
    answer: oneshot::Sender<Outcome>,
    life: Arc<Notify>,
    told: Option<Told>,
}

/// Is told of the progress of one request.
pub(crate) type Told = Arc<dyn Fn(Progress) + Send + Sync>;

pub(crate) struct Peer {
    pub(crate) options: Options,
    pending: Mutex<Pending>,
    /// The pages that a person was sent to.
    visits: Visits,
    /// Who is told of changes.
    ears: Mutex<Vec<Arc<Ear>>>,
    next_id: AtomicU64,
    answering: Arc<AtomicUsize>,
    /// Whether the era is one in which servers ask only within results.
    never_asked: AtomicBool,
    /// That a server has asked all the same, which is said once.
    was_asked: AtomicBool,
}

/// A request under way; forgotten when dropped.
pub(crate) struct Waiting<'a> {
    pub(crate) id: u64,
    pub(crate) answer: oneshot::Receiver<Outcome>,
    pub(crate) life: Arc<Notify>,
    peer: &'a Peer,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.peer.pending).waiting.remove(&self.id);
    }
}

impl Peer {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            pending: Mutex::default(),
            visits: Visits::default(),
            ears: Mutex::default(),
            next_id: AtomicU64::new(1),
            answering: Arc::default(),
            never_asked: AtomicBool::default(),
            was_asked: AtomicBool::default(),
        }
    }

    /// What is spoken from now on.
    pub(crate) fn speak(&self, era: Era) {
        self.never_asked
            .store(era == Era::Modern, Ordering::Relaxed);
    }

    /// Tells `ear` of changes from now on.
    pub(super) fn listen(&self, ear: Arc<Ear>) {
        let ended = lock(&self.pending).end.is_some();
        if ended {
            ear.end();
        }
        lock(&self.ears).push(ear);
    }

    /// Tells it no more.
    pub(super) fn deafen(&self, ear: &Arc<Ear>) {
        lock(&self.ears).retain(|it| !Arc::ptr_eq(it, ear));
    }

    /// Whether anybody is told of changes.
    pub(crate) fn listens(&self) -> bool {
        self.options.told.is_some() || !lock(&self.ears).is_empty()
    }

    /// Counts what somebody here is asked meanwhile; no request is late while that is so.
    pub(crate) fn answering(&self) -> Arc<AtomicUsize> {
        self.answering.clone()
    }

    /// A new request, unless the server is gone; `told` hears of its progress.
    // [mcp:rpc-id-unique] [mcp:progress-token] [mcp:mrtr-new-id]
    pub(crate) fn register(&self, told: Option<Told>) -> Result<Waiting<'_>, ClientError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let life = Arc::new(Notify::new());
        let mut pending = lock(&self.pending);
        if let Some(end) = &pending.end {
            return Err(end.clone());
        }
        let expecting = Expecting {
            answer: sender,
            life: life.clone(),
            told,
        };
        pending.waiting.insert(id, expecting);
        drop(pending);
        Ok(Waiting {
            id,
            answer,
            life,
            peer: self,
        })
    }

    /// Nothing more will come: every request fails.
    pub(crate) fn end(&self, why: &ClientError) {
        let mut pending = lock(&self.pending);
        pending.end.get_or_insert_with(|| why.clone());
        let waiting = std::mem::take(&mut pending.waiting);
        drop(pending);
        lock(&self.ears).iter().for_each(|ear| ear.end());
        for expecting in waiting.into_values() {
            // Whoever no longer waits needs no answer.
            let _ = expecting.answer.send(Err(why.clone()));
        }
    }

    /// Takes in a message that is not the answer to the request it came for; a question is given
    /// back, to be answered.
    pub(crate) fn take(&self, incoming: Incoming) -> Option<Question> {
        match incoming {
            Incoming::Answer(Some(id), outcome) => {
                let waiting = lock(&self.pending).waiting.remove(&id);
                if let Some(expecting) = waiting {
                    let _ = expecting.answer.send(outcome);
                }
                None
            }
            Incoming::Answer(None, _) => None,
            Incoming::Notification(method, params) => {
                self.notified(&method, params);
                None
            }
            Incoming::Question(question) => self.may_answer(&question).then_some(question),
        }
    }

    /// Whether a question is answered. In the modern era a client sends no responses: a question
    /// that comes all the same is dropped, and a server that waits for it is late with its own
    /// answer.
    // [mcp:stdio-no-responses] [mcp:http-no-responses]
    fn may_answer(&self, question: &Question) -> bool {
        let dropped = self.never_asked.load(Ordering::Relaxed);
        if dropped && !self.was_asked.swap(true, Ordering::Relaxed) {
            let method = question.method.as_str();
            tracing::warn!(
                method,
                "the server sends requests, which its era does not have: they are not answered"
            );
        }
        !dropped
    }

    fn notified(&self, method: &str, mut params: Value) {
        let subscription = params["_meta"][META_SUBSCRIPTION].as_u64();
        if let Some(params) = params.as_object_mut().filter(|_| subscription.is_some()) {
            params.remove("_meta");
        }
        if let Some(change) = Change::of(method, &params) {
            let ears = lock(&self.ears).clone();
            ears.iter().for_each(|ear| ear.hear(subscription, &change));
        }
        let event = match method {
            "notifications/progress" => {
                let progress = Progress {
                    progress: params["progress"].as_f64().unwrap_or_default(),
                    total: params["total"].as_f64(),
                    message: params["message"].as_str().map(str::to_owned),
                };
                if let Some(told) = self.alive(params["progressToken"].as_u64()) {
                    told(progress.clone());
                }
                Event::Progress(progress)
            }
            "notifications/message" => Event::Log {
                level: params["level"].as_str().unwrap_or_default().to_owned(),
                data: params.get_mut("data").map(Value::take).unwrap_or_default(),
            },
            "notifications/subscriptions/acknowledged" => {
                self.alive(subscription);
                return;
            }
            "notifications/resources/updated" => {
                Event::Updated(params["uri"].as_str().unwrap_or_default().to_owned())
            }
            "notifications/tasks" | "notifications/tasks/status" => Event::Task(params),
            "notifications/elicitation/complete" => {
                let id = params["elicitationId"].as_str().unwrap_or_default();
                // [mcp:elicit-complete]
                if !self.visits.end(id) {
                    return;
                }
                Event::Elicited(id.to_owned())
            }
            _ => {
                let list = method.strip_prefix("notifications/");
                match list.and_then(|it| it.strip_suffix("/list_changed")) {
                    Some(list) => Event::ListChanged(list.to_owned()),
                    None => Event::Other(method.to_owned(), params),
                }
            }
        };
        if let Some(told) = &self.options.told {
            told(event);
        }
    }

    /// A sign of life of the request with this id; who is told of its progress.
    fn alive(&self, id: Option<u64>) -> Option<Told> {
        let pending = lock(&self.pending);
        let expecting = pending.waiting.get(&id?)?;
        expecting.life.notify_one();
        expecting.told.clone()
    }

    /// The answer to a question of the server, as a message. One that belongs to a task says so.
    // [mcp:tasks-related]
    pub(crate) async fn answer(&self, question: Question) -> Vec<u8> {
        let Question { id, method, params } = question;
        let related = params["_meta"].get(RELATED).cloned();
        let mut outcome = match method.as_str() {
            "ping" => Ok(json!({})),
            _ => match self.ask(&method, params).await {
                Some(outcome) => outcome,
                None => Err((-32601, format!("nobody answers {method} here"))),
            },
        };
        if let (Ok(Value::Object(result)), Some(related)) = (&mut outcome, related) {
            let meta = result.entry("_meta").or_insert_with(|| json!({}));
            if let Some(meta) = meta.as_object_mut() {
                meta.insert(RELATED.to_owned(), related);
            }
        }
        write_answer(&id, outcome)
    }

    /// What the handler of `method` answers; `None` if there is no handler.
    pub(crate) async fn ask(
        &self,
        method: &str,
        params: Value,
    ) -> Option<Result<Value, (i64, String)>> {
        let by_url = method == "elicitation/create" && params["mode"] == "url";
        if by_url && !self.options.visits(&params["url"]) {
            return Some(Ok(json!({"action": "decline"})));
        }
        let method = if by_url { VISIT } else { method };
        let handler = self.options.handlers.get(method)?;
        // [mcp:sampling-turns]
        if let ("sampling/createMessage", Some(messages)) = (method, params["messages"].as_array())
            && let Err(why) = turns::check(messages)
        {
            return Some(Err((-32602, format!("Invalid params: {why}"))));
        }
        let limits = &self.options.limits;
        let busy = Busy::new(&self.answering);
        if busy.before >= limits.questions_count {
            return Some(Err((-32603, "too many questions at a time".to_owned())));
        }
        let page = params["elicitationId"].as_str().filter(|_| by_url);
        let page = page.map(str::to_owned);
        // The server may tell of the end of a visit before the person's answer is there.
        page.iter().for_each(|id| self.visits.begin(id));
        let time = Duration::from_millis(limits.answer_ms);
        let late = (-32603, "nobody answered in time".to_owned());
        let outcome = timeout(time, handler(params)).await.unwrap_or(Err(late));
        let goes = |answer: &Value| answer["action"] == "accept";
        if let Some(id) = page.filter(|_| !outcome.as_ref().is_ok_and(goes)) {
            self.visits.end(&id);
        }
        Some(outcome)
    }

    /// Ends when a request has waited too long, with the name of the limit. Neither time in which
    /// the server shows life nor time in which it waits for an answer of ours counts as silence.
    pub(crate) async fn silence(&self, life: &Notify) -> &'static str {
        let limits = &self.options.limits;
        let total = sleep(Duration::from_millis(limits.request_total_ms));
        tokio::pin!(total);
        loop {
            tokio::select! {
                () = &mut total => return "request_total_ms",
                () = sleep(Duration::from_millis(limits.request_ms)) => {
                    if self.answering.load(Ordering::Relaxed) == 0 {
                        return "request_ms";
                    }
                }
                () = life.notified() => {}
            }
        }
    }
}

/// Counts a question while it is answered.
pub(crate) struct Busy<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Busy<'a> {
    pub(crate) fn new(count: &'a AtomicUsize) -> Self {
        let before = count.fetch_add(1, Ordering::Relaxed);
        Self { count, before }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [mcp:tasks-related]
    #[test]
    fn the_answer_to_what_a_task_asks_names_the_task() {
        let options = Options::new("test", "1")
            .on_elicit(|_| std::future::ready(Ok(json!({"action": "decline"}))));
        let peer = Peer::new(options);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let related = json!({"taskId": "t"});
        for (meta, wanted) in [
            (json!({RELATED: related}), json!({RELATED: related})),
            (json!({}), Value::Null),
        ] {
            let question = Question {
                id: json!(1),
                method: "elicitation/create".to_owned(),
                params: json!({"message": "Sure?", "_meta": meta}),
            };
            let answer = runtime.block_on(peer.answer(question));
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["result"]["action"], "decline");
            assert_eq!(answer["result"]["_meta"], wanted);
        }
    }

    // [mcp:sampling-turns]
    #[test]
    fn a_model_is_not_asked_where_a_tool_use_has_no_result() {
        let options = Options::new("test", "1")
            .on_sample(|_| std::future::ready(Ok(json!({"role": "assistant", "model": "m"}))));
        let peer = Peer::new(options);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let used = json!({"role": "assistant", "content": {"type": "tool_use", "id": "1"}});
        let made = json!({"role": "user", "content": {"type": "tool_result", "toolUseId": "1"}});
        for (messages, code) in [
            (json!([used, made]), Value::Null),
            (json!([used]), json!(-32602)),
        ] {
            let question = Question {
                id: json!(1),
                method: "sampling/createMessage".to_owned(),
                params: json!({"maxTokens": 1, "messages": messages}),
            };
            let answer = runtime.block_on(peer.answer(question));
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["error"]["code"], code, "{answer}");
        }
    }
}
