//! `subscriptions/listen` (modern era): a stream of the changes that a client asked to be told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use serde_json::{Map, Value as Json, json};

use super::META_SUBSCRIPTION;
use super::work;
use crate::changes::{List, News};
use crate::rpc::{Id, RpcError, Value};
use crate::service::Service;

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
}

/// Reads `params` and begins to listen.
pub(crate) fn listen(
    service: &Service,
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
    let limits = service.server().limits();
    let limit = limits.subscription_count;
    let mut uris: Vec<Arc<str>> = Vec::new();
    match wanted.get("resourceSubscriptions") {
        None | Some(Value::Null) => {}
        Some(Value::Array(elements)) if elements.len() <= limit => {
            for element in elements {
                let Some(uri) = element.as_str() else {
                    return refuse("Invalid params: resourceSubscriptions must be URIs".into());
                };
                if declared.resources && !uris.iter().any(|it| **it == *uri) {
                    uris.push(uri.into());
                }
            }
            if uris.iter().map(|uri| uri.len()).sum::<usize>() > limits.subscription_bytes {
                return refuse("Invalid params: resourceSubscriptions over the limit".into());
            }
            if declared.resources {
                let uris: Vec<_> = uris.iter().map(|uri| Json::from(&**uri)).collect();
                honoured.insert("resourceSubscriptions".to_owned(), uris.into());
            }
        }
        Some(_) => {
            return refuse(format!(
                "Invalid params: resourceSubscriptions must be an array of at most {limit} URIs"
            ));
        }
    }
    let listener = Rc::new(Listener {
        lists,
        uris,
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
    })
}

impl Listening {
    /// The next message, if there is one; otherwise remembers who is to be woken.
    // [mcp:listen-ack]
    pub(crate) fn next(&mut self, cx: &mut Context<'_>) -> Option<String> {
        if !self.acknowledged {
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

    /// The answer, when it is the server that ends the stream.
    pub(crate) fn end(&self, service: &Service) -> String {
        let id = self.id.to_string();
        let result = service.server().stamp().subscription_end(&id);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
    }
}
