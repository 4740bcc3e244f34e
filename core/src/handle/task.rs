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
    Actor, Address, Class, Context, Handler, Message, SpawnOptions, clock, is_draining,
    spawn_actor, spawn_local,
};
use serde_json::{Map, Value, json};

use super::hub::{Hub, SlotRef};
use super::id::{IdCodec, Route, Secret};
use super::tell::tell;
use super::watch::{self, Watched, Watchers};
use crate::counters::{Counters, bump};
use crate::limits::{
    HANDLE_ANSWER_MS, Limits, TASK_MESSAGE_BYTES, TASK_MESSAGES, TASK_POLL_MS, TASK_TTL_MIN_MS,
};
use crate::mcp::work::Made;
use crate::mcp::{COMPLETE, Era};
use crate::rfc3339::Rfc3339;
use crate::rpc::RpcError;
use crate::talk::{Standing, Talk};
use crate::task::{Begun, Holder, Job, TaskError, TaskFeed, TaskNews, Tasks, Want, Watching};
use crate::tool::{LocalBoxFuture, Members, ToolResult};

pub(super) const ANSWER_WITHIN: Duration = Duration::from_millis(HANDLE_ANSWER_MS);

/// How a task stands.
enum Status {
    Working,
    /// The result, as JSON.
    Completed(Value),
    Failed(RpcError),
    Cancelled,
}

/// What the actor and the call share.
struct Shared {
    id: RefCell<String>,
    created: String,
    updated: RefCell<String>,
    ttl_ms: u64,
    /// Whether it belongs to a session.
    legacy: bool,
    status: RefCell<Status>,
    /// The status that was told last, and the questions that were open then.
    told: RefCell<(&'static str, Vec<String>)>,
    watchers: Watchers,
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
    // [mcp:tasks-states]
    fn settle(&self, status: Status) {
        if let Status::Completed(result) = &status {
            // As text, which is about what it takes.
            let bytes = result.to_string().len();
            self.bytes.set(bytes);
            self.taken.bytes.set(self.taken.bytes.get() + bytes);
        }
        *self.status.borrow_mut() = status;
        self.look();
        if let Some(end) = self.end() {
            self.watchers.tell_all(|| TaskNews::Ended(end.clone()));
        }
    }

    /// Ends the call, if it still goes on.
    // [mcp:tasks-cancel]
    fn cancel(&self) {
        if self.works() {
            self.settle(Status::Cancelled);
        }
        if let Some(call) = self.call.take() {
            call.wake();
        }
    }

    fn works(&self) -> bool {
        matches!(*self.status.borrow(), Status::Working)
    }

    /// Tells of what has changed since the last look.
    fn look(&self) {
        let open = self.talk.open_questions();
        if self.legacy && self.works() && !open.is_empty() {
            let wanted = self.talk.wanted().into_iter();
            let questions = wanted.map(|(id, question)| (id, question.to_string()));
            self.watchers.pass_on(questions);
        }
        let now_told = (self.status_name(), open);
        let before = self.told.replace(now_told.clone());
        if before == now_told {
            return;
        }
        *self.updated.borrow_mut() = now();
        let members = self.members();
        if !self.legacy {
            let stands = || TaskNews::Stands(members.clone());
            self.watchers.tell_all(stands);
        } else if before.0 != now_told.0
            && let Some(link) = self.talk.link()
        {
            let method = "notifications/tasks/status";
            link.say(format!(
                r#"{{"jsonrpc":"2.0","method":"{method}","params":{members}}}}}"#
            ));
        }
    }

    /// Begins to tell `slot`.
    fn watched_by(&self, slot: SlotRef) -> Result<String, TaskError> {
        if !self.watchers.add(slot) {
            return Err(TaskError::Watched);
        }
        match self.end() {
            _ if !self.legacy => {
                let stands = TaskNews::Stands(self.members());
                self.watchers.tell(slot, stands);
            }
            Some(end) => self.watchers.tell(slot, TaskNews::Ended(end)),
            None => self.look(),
        }
        Ok(String::new())
    }

    /// What the call has made, once it has; in the legacy era a request waits for it.
    fn end(&self) -> Option<Result<String, RpcError>> {
        match &*self.status.borrow() {
            Status::Completed(result) if self.legacy => Some(Ok(result.to_string())),
            Status::Failed(error) if self.legacy => Some(Err(error.clone())),
            Status::Cancelled if self.legacy => {
                Some(Err(RpcError::failed("the task was cancelled")))
            }
            _ => None,
        }
    }

    fn status_name(&self) -> &'static str {
        match &*self.status.borrow() {
            Status::Working if self.talk.asks() => "input_required",
            Status::Working => "working",
            // The legacy era calls a tool that failed a task that failed.
            Status::Completed(result) if self.legacy && result["isError"] == true => "failed",
            Status::Completed(_) => "completed",
            Status::Failed(_) => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// The members of the task, its object left open.
    // [mcp:tasks-times]
    fn members(&self) -> String {
        let [ttl, poll] = match self.legacy {
            true => ["ttl", "pollInterval"],
            false => ["ttlMs", "pollIntervalMs"],
        };
        let mut task = json!({
            "taskId": *self.id.borrow(), "status": self.status_name(), "createdAt": self.created,
            "lastUpdatedAt": *self.updated.borrow(), ttl: self.ttl_ms, poll: TASK_POLL_MS,
        });
        match &*self.status.borrow() {
            Status::Failed(error) if self.legacy => {
                task["statusMessage"] = error.message.clone().into();
            }
            // The rest is what the extension has come to show with the status.
            _ if self.legacy => {}
            Status::Working if self.talk.asks() => {
                task["inputRequests"] = self.talk.wanted().into();
            }
            Status::Completed(result) => task["result"] = result.clone(),
            Status::Failed(error) => task["error"] = failure(error),
            Status::Working | Status::Cancelled => {}
        }
        let mut text = task.to_string();
        text.pop();
        text
    }
}

fn now() -> String {
    Rfc3339(clock::wall_clock()).to_string()
}

/// What one must know to be answered by a task.
#[derive(Clone)]
pub(super) struct Key {
    secret: Secret,
    holder: Holder,
}

pub(super) struct Task {
    key: Key,
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

/// What is wanted of a task.
pub(super) enum TaskWant {
    Of(Want),
    /// To be told at this slot.
    Watch(SlotRef),
}

pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) want: TaskWant,
}

impl Message for Ask {
    type Reply = Result<String, TaskError>;

    fn bytes(&self) -> usize {
        let owned = match &self.want {
            TaskWant::Of(Want::Update(answers)) => answers.len(),
            _ => 0,
        };
        size_of::<Self>() + owned + self.key.holder.session.as_ref().map_or(0, |it| it.len())
    }
}

/// Nobody is to be told at this slot any more.
pub(super) struct Unwatch(pub(super) SlotRef);

impl Message for Unwatch {
    type Reply = ();
}

/// The time of a task is over, or its session.
struct Expire;

/// High: it comes once, and must not be refused because the shard sheds load.
impl Message for Expire {
    type Reply = ();
    const CLASS: Class = Class::High;
}

/// The session of a task has ended.
struct Orphan(Secret);

impl Message for Orphan {
    type Reply = ();
    const CLASS: Class = Class::High;
}

impl Actor for Task {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        context.send_after(Duration::from_millis(self.shared.ttl_ms), Expire);
    }
}

impl Handler<Ask> for Task {
    fn handle(&mut self, ask: Ask, _: &mut Context<'_, Self>) -> Result<String, TaskError> {
        let Key { secret, holder } = ask.key;
        if !self.key.secret.matches(secret) || self.key.holder != holder {
            return Err(TaskError::Unknown);
        }
        let shared = &self.shared;
        match ask.want {
            TaskWant::Of(Want::Get) => Ok(shared.members()),
            TaskWant::Of(Want::Update(answers)) => {
                let answers: Map<String, Value> =
                    serde_json::from_str(&answers).unwrap_or_default();
                if shared.talk.answer(answers) {
                    shared.look();
                }
                Ok(String::new())
            }
            TaskWant::Of(Want::Cancel) if shared.legacy && !shared.works() => Err(TaskError::Ended),
            TaskWant::Of(Want::Cancel) => {
                shared.cancel();
                Ok(match shared.legacy {
                    true => shared.members(),
                    false => String::new(),
                })
            }
            TaskWant::Watch(slot) => shared.watched_by(slot),
        }
    }
}

impl Handler<Unwatch> for Task {
    fn handle(&mut self, Unwatch(slot): Unwatch, _: &mut Context<'_, Self>) {
        self.shared.watchers.remove(slot);
        self.shared.look();
    }
}

impl Handler<Expire> for Task {
    fn handle(&mut self, _: Expire, context: &mut Context<'_, Self>) {
        self.shared.cancel();
        if let (true, Some(link)) = (self.shared.legacy, self.shared.talk.link()) {
            link.forget_task(&self.shared.id.borrow());
        }
        context.stop();
    }
}

impl Handler<Orphan> for Task {
    fn handle(&mut self, Orphan(secret): Orphan, context: &mut Context<'_, Self>) {
        if self.key.secret.matches(secret) {
            self.shared.cancel();
            context.stop();
        }
    }
}

/// Ends the task `id`, because its session has ended.
pub(super) fn orphan(codec: &IdCodec, id: &str) {
    if let Some((route, secret)) = codec.decode(id)
        && let Some(task) = at(route)
    {
        tell(task, Orphan(secret));
    }
}

fn at(route: Route) -> Option<Address<Task>> {
    let Route {
        shard,
        index,
        generation,
    } = route;
    Address::from_parts(shard, index, generation)
}

/// The tasks as one shard sees them: begins its own, finds everybody's.
pub(crate) struct ShardTasks {
    codec: Arc<IdCodec>,
    hub: Rc<Hub>,
    taken: Rc<Taken>,
    tasks_max: usize,
    bytes_max: usize,
    watchers_max: usize,
    ttl_ms: u64,
    output_bytes: usize,
    counters: Arc<Counters>,
}

impl ShardTasks {
    pub(crate) fn new(
        codec: Arc<IdCodec>,
        hub: Rc<Hub>,
        limits: &Limits,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            codec,
            hub,
            counters,
            taken: Rc::default(),
            tasks_max: limits.tasks_per_shard,
            bytes_max: limits.task_bytes_per_shard,
            watchers_max: limits.task_watch_count,
            ttl_ms: limits.task_ttl_ms,
            output_bytes: limits.tool_output_bytes,
        }
    }

    fn share(&self, job: &Job) -> Rc<Shared> {
        let created = now();
        let ttl_ms = job.ttl_ms.unwrap_or(self.ttl_ms);
        Rc::new(Shared {
            id: RefCell::default(),
            updated: RefCell::new(created.clone()),
            created,
            ttl_ms: ttl_ms.clamp(TASK_TTL_MIN_MS, self.ttl_ms),
            legacy: job.session.is_some(),
            status: RefCell::new(Status::Working),
            told: RefCell::new(("working", Vec::new())),
            watchers: Watchers::new(self.hub.clone(), self.watchers_max),
            talk: job.talk.clone(),
            call: RefCell::default(),
            taken: self.taken.clone(),
            bytes: Cell::new(0),
        })
    }

    fn find(&self, holder: Holder, id: &str) -> Result<(Address<Task>, Key), TaskError> {
        let (route, secret) = self.codec.decode(id).ok_or(TaskError::Unknown)?;
        let task = at(route).ok_or(TaskError::Busy)?;
        Ok((task, Key { secret, holder }))
    }
}

impl Tasks for ShardTasks {
    // [mcp:state-by-handle] [mcp:tasks-id]
    fn begin(&self, job: Job) -> Result<Begun, Job> {
        let Taken { tasks, bytes } = &*self.taken;
        let room = tasks.get() < self.tasks_max && bytes.get() < self.bytes_max;
        let (true, Ok(secret)) = (room, Secret::fresh()) else {
            return Err(job);
        };
        let shared = self.share(&job);
        self.taken.tasks.set(self.taken.tasks.get() + 1);
        let holder = Holder {
            session: job.session.clone(),
            owner: job.talk.owner(),
        };
        let task = Task {
            key: Key { secret, holder },
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
        let id = self.codec.encode(route, secret);
        shared.id.replace(id.clone());
        job.talk.name_task(&id);
        let members = shared.members();
        let (counters, output_bytes) = (self.counters.clone(), self.output_bytes);
        if spawn_local(go_on(job, shared.clone(), output_bytes, counters)).is_err() {
            // The shard is full, or ends: what was promised is told as it is.
            shared.settle(Status::Failed(RpcError::internal()));
        }
        Ok(Begun { id, members })
    }

    fn ask(
        &self,
        holder: Holder,
        id: &str,
        want: Want,
    ) -> LocalBoxFuture<'static, Result<String, TaskError>> {
        match self.find(holder, id) {
            Ok((task, key)) => watch::ask(task, key, TaskWant::Of(want)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn watch(&self, holder: Holder, id: &str) -> Watching {
        let (found, slot) = (self.find(holder, id), self.hub.slot());
        Box::pin(async move {
            let ((task, key), slot) = (found?, slot.ok_or(TaskError::Busy)?);
            // Made before the answer: one that comes too late ends the watch as well.
            let watched = Watched::new(task, key, slot);
            watched.begin().await?;
            Ok(Box::new(watched) as Box<dyn TaskFeed>)
        })
    }
}

/// Runs the call of a task to its end, or until the task is cancelled.
async fn go_on(job: Job, shared: Rc<Shared>, output_bytes: usize, counters: Arc<Counters>) {
    let Job {
        name,
        mut future,
        talk,
        ..
    } = job;
    let era = talk.era;
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
            Ok(Poll::Ready(made)) => {
                Poll::Ready(Some(ended(&name, made, era, output_bytes, &counters)))
            }
            Ok(Poll::Pending) => match talk.standing() {
                Standing::Failed(error) => Poll::Ready(Some(Status::Failed(error))),
                Standing::Asks | Standing::Waits => {
                    shared.look();
                    Poll::Pending
                }
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

fn ended(name: &str, made: Made, era: Era, output_bytes: usize, counters: &Counters) -> Status {
    let Members { json, meta } = match made {
        Made::Members(members) => members,
        Made::Refused(error) => return Status::Failed(error),
        Made::Panicked(caught) => return panicked(name, &caught, counters),
    };
    let found = json.len() + meta.len();
    let mut text = match found > output_bytes {
        true => {
            let why = format!("the result of {found} bytes is over the limit of {output_bytes}");
            let failure = ToolResult::failure(why).into_members(era);
            failure.unwrap_or_default().json
        }
        false if meta.is_empty() => json,
        false => [&json[..], br#","_meta":{"#, &meta, b"}"].concat(),
    };
    if era == Era::Modern {
        text.extend_from_slice([",", COMPLETE].concat().as_bytes());
    }
    text.push(b'}');
    match serde_json::from_slice(&text) {
        Ok(result) => Status::Completed(result),
        Err(_) => Status::Failed(RpcError::internal()),
    }
}

/// The cause stays in the log, as that of a call does.
fn panicked(name: &str, caught: &Caught, counters: &Counters) -> Status {
    bump(&counters.tool_panic);
    let Caught { message, place, .. } = caught;
    tracing::error!(name, %message, %place, "task panicked");
    Status::Failed(RpcError::internal())
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
