//! `subscriptions/listen` (modern era): a stream of the changes that a client asked to be told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use serde_json::{Map, Value as Json, json};

use super::work;
use super::{Capabilities, META_SUBSCRIPTION};
use crate::auth::Owner;
use crate::changes::{List, News};
use crate::rpc::{Id, RpcError, Value};
use crate::service::Service;
use crate::task::{Holder, TaskFeed, TaskNews, Watching};

/// The subscriptions of one stream, as the shard's news reach them.
pub(crate) struct Listener {
    lists: u8,
    uris: Vec<Arc<str>>,
    /// What has changed and was not told yet; a list and a resource are told once, however often
    /// they changed meanwhile, so this cannot grow beyond the subscriptions.
    changed: Cell<u8>,
    updated: RefCell<VecDeque<Arc<str>>>,
    waker: RefCell<Option<Waker>>,
}

impl Listener {
    /// Takes from `news` what this stream asked for.
    // [mcp:listen-asked]
    pub(crate) fn hear(&self, news: &News) {
        let lists = news.lists & self.lists;
        let mut updated = self.updated.borrow_mut();
        for uri in &news.updated {
            if self.uris.contains(uri) && !updated.contains(uri) {
                updated.push_back(uri.clone());
            }
        }
        self.changed.set(self.changed.get() | lists);
        if (lists != 0 || !updated.is_empty())
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

/// A stream of changes, on its way to its client.
pub(crate) struct Listening {
    /// The id of the request, which names the subscription.
    id: Json,
    acknowledged: bool,
    honoured: Map<String, Json>,
    listener: Rc<Listener>,
    tasks: Tasks,
}

/// The tasks that a stream tells of.
#[derive(Default)]
struct Tasks {
    /// Those that are asked whether they may be watched, by their ids.
    opening: Vec<(String, Watching)>,
    feeds: Vec<Box<dyn TaskFeed>>,
}

impl Tasks {
    /// Reads the ids of tasks that are wanted, and asks for them.
    fn read(
        service: &Service,
        (client, owner): (Capabilities, Option<Owner>),
        wanted: Option<Value<'_>>,
    ) -> Result<Option<Self>, RpcError> {
        let limit = service.server().limits().subscription_count;
        let refuse = || {
            let what = format!("Invalid params: taskIds must be an array of at most {limit} ids");
            RpcError::invalid_params(what)
        };
        let ids = match wanted {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(_)) if !client.tasks => return Err(RpcError::no_tasks()),
            Some(Value::Array(ids)) if ids.len() <= limit => ids,
            Some(_) => return Err(refuse()),
        };
        let mut opening: Vec<(String, _)> = Vec::new();
        for id in ids {
            let id = id.as_str().ok_or_else(refuse)?;
            if let Some(tasks) = service.tasks()
                && !opening.iter().any(|(known, _)| known == id)
            {
                opening.push((id.to_owned(), tasks.watch(Holder::modern(owner), id)));
            }
        }
        let feeds = Vec::new();
        Ok(Some(Self { opening, feeds }))
    }

    /// Adds to `watched` the ids of tasks that may be watched; ready when each has answered.
    fn poll_open(&mut self, watched: &mut Vec<Json>, cx: &mut Context<'_>) -> Poll<()> {
        // All were asked at once; in which order they are listened to makes no difference.
        while let Some((id, opening)) = self.opening.first_mut() {
            if let Ok(feed) = ready!(opening.as_mut().poll(cx)) {
                watched.push(std::mem::take(id).into());
                self.feeds.push(feed);
            }
            drop(self.opening.remove(0));
        }
        Poll::Ready(())
    }

    /// The next description of a task.
    fn next(&mut self, cx: &mut Context<'_>) -> Option<Json> {
        let mut found = None;
        self.feeds.retain_mut(|feed| {
            while found.is_none() {
                match feed.poll_news(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(None) => return false,
                    Poll::Ready(Some(TaskNews::Stands(members))) => {
                        found = serde_json::from_str(&(members + "}")).ok();
                    }
                    Poll::Ready(Some(TaskNews::Asks(_) | TaskNews::Ended(_))) => {}
                }
            }
            true
        });
        found
    }
}

/// Reads `params` and begins to listen, for a client and its subject.
pub(crate) fn listen(
    service: &Service,
    client: (Capabilities, Option<Owner>),
    id: Id<'_>,
    params: Value<'_>,
) -> Result<Listening, RpcError> {
    let refuse = |what: String| Err(RpcError::invalid_params(what));
    let Some(wanted @ Value::Object(_)) = params.get("notifications") else {
        return refuse("Invalid params: notifications must be an object".into());
    };
    let (mut honoured, mut lists) = (Map::new(), 0);
    let declared = service.server().declared();
    for (list, key, offered) in [
        (List::Tools, "toolsListChanged", true),
        (List::Prompts, "promptsListChanged", declared.prompts),
        (List::Resources, "resourcesListChanged", declared.resources),
    ] {
        match wanted.get(key) {
            Some(Value::Bool(true)) if offered => {
                honoured.insert(key.to_owned(), true.into());
                lists |= list.bit();
            }
            None | Some(Value::Null | Value::Bool(_)) => {}
            Some(_) => return refuse(format!("Invalid params: {key} must be a boolean")),
        }
    }
    let uris = uris(service, wanted.get("resourceSubscriptions"))?;
    if let Some(uris) = &uris {
        let uris: Vec<_> = uris.iter().map(|uri| Json::from(&**uri)).collect();
        honoured.insert("resourceSubscriptions".to_owned(), uris.into());
    }
    let tasks = Tasks::read(service, client, wanted.get("taskIds"))?;
    if tasks.is_some() {
        honoured.insert("taskIds".to_owned(), Json::Array(Vec::new()));
    }
    let listener = Rc::new(Listener {
        lists,
        uris: uris.unwrap_or_default(),
        changed: Cell::new(0),
        updated: RefCell::default(),
        waker: RefCell::default(),
    });
    service.add_listener(&listener);
    Ok(Listening {
        id: serde_json::from_str(&work::json(id)).unwrap_or_default(),
        acknowledged: false,
        honoured,
        listener,
        tasks: tasks.unwrap_or_default(),
    })
}

/// The URIs of resources that are wanted; none where nothing is asked, or nothing is offered.
fn uris(service: &Service, wanted: Option<Value<'_>>) -> Result<Option<Vec<Arc<str>>>, RpcError> {
    let limits = service.server().limits();
    let limit = limits.subscription_count;
    let refuse = |what: String| Err(RpcError::invalid_params(what));
    let elements = match wanted {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(elements)) if elements.len() <= limit => elements,
        Some(_) => {
            return refuse(format!(
                "Invalid params: resourceSubscriptions must be an array of at most {limit} URIs"
            ));
        }
    };
    let offered = service.server().declared().resources;
    let mut uris: Vec<Arc<str>> = Vec::new();
    for element in elements {
        let Some(uri) = element.as_str() else {
            return refuse("Invalid params: resourceSubscriptions must be URIs".into());
        };
        if offered && !uris.iter().any(|it| **it == *uri) {
            uris.push(uri.into());
        }
    }
    if uris.iter().map(|uri| uri.len()).sum::<usize>() > limits.subscription_bytes {
        return refuse("Invalid params: resourceSubscriptions over the limit".into());
    }
    Ok(offered.then_some(uris))
}

impl Listening {
    /// The next message, if there is one; otherwise remembers who is to be woken.
    // [mcp:listen-ack]
    pub(crate) fn next(&mut self, cx: &mut Context<'_>) -> Option<String> {
        if !self.acknowledged {
            if let Some(Json::Array(watched)) = self.honoured.get_mut("taskIds")
                && self.tasks.poll_open(watched, cx).is_pending()
            {
                return None;
            }
            self.acknowledged = true;
            let honoured = std::mem::take(&mut self.honoured);
            return Some(self.notification(
                "notifications/subscriptions/acknowledged",
                json!({"notifications": honoured}),
            ));
        }
        let listener = &self.listener;
        let changed = listener.changed.get();
        if let Some(list) = List::ALL.into_iter().find(|it| changed & it.bit() != 0) {
            listener.changed.set(changed & !list.bit());
            return Some(self.notification(list.method(), json!({})));
        }
        let updated = listener.updated.borrow_mut().pop_front();
        if let Some(uri) = updated {
            let params = json!({"uri": &*uri});
            return Some(self.notification("notifications/resources/updated", params));
        }
        if let Some(task) = self.tasks.next(cx) {
            return Some(self.notification("notifications/tasks", task));
        }
        *listener.waker.borrow_mut() = Some(cx.waker().clone());
        None
    }

    // [mcp:subscription-id]
    fn notification(&self, method: &str, mut params: Json) -> String {
        params["_meta"] = json!({META_SUBSCRIPTION: self.id});
        json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
    }

    /// The id of the request, as JSON.
    pub(crate) fn id(&self) -> String {
        self.id.to_string()
    }

    /// What is said when it is the server that ends the stream: the notice that one page of the
    /// specification asks for, then the answer that another does.
    // [mcp:cancel-listen]
    pub(crate) fn end(&self, service: &Service) -> [String; 2] {
        let params = json!({"requestId": self.id, "reason": "the server ends"});
        let notice = self.notification("notifications/cancelled", params);
        let id = self.id.to_string();
        let result = service.server().stamp().subscription_end(&id);
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        [notice, answer]
    }
}
