//! The legacy era: `initialize`, then requests of a session, up to 2025-11-25.

use std::rc::Rc;

use super::dispatch::{self, Asker, Flow, bad_level};
use super::{Capabilities, Era, Version, work};
use crate::auth::{Identity, Owner};
use crate::context::Level;
use crate::limits::{CLIENT_NAME_BYTES, Limits};
use crate::rpc::{Id, Params, Response, RpcError, Value, write};
use crate::service::Service;
use crate::session::{Change, Reply, SessionFacts, SessionLink, SessionView};

/// Reads `initialize` of `owner`: what was negotiated, and with whom.
pub(crate) fn hello(params: Value<'_>, owner: Option<Owner>) -> Result<SessionFacts, RpcError> {
    let refuse = |what: &'static str| Err(RpcError::invalid_params(what));
    let members = params.pick(["protocolVersion", "capabilities", "clientInfo"]);
    let Ok([version, capabilities, client]) = members else {
        return refuse("Invalid params: duplicate member");
    };
    let Some(Value::Str(requested)) = version else {
        return refuse("Invalid params: protocolVersion must be a string");
    };
    let Some(capabilities @ Value::Object(_)) = capabilities else {
        return refuse("Invalid params: capabilities must be an object");
    };
    let text = |key| client.and_then(|it| it.get(key)).and_then(Value::as_str);
    let (Some(name), Some(_)) = (text("name"), text("version")) else {
        return refuse("Invalid params: clientInfo must have a name and a version");
    };
    let client = name[..name.floor_char_boundary(CLIENT_NAME_BYTES)].into();
    Ok(SessionFacts {
        version: Version::negotiate(requested),
        client,
        capabilities: Capabilities::read(capabilities),
        owner,
    })
}

/// Writes the answer to `initialize`.
// [mcp:init-answer]
pub(crate) fn welcome(service: &Service, id: Id<'_>, version: Version, out: &mut Vec<u8>) {
    write::open_result(out, id);
    out.extend_from_slice(br#"{"protocolVersion":"#);
    write::string(out, version.as_str());
    out.push(b',');
    out.extend_from_slice(service.server().introduction());
    service.server().stamp().close(Era::Legacy, out);
    out.push(b'}');
}

/// Answers one request of a session.
pub(crate) fn answer(
    service: &Service,
    session: SessionView,
    link: &dyn Fn() -> Option<Rc<dyn SessionLink>>,
    identity: Option<&Rc<Identity>>,
    (id, request): (Id<'_>, Params<'_>),
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    if request.method == "ping" {
        agree(id, out);
        return Ok(Flow::Done);
    }
    let asker = Asker {
        era: Era::Legacy,
        capabilities: session.capabilities,
        log_level: Some(session.log_level),
        meta: request.meta,
        mirror: None,
        link,
        identity,
    };
    dispatch::answer(service, &asker, id, request, out)
}

/// Writes an answer that says nothing but yes.
// [mcp:ping]
pub(crate) fn agree(id: Id<'_>, out: &mut Vec<u8>) {
    write::open_result(out, id);
    out.extend_from_slice(b"{}}");
}

/// What `request` changes of its session, if that is all it does.
pub(crate) fn change(service: &Service, request: Params<'_>) -> Result<Option<Change>, RpcError> {
    let Params { method, params, .. } = request;
    let uri = || match params.get("uri") {
        _ if !service.server().declared().resources => Err(RpcError::no_method(Era::Legacy)),
        Some(Value::Str(uri)) => Ok(uri),
        _ => Err(RpcError::invalid_params(
            "Invalid params: uri must be a string",
        )),
    };
    Ok(Some(match method {
        "logging/setLevel" => {
            let level = params.get("level").and_then(Value::as_str);
            Change::LogLevel(level.and_then(Level::parse).ok_or_else(bad_level)?)
        }
        "resources/subscribe" => {
            let uri = uri()?;
            if service.edition().catalog.reader(uri).is_none() {
                return Err(RpcError::no_resource(Era::Legacy, uri));
            }
            Change::Subscribe(uri.into())
        }
        "resources/unsubscribe" => Change::Unsubscribe(uri()?.into()),
        _ => return Ok(None),
    }))
}

/// What a notification changes of its session; others are taken and have no effect.
pub(crate) fn noted(note: Params<'_>, limits: &Limits) -> Option<Change> {
    match note.method {
        "notifications/initialized" => Some(Change::Initialized),
        "notifications/cancelled" => {
            let id = Id::read(note.params.get("requestId")?)?;
            // No request with a longer id is under way.
            if id.bytes() > limits.id_bytes {
                return None;
            }
            Some(Change::Cancel(work::json(id).into()))
        }
        _ => None,
    }
}

/// The request that a response answers, and what the client says; `None` when it names none that
/// could be ours.
pub(crate) fn reply(response: Response<'_>) -> Option<(&str, Reply)> {
    let Some(Id::Str(request)) = response.id else {
        return None;
    };
    let reply = match response.outcome {
        Ok(result) => {
            let mut text = Vec::new();
            write::value(&mut text, result, false);
            Reply::Result(String::from_utf8(text).ok()?)
        }
        Err(error) => Reply::Error {
            code: match error.get("code") {
                Some(Value::Int(code)) => code,
                _ => 0,
            },
            message: error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        },
    };
    Some((request, reply))
}

#[cfg(test)]
mod tests {
    use bumpalo::Bump;

    use super::*;
    use crate::rpc::{JsonParser, Message};

    #[test]
    fn an_id_that_no_request_can_have_cancels_nothing() {
        let limits = Limits {
            id_bytes: 64,
            ..Limits::default()
        };
        for (bytes, cancels) in [(64, true), (65, false)] {
            let id = "x".repeat(bytes);
            let note = serde_json::json!({"jsonrpc": "2.0", "params": {"requestId": id},
                "method": "notifications/cancelled"});
            let (arena, mut body) = (Bump::new(), note.to_string().into_bytes());
            let root = JsonParser::new(&limits).parse(&mut body, &arena).unwrap();
            let Ok(Message::Notification(note)) = Message::read(root) else {
                panic!("no notification");
            };
            assert_eq!(noted(note, &limits).is_some(), cancels);
        }
    }
}
