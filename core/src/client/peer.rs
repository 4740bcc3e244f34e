//! What both transports share: requests that wait for their answers, and the server's questions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::error::ClientError;
use super::message::{Incoming, Question, write_answer};
use super::options::{Event, Options};
use crate::mcp::META_SUBSCRIPTION;

/// Locks; what a panic left behind is still whole, because nothing here is changed in steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Outcome = Result<Value, ClientError>;

#[derive(Default)]
struct Pending {
    waiting: HashMap<u64, (oneshot::Sender<Outcome>, Arc<Notify>)>,
    /// Why nothing more will come.
    end: Option<ClientError>,
}

pub(crate) struct Peer {
    pub(crate) options: Options,
    pending: Mutex<Pending>,
    next_id: AtomicU64,
    answering: Arc<AtomicUsize>,
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
            next_id: AtomicU64::new(1),
            answering: Arc::default(),
        }
    }

    /// Counts what somebody here is asked meanwhile; no request is late while that is so.
    pub(crate) fn answering(&self) -> Arc<AtomicUsize> {
        self.answering.clone()
    }

    /// A new request, unless the server is gone.
    // [mcp:rpc-id-unique] [mcp:progress-token] [mcp:mrtr-new-id]
    pub(crate) fn register(&self) -> Result<Waiting<'_>, ClientError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let life = Arc::new(Notify::new());
        let mut pending = lock(&self.pending);
        if let Some(end) = &pending.end {
            return Err(end.clone());
        }
        pending.waiting.insert(id, (sender, life.clone()));
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
        for (sender, _) in waiting.into_values() {
            // Whoever no longer waits needs no answer.
            let _ = sender.send(Err(why.clone()));
        }
    }

    /// Takes in a message that is not the answer to the request it came for; a question is given
    /// back, to be answered.
    pub(crate) fn take(&self, incoming: Incoming) -> Option<Question> {
        match incoming {
            Incoming::Answer(Some(id), outcome) => {
                let waiting = lock(&self.pending).waiting.remove(&id);
                if let Some((sender, _)) = waiting {
                    let _ = sender.send(outcome);
                }
                None
            }
            Incoming::Answer(None, _) => None,
            Incoming::Notification(method, params) => {
                self.notified(&method, params);
                None
            }
            Incoming::Question(question) => Some(question),
        }
    }

    fn notified(&self, method: &str, mut params: Value) {
        let event = match method {
            "notifications/progress" => {
                self.alive(&params["progressToken"]);
                Event::Progress {
                    progress: params["progress"].as_f64().unwrap_or_default(),
                    total: params["total"].as_f64(),
                    message: params["message"].as_str().map(str::to_owned),
                }
            }
            "notifications/message" => Event::Log {
                level: params["level"].as_str().unwrap_or_default().to_owned(),
                data: params.get_mut("data").map(Value::take).unwrap_or_default(),
            },
            "notifications/subscriptions/acknowledged" => {
                self.alive(&params["_meta"][META_SUBSCRIPTION]);
                return;
            }
            "notifications/resources/updated" => {
                Event::Updated(params["uri"].as_str().unwrap_or_default().to_owned())
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

    /// A sign of life of the request with this id.
    fn alive(&self, id: &Value) {
        let id = id.as_u64().unwrap_or_default();
        if let Some((_, life)) = lock(&self.pending).waiting.get(&id) {
            life.notify_one();
        }
    }

    /// The answer to a question of the server, as a message.
    pub(crate) async fn answer(&self, question: Question) -> Vec<u8> {
        let Question { id, method, params } = question;
        let outcome = match method.as_str() {
            "ping" => Ok(serde_json::json!({})),
            _ => match self.ask(&method, params).await {
                Some(outcome) => outcome,
                None => Err((-32601, format!("nobody answers {method} here"))),
            },
        };
        write_answer(&id, outcome)
    }

    /// What the handler of `method` answers; `None` if there is no handler.
    pub(crate) async fn ask(
        &self,
        method: &str,
        params: Value,
    ) -> Option<Result<Value, (i64, String)>> {
        let handler = self.options.handlers.get(method)?;
        let limits = &self.options.limits;
        let busy = Busy::new(&self.answering);
        if busy.before >= limits.questions_count {
            return Some(Err((-32603, "too many questions at a time".to_owned())));
        }
        let time = Duration::from_millis(limits.answer_ms);
        let late = (-32603, "nobody answered in time".to_owned());
        Some(timeout(time, handler(params)).await.unwrap_or(Err(late)))
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
