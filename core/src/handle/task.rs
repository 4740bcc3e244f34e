//! Tasks: one actor each, on the shard of the call that became one, found from every shard by an
//! id like a session's. The call itself goes on in a task of the runtime beside its actor.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ninefold_runtime::panics::{Caught, catch};
use ninefold_runtime::{
    Actor, Address, CallError, Class, Context, Handler, Message, SpawnOptions, clock, is_draining,
    spawn_actor, spawn_local,
};
use serde_json::{Map, Value, json};

use super::id::{IdCodec, Route, Secret};
use crate::auth::Owner;
use crate::counters::{Counters, bump};
use crate::limits::{HANDLE_ANSWER_MS, Limits, TASK_MESSAGE_BYTES, TASK_MESSAGES};
use crate::mcp::COMPLETE;
use crate::mcp::work::Made;
use crate::rfc3339::Rfc3339;
use crate::rpc::RpcError;
use crate::talk::{Standing, Talk};
use crate::task::{Job, TaskError, Tasks, Want};
use crate::tool::{LocalBoxFuture, ToolResult};

const ANSWER_WITHIN: Duration = Duration::from_millis(HANDLE_ANSWER_MS);
/// How often a client is advised to ask.
const POLL_MS: u64 = 500;

/// How a task stands.
enum Status {
    Working,
    /// The result, as JSON.
    Completed(Value),
    /// The error, as JSON.
    Failed(Value),
    Cancelled,
}

/// What the actor and the call share.
struct Shared {
    id: RefCell<String>,
    created: String,
    updated: RefCell<String>,
    ttl_ms: u64,
    status: RefCell<Status>,
    talk: Rc<Talk>,
    call: RefCell<Option<Waker>>,
    taken: Rc<Taken>,
    bytes: Cell<usize>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.taken
            .bytes
            .set(self.taken.bytes.get() - self.bytes.get());
    }
}

impl Shared {
    fn settle(&self, status: Status) {
        if let Status::Completed(result) = &status {
            // As text, which is about what it takes.
            let bytes = result.to_string().len();
            self.bytes.set(bytes);
            self.taken.bytes.set(self.taken.bytes.get() + bytes);
        }
        *self.status.borrow_mut() = status;
        *self.updated.borrow_mut() = now();
    }

    /// Ends the call, if it still goes on.
    fn cancel(&self) {
        if matches!(*self.status.borrow(), Status::Working) {
            self.settle(Status::Cancelled);
        }
        if let Some(call) = self.call.take() {
            call.wake();
        }
    }

    /// The members of the task, its object left open.
    fn members(&self) -> String {
        let wanted = self.talk.wanted();
        let (status, key, value) = match &*self.status.borrow() {
            Status::Working if wanted.is_empty() => ("working", None, Value::Null),
            Status::Working => ("input_required", Some("inputRequests"), wanted.into()),
            Status::Completed(result) => ("completed", Some("result"), result.clone()),
            Status::Failed(error) => ("failed", Some("error"), error.clone()),
            Status::Cancelled => ("cancelled", None, Value::Null),
        };
        let mut task = json!({
            "taskId": *self.id.borrow(), "status": status, "createdAt": self.created,
            "lastUpdatedAt": *self.updated.borrow(), "ttlMs": self.ttl_ms,
            "pollIntervalMs": POLL_MS,
        });
        if let Some(key) = key {
            task[key] = value;
        }
        let mut text = task.to_string();
        text.pop();
        text
    }
}

fn now() -> String {
    Rfc3339(clock::wall_clock()).to_string()
}

struct Task {
    secret: Secret,
    shared: Rc<Shared>,
    _seat: Seat,
}

/// What the tasks of a shard take.
#[derive(Default)]
struct Taken {
    tasks: Cell<usize>,
    bytes: Cell<usize>,
}

/// Counts a task while it is remembered.
struct Seat(Rc<Taken>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get() - 1);
    }
}

struct Ask {
    secret: Secret,
    owner: Option<Owner>,
    want: Want,
}

impl Message for Ask {
    /// `None` to whoever does not know the secret, or is somebody else.
    type Reply = Option<String>;

    fn bytes(&self) -> usize {
        let owned = match &self.want {
            Want::Update(answers) => answers.len(),
            Want::Get | Want::Cancel => 0,
        };
        size_of::<Self>() + owned
    }
}

/// The time of a task is over.
struct Expire;

/// High: it comes once, and must not be refused because the shard sheds load.
impl Message for Expire {
    type Reply = ();
    const CLASS: Class = Class::High;
}

impl Actor for Task {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        context.send_after(Duration::from_millis(self.shared.ttl_ms), Expire);
    }
}

impl Handler<Ask> for Task {
    fn handle(&mut self, ask: Ask, _: &mut Context<'_, Self>) -> Option<String> {
        if !self.secret.matches(ask.secret) || self.shared.talk.owner() != ask.owner {
            return None;
        }
        match ask.want {
            Want::Get => return Some(self.shared.members()),
            Want::Update(answers) => {
                let answers: Map<String, Value> =
                    serde_json::from_str(&answers).unwrap_or_default();
                if self.shared.talk.answer(answers) {
                    *self.shared.updated.borrow_mut() = now();
                }
            }
            Want::Cancel => self.shared.cancel(),
        }
        Some(String::new())
    }
}

impl Handler<Expire> for Task {
    fn handle(&mut self, _: Expire, context: &mut Context<'_, Self>) {
        self.shared.cancel();
        context.stop();
    }
}

/// The tasks as one shard sees them: begins its own, finds everybody's.
pub(crate) struct ShardTasks {
    codec: Arc<IdCodec>,
    taken: Rc<Taken>,
    tasks_max: usize,
    bytes_max: usize,
    ttl_ms: u64,
    output_bytes: usize,
    counters: Arc<Counters>,
}

impl ShardTasks {
    pub(crate) fn new(codec: Arc<IdCodec>, limits: &Limits, counters: Arc<Counters>) -> Self {
        Self {
            codec,
            counters,
            taken: Rc::default(),
            tasks_max: limits.tasks_per_shard,
            bytes_max: limits.task_bytes_per_shard,
            ttl_ms: limits.task_ttl_ms,
            output_bytes: limits.tool_output_bytes,
        }
    }
}

impl Tasks for ShardTasks {
    // [mcp:state-by-handle]
    fn begin(&self, job: Job) -> Result<String, Job> {
        let Taken { tasks, bytes } = &*self.taken;
        let room = tasks.get() < self.tasks_max && bytes.get() < self.bytes_max;
        let (true, Ok(secret)) = (room, Secret::fresh()) else {
            return Err(job);
        };
        let created = now();
        let shared = Rc::new(Shared {
            id: RefCell::default(),
            updated: RefCell::new(created.clone()),
            created,
            ttl_ms: self.ttl_ms,
            status: RefCell::new(Status::Working),
            talk: job.talk.clone(),
            call: RefCell::default(),
            taken: self.taken.clone(),
            bytes: Cell::new(0),
        });
        self.taken.tasks.set(self.taken.tasks.get() + 1);
        let task = Task {
            secret,
            shared: shared.clone(),
            _seat: Seat(self.taken.clone()),
        };
        let options = SpawnOptions {
            capacity: TASK_MESSAGES,
            bytes: TASK_MESSAGE_BYTES,
            ..SpawnOptions::default()
        };
        let Ok(address) = spawn_actor(options, task) else {
            return Err(job);
        };
        let (shard, index, generation) = address.id().to_parts();
        let route = Route {
            shard,
            index,
            generation,
        };
        shared.id.replace(self.codec.encode(route, secret));
        let members = shared.members();
        let (counters, output_bytes) = (self.counters.clone(), self.output_bytes);
        if spawn_local(go_on(job, shared.clone(), output_bytes, counters)).is_err() {
            // The shard is full, or ends: what was promised is told as it is.
            shared.settle(Status::Failed(failure(&RpcError::internal())));
        }
        Ok(members)
    }

    fn ask(
        &self,
        id: &str,
        owner: Option<Owner>,
        want: Want,
    ) -> LocalBoxFuture<'static, Result<String, TaskError>> {
        let Some((route, secret)) = self.codec.decode(id) else {
            return Box::pin(std::future::ready(Err(TaskError::Unknown)));
        };
        let Route {
            shard,
            index,
            generation,
        } = route;
        let Some(task) = Address::<Task>::from_parts(shard, index, generation) else {
            return Box::pin(std::future::ready(Err(TaskError::Busy)));
        };
        let ask = Ask {
            secret,
            owner,
            want,
        };
        let call = task.call(ask, ANSWER_WITHIN);
        Box::pin(async move {
            match call.await {
                Ok(Some(members)) => Ok(members),
                Ok(None) | Err(CallError::Closed(_) | CallError::Stopped) => {
                    Err(TaskError::Unknown)
                }
                Err(_) => Err(TaskError::Busy),
            }
        })
    }
}

/// Runs the call of a task to its end, or until the task is cancelled.
async fn go_on(job: Job, shared: Rc<Shared>, output_bytes: usize, counters: Arc<Counters>) {
    let Job {
        name,
        mut future,
        talk,
    } = job;
    let status = poll_fn(|cx| {
        if !matches!(*shared.status.borrow(), Status::Working) {
            return Poll::Ready(None);
        }
        // Nobody can come back to a node that ends.
        if is_draining() {
            return Poll::Ready(Some(Status::Cancelled));
        }
        *shared.call.borrow_mut() = Some(cx.waker().clone());
        talk.note_asker(cx.waker());
        match catch(|| future.as_mut().poll(cx)) {
            Ok(Poll::Ready(made)) => Poll::Ready(Some(ended(&name, made, output_bytes, &counters))),
            Ok(Poll::Pending) => match talk.standing() {
                Standing::Failed(error) => Poll::Ready(Some(Status::Failed(failure(&error)))),
                Standing::Asks | Standing::Waits => Poll::Pending,
            },
            Err(caught) => Poll::Ready(Some(panicked(&name, &caught, &counters))),
        }
    })
    .await;
    if let Some(status) = status {
        shared.settle(status);
    }
    // What the handler holds may panic when it is dropped, too; its task has ended all the same.
    if let Err(caught) = catch(move || drop(future)) {
        panicked(&name, &caught, &counters);
    }
}

fn ended(name: &str, made: Made, output_bytes: usize, counters: &Counters) -> Status {
    let members = match made {
        Made::Members(members) if members.len() > output_bytes => {
            let found = members.len();
            let why = format!("the result of {found} bytes is over the limit of {output_bytes}");
            ToolResult::failure(why).into_members().unwrap_or_default()
        }
        Made::Members(members) => members,
        Made::Refused(error) => return Status::Failed(failure(&error)),
        Made::Panicked(caught) => return panicked(name, &caught, counters),
    };
    let text = [&members[..], b",", COMPLETE.as_bytes(), b"}"].concat();
    match serde_json::from_slice(&text) {
        Ok(result) => Status::Completed(result),
        Err(_) => Status::Failed(failure(&RpcError::internal())),
    }
}

/// The cause stays in the log, as that of a call does.
fn panicked(name: &str, caught: &Caught, counters: &Counters) -> Status {
    bump(&counters.tool_panic);
    let Caught { message, place, .. } = caught;
    tracing::error!(name, %message, %place, "task panicked");
    Status::Failed(failure(&RpcError::internal()))
}

fn failure(error: &RpcError) -> Value {
    let mut failure = json!({"code": error.code.number(), "message": error.message});
    if let Some(data) = error
        .data
        .as_deref()
        .and_then(|it| serde_json::from_str(it).ok())
    {
        failure["data"] = data;
    }
    failure
}
