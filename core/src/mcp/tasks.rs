//! Tasks of 2025-11-25, where they are experimental: the client says which call is to be one, and
//! asks for its result by another request. A task belongs to the session that began it.

use std::future::poll_fn;
use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::call::unknown;
use super::dispatch::{Asker, Flow, Opener};
use super::work::{Kind, Made, Work};
use crate::rpc::{Code, Id, Params, RpcError, Value};
use crate::service::Service;
use crate::session::SessionLink;
use crate::task::{Holder, Job, RELATED, TaskNews, Tasks, Want};
use crate::tool::{LocalBoxFuture, TaskSupport};

/// How a call is to be made a task.
pub(super) struct Wish {
    /// How long the client wants it to be remembered.
    ttl_ms: Option<u64>,
}

/// Whether a call of the tool `name` is to be a task. Servers and clients that have no tasks do not
/// look at the wish.
// [mcp:tasks-support]
pub(super) fn wish(
    service: &Service,
    asker: &Asker<'_>,
    name: &str,
    support: TaskSupport,
    params: Value<'_>,
) -> Result<Option<Wish>, RpcError> {
    if asker.session.is_none() || service.tasks().is_none() {
        return Ok(None);
    }
    let refuse = |how: &str| {
        let what = format!("Method not found: tool {name} {how}");
        Err(RpcError::new(200, Code::MethodNotFound, what))
    };
    let wrong = || {
        RpcError::invalid_params("Invalid params: task must be an object, its ttl an integer of ms")
    };
    match (params.get("task"), support) {
        (None | Some(Value::Null), TaskSupport::Required) => refuse("runs only as a task"),
        (None | Some(Value::Null), _) => Ok(None),
        (Some(_), TaskSupport::Forbidden) => refuse("does not run as a task"),
        (Some(task), _) => {
            task.as_object().ok_or_else(wrong)?;
            let ttl_ms = match task.get("ttl") {
                None | Some(Value::Null) => None,
                Some(ttl) => Some(millis(ttl).ok_or_else(wrong)?),
            };
            Ok(Some(Wish { ttl_ms }))
        }
    }
}

fn millis(ttl: Value<'_>) -> Option<u64> {
    match ttl {
        Value::Int(it) => it.try_into().ok(),
        Value::Uint(it) => Some(it),
        _ => None,
    }
}

/// Where the tasks of a session are.
struct Home {
    tasks: Rc<dyn Tasks>,
    link: Rc<dyn SessionLink>,
    holder: Holder,
}

impl Home {
    fn of(service: &Service, asker: &Asker<'_>) -> Option<Self> {
        Some(Self {
            tasks: service.tasks()?,
            link: (asker.link)()?,
            holder: Holder {
                session: Some(asker.session?.into()),
                owner: asker.identity.map(|it| it.owner()),
            },
        })
    }

    /// The members of what the task `id` answers.
    async fn ask(&self, id: &str, want: Want) -> Result<String, RpcError> {
        Ok(self.tasks.ask(self.holder.clone(), id, want).await?)
    }
}

/// Makes `future` a task; what goes on is that the session comes to know of it.
pub(super) fn begin(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    name: &str,
    opener: &Opener<'_, '_>,
    wish: &Wish,
    future: LocalBoxFuture<'static, Made>,
) -> Result<Flow, RpcError> {
    let home = Home::of(service, asker).ok_or_else(RpcError::internal)?;
    let job = Job {
        name: name.into(),
        future,
        talk: opener.talk().clone(),
        session: home.holder.session.clone(),
        ttl_ms: wish.ttl_ms,
    };
    let begun = home.tasks.begin(job).map_err(|job| {
        tracing::warn!(name = %job.name, "no room for one more task");
        RpcError::failed("there is no room for one more task: try again later")
    })?;
    let future = async move {
        if home.link.keep_task(&begun.id).await {
            return Made::Members(
                format!(r#"{{"task":{}}}"#, begun.members)
                    .into_bytes()
                    .into(),
            );
        }
        // Nobody will come for it. If it ended meanwhile, it is forgotten at its time.
        let _ = home.ask(&begun.id, Want::Cancel).await;
        Made::Refused(RpcError::failed(
            "this session has as many tasks as it may: try again when one is forgotten",
        ))
    };
    go(
        service,
        asker,
        id,
        "tools/call",
        opener.params(),
        Box::pin(future),
    )
}

/// Answers a request about tasks; `None` if it is about something else.
pub(super) fn answer(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    request: Params<'_>,
) -> Option<Result<Flow, RpcError>> {
    let method = match request.method {
        "tasks/get" => "tasks/get",
        "tasks/list" => "tasks/list",
        "tasks/result" => "tasks/result",
        "tasks/cancel" => "tasks/cancel",
        _ => return None,
    };
    let home = Home::of(service, asker)?;
    let future: LocalBoxFuture<'static, _> = match (method, request.params.get("taskId")) {
        ("tasks/list", _) => match request.params.get("cursor") {
            None | Some(Value::Null) => Box::pin(list(home)),
            // One page holds as many tasks as a session may have.
            Some(_) => {
                return Some(Err(RpcError::invalid_params(
                    "Invalid params: unknown cursor",
                )));
            }
        },
        ("tasks/get", Some(Value::Str(task))) => Box::pin(ask(home, task.to_owned(), Want::Get)),
        ("tasks/cancel", Some(Value::Str(task))) => {
            Box::pin(ask(home, task.to_owned(), Want::Cancel))
        }
        (_, Some(Value::Str(task))) => {
            let task = task.to_owned();
            let opener = match Opener::new(service, asker, method, request.params, [None; 2]) {
                Ok(opener) => opener,
                Err(error) => return Some(Err(error)),
            };
            let talk = opener.talk().clone();
            let pass_on = move |question| {
                // A client that does not read what is there has no eye for questions either.
                talk.pass_on(question);
            };
            let future = settled(result(home, task.clone(), pass_on));
            let work = Work::new(id, Kind::Task, &task, &opener, future);
            return Some(Ok(Flow::Goes(Box::new(work))));
        }
        _ => {
            let wanted = "Invalid params: taskId must be a string";
            return Some(Err(RpcError::invalid_params(wanted)));
        }
    };
    Some(go(
        service,
        asker,
        id,
        method,
        request.params,
        settled(future),
    ))
}

/// What a handler would have made.
fn settled(
    outcome: impl Future<Output = Result<String, RpcError>> + 'static,
) -> LocalBoxFuture<'static, Made> {
    Box::pin(async move {
        match outcome.await {
            Ok(members) => Made::Members(members.into_bytes().into()),
            Err(error) => Made::Refused(error),
        }
    })
}

fn go(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    method: &'static str,
    params: Value<'_>,
    future: LocalBoxFuture<'static, Made>,
) -> Result<Flow, RpcError> {
    let opener = Opener::new(service, asker, method, params, [None; 2])?;
    let work = Work::new(id, Kind::Task, method, &opener, future);
    Ok(Flow::Goes(Box::new(work)))
}

async fn ask(home: Home, task: String, want: Want) -> Result<String, RpcError> {
    home.ask(&task, want).await
}

// [mcp:tasks-list]
async fn list(home: Home) -> Result<String, RpcError> {
    let ids = home.link.tasks().await;
    let ids = ids.ok_or_else(|| RpcError::busy("Session is busy: try again later"))?;
    // All are asked before the first answers.
    let asked: Vec<_> = ids
        .iter()
        .map(|id| home.tasks.ask(home.holder.clone(), id, Want::Get))
        .collect();
    let mut tasks = Vec::with_capacity(asked.len());
    for answer in asked {
        // One that is unknown was forgotten since.
        tasks.extend(answer.await.map(|members| members + "}"));
    }
    Ok(format!(r#"{{"tasks":[{}]"#, tasks.join(",")))
}

/// Waits for the result of a task; meanwhile its questions go out with this answer.
// [mcp:tasks-result]
async fn result(home: Home, task: String, pass_on: impl Fn(String)) -> Result<String, RpcError> {
    let mut feed = home.tasks.watch(home.holder.clone(), &task).await?;
    loop {
        match poll_fn(|cx| feed.poll_news(cx)).await {
            Some(TaskNews::Stands(_)) => {}
            Some(TaskNews::Asks(question)) => pass_on(question),
            Some(TaskNews::Ended(end)) => return Ok(related(&end?, &task)),
            None => return Err(unknown("taskId", &task)),
        }
    }
}

/// The members of a result, which says whose it is.
// [mcp:tasks-related]
fn related(result: &str, task: &str) -> String {
    // It was written here.
    let mut result: Json = serde_json::from_str(result).unwrap_or_default();
    result["_meta"][RELATED] = json!({"taskId": task});
    let mut text = result.to_string();
    text.pop();
    text
}
