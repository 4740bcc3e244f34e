//! Being told of changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TryRecvError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::error::ClientError;
use super::http::{Headers, Http};
use super::message::write;
use super::peer::{Peer, Waiting, lock};
use super::stdio::Stdio;
use super::{Client, Transport};
use crate::mcp::Era;

/// What one wants to be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Changes of the list of tools.
    pub tools: bool,
    /// Changes of the list of prompts.
    pub prompts: bool,
    /// Changes of the list of resources.
    pub resources: bool,
    /// Changes of these resources.
    pub uris: Vec<String>,
    /// How these tasks stand; the legacy era tells of all tasks of the session.
    pub tasks: Vec<String>,
}

/// A change that was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// The resource of this URI.
    Resource(String),
    /// A task, described as the server's era does.
    Task(Value),
    /// Changes came faster than they were taken, and some were dropped: look at all of it.
    Missed,
}

impl Change {
    /// The change that a notification tells, if it tells one.
    pub(super) fn of(method: &str, params: &Value) -> Option<Self> {
        Some(match method {
            "notifications/tools/list_changed" => Self::Tools,
            "notifications/prompts/list_changed" => Self::Prompts,
            "notifications/resources/list_changed" => Self::Resources,
            "notifications/resources/updated" => {
                Self::Resource(params["uri"].as_str().unwrap_or_default().to_owned())
            }
            "notifications/tasks" | "notifications/tasks/status" => Self::Task(params.clone()),
            _ => return None,
        })
    }
}

/// Where the changes of one subscription go.
pub(super) struct Ear {
    to: Listen,
    /// The id of the request that subscribes, in the modern era; 0 where there is none.
    request: AtomicU64,
    /// `None` once nothing more will come.
    changes: Mutex<Option<Sender<Change>>>,
    missed: AtomicBool,
}

impl Ear {
    /// Tells of a change that came for the request `of`, or for nobody in particular.
    // [mcp:listen-correlate]
    pub(super) fn hear(&self, of: Option<u64>, change: &Change) {
        let mine = match of {
            Some(id) => self.request.load(Ordering::Relaxed) == id,
            None => self.wants(change),
        };
        if let Some(changes) = lock(&self.changes).as_ref().filter(|_| mine)
            && changes.try_send(change.clone()).is_err()
        {
            // One that is too slow is told so when it has taken what is there.
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        *lock(&self.changes) = None;
    }

    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Tools => self.to.tools,
            Change::Prompts => self.to.prompts,
            Change::Resources => self.to.resources,
            Change::Resource(uri) => self.to.uris.contains(uri),
            Change::Task(task) => self.to.tasks.iter().any(|id| task["taskId"] == *id),
            Change::Missed => false,
        }
    }
}

/// A subscription; dropped, it ends. Of resources a legacy session tells until it ends.
pub struct Listening {
    peer: Arc<Peer>,
    ear: Arc<Ear>,
    changes: Receiver<Change>,
    /// Holds the subscription up, in the modern era.
    task: Option<JoinHandle<ClientError>>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("to", &self.ear.to)
            .finish_non_exhaustive()
    }
}

impl Listening {
    /// Waits for the next change.
    ///
    /// # Errors
    /// Why the subscription has broken off for good.
    pub async fn next(&mut self) -> Result<Change, ClientError> {
        match self.changes.try_recv() {
            Ok(change) => return Ok(change),
            Err(TryRecvError::Empty) if self.ear.missed.swap(false, Ordering::Relaxed) => {
                return Ok(Change::Missed);
            }
            Err(_) => {}
        }
        let Self { changes, task, .. } = self;
        let ended = async {
            match task {
                Some(task) => task.await.unwrap_or(ClientError::Closed),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = changes.recv() => change.ok_or(ClientError::Closed),
            error = ended => {
                self.task = None;
                self.peer.deafen(&self.ear);
                self.changes.close();
                Err(error)
            }
        }
    }

    /// Waits until the subscription has broken off for good, and says why. What is told meanwhile
    /// goes to [`super::Options::on_event`] alone.
    pub async fn ended(&mut self) -> ClientError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.peer.deafen(&self.ear);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Client {
    /// Subscribes; returns when the server has agreed. A subscription over HTTP that breaks off is
    /// made again, as often as `reconnect_count` allows. The legacy era tells of lists and tasks
    /// without being asked, on the stream of the session.
    pub async fn listen(&self, to: &Listen) -> Result<Listening, ClientError> {
        let (changes, receiver) = mpsc::channel(self.peer.options.limits.change_count);
        let ear = Arc::new(Ear {
            to: to.clone(),
            request: AtomicU64::new(0),
            changes: Mutex::new(Some(changes)),
            missed: AtomicBool::new(false),
        });
        self.peer.listen(ear.clone());
        let mut listening = Listening {
            peer: self.peer.clone(),
            ear: ear.clone(),
            changes: receiver,
            task: None,
        };
        if self.era() == Era::Legacy {
            self.hear_session().await;
            for uri in &to.uris {
                self.request("resources/subscribe", json!({"uri": uri}))
                    .await?;
            }
            return Ok(listening);
        }
        let params = json!({"notifications": wanted(to)});
        let params = self.stamp(0, METHOD, &params);
        let way = match &self.transport {
            Transport::Http(http) => Way::Http(http.clone(), self.headers(METHOD, &params)?),
            Transport::Stdio(stdio) => Way::Stdio(stdio.clone()),
        };
        let (agreed, first) = oneshot::channel();
        let task = keep(self.peer.clone(), ear, way, params, agreed);
        let task = listening.task.insert(tokio::spawn(task));
        let time = Duration::from_millis(self.peer.options.limits.request_ms);
        let outcome = timeout(time, async {
            tokio::select! {
                biased;
                Ok(()) = first => Ok(()),
                ended = task => Err(ended.unwrap_or(ClientError::Closed)),
            }
        });
        let late = || ClientError::late(METHOD, "request_ms");
        outcome.await.unwrap_or_else(|_| Err(late()))?;
        Ok(listening)
    }
}

const METHOD: &str = "subscriptions/listen";

fn wanted(to: &Listen) -> Value {
    let mut wanted = json!({});
    for (name, wants) in [
        ("toolsListChanged", to.tools),
        ("promptsListChanged", to.prompts),
        ("resourcesListChanged", to.resources),
    ] {
        if wants {
            wanted[name] = true.into();
        }
    }
    for (name, ids) in [("resourceSubscriptions", &to.uris), ("taskIds", &to.tasks)] {
        if !ids.is_empty() {
            wanted[name] = json!(ids);
        }
    }
    wanted
}

/// How a subscription reaches its server.
enum Way {
    Http(Arc<Http>, Headers),
    Stdio(Arc<Stdio>),
}

impl Way {
    /// Subscribes once; returns when the subscription has ended, and says why.
    async fn hold(&self, peer: &Peer, waiting: &mut Waiting<'_>, body: Vec<u8>) -> ClientError {
        let id = waiting.id;
        let ended = match self {
            Self::Http(http, headers) => {
                let request = http.request(peer, id, body, headers.clone());
                request.await.map(drop)
            }
            Self::Stdio(stdio) => {
                let _goodbye = Goodbye(stdio.clone(), id);
                match stdio.write(body).await {
                    Ok(()) => {
                        let answer = (&mut waiting.answer).await;
                        answer.unwrap_or(Err(ClientError::Closed)).map(drop)
                    }
                    Err(error) => Err(error),
                }
            }
        };
        ended.err().unwrap_or(ClientError::Closed)
    }
}

/// Tells a child that nobody listens any more.
struct Goodbye(Arc<Stdio>, u64);

impl Drop for Goodbye {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (stdio, params) = (self.0.clone(), json!({"requestId": self.1}));
            runtime.spawn(async move {
                let body = write(None, "notifications/cancelled", &params);
                // A child that is gone or does not read has nothing to cancel.
                let _ = timeout(stdio.goodbye(), stdio.write(body)).await;
            });
        }
    }
}

/// Holds a subscription up; returns why it could not be held.
async fn keep(
    peer: Arc<Peer>,
    ear: Arc<Ear>,
    way: Way,
    params: Value,
    agreed: oneshot::Sender<()>,
) -> ClientError {
    let mut agreed = Some(agreed);
    let mut tries = 0;
    loop {
        let mut waiting = match peer.register(None) {
            Ok(waiting) => waiting,
            Err(error) => return error,
        };
        ear.request.store(waiting.id, Ordering::Relaxed);
        let (life, body) = (
            waiting.life.clone(),
            write(Some(waiting.id), METHOD, &params),
        );
        let held = way.hold(&peer, &mut waiting, body);
        tokio::pin!(held);
        let error = loop {
            tokio::select! {
                error = &mut held => break error,
                () = life.notified() => {
                    tries = 0;
                    if let Some(agreed) = agreed.take() {
                        // Who no longer waits has dropped the subscription.
                        let _ = agreed.send(());
                    }
                }
            }
        };
        let passing = matches!(error, ClientError::Closed | ClientError::Unreachable(_))
            && matches!(way, Way::Http(..));
        if !passing || agreed.is_some() || tries == peer.options.limits.reconnect_count {
            return error;
        }
        tries += 1;
        sleep(Duration::from_millis(peer.options.limits.retry_ms)).await;
    }
}
