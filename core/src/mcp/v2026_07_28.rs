//! The modern era: stateless requests that carry their own metadata.
//!
//! Checks run in the one order that satisfies every conformance probe: header present, `_meta`
//! complete, both equal, version implemented, mirrors equal, method known, parameters.

use std::rc::Rc;

use super::dispatch::{self, Asker, Flow, bad_level};
use super::headers::{Mirror, mismatch};
use super::{
    Capabilities, Era, META_CAPABILITIES, META_LOG_LEVEL, META_VERSION, MODERN, Version, listen,
};
use crate::auth::Identity;
use crate::context::Level;
use crate::rpc::{Code, Id, Params, RpcError, Value, write};
use crate::service::Service;
use crate::task::{EXTENSION, Want};

/// Answers one request. `mirror` holds the headers beside it, on transports that have headers;
/// `identity` says whose it is, where that has to be said.
pub(crate) fn answer<'a>(
    service: &Service,
    id: Id<'_>,
    request: Params<'a>,
    mirror: Option<Mirror<'a>>,
    identity: Option<&'a Rc<Identity>>,
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    let capabilities = admit(request, mirror)?;
    match request.method {
        // [mcp:discover]
        "server/discover" => {
            write::open_result(out, id);
            out.extend_from_slice(service.server().discovery());
            out.push(b'}');
            Ok(Flow::Done)
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" if service.server().declared().tasks => {
            let limit = service.server().limits().request_state_bytes;
            ask_task(Capabilities::read(capabilities), request, limit)
        }
        "subscriptions/listen" => listen::listen(service, id, request.params).map(Flow::Listens),
        _ => {
            let level = request.meta.and_then(|meta| meta.get(META_LOG_LEVEL));
            let log_level = match level {
                None | Some(Value::Null) => None,
                Some(level) => {
                    let level = level.as_str().and_then(Level::parse);
                    Some(level.ok_or_else(bad_level)?)
                }
            };
            let asker = Asker {
                era: Era::Modern,
                capabilities: Capabilities::read(capabilities),
                log_level,
                meta: request.meta,
                mirror,
                link: &|| None,
                identity,
            };
            dispatch::answer(service, &asker, id, request, out)
        }
    }
}

/// Reads what a request wants of a task.
fn ask_task(
    client: Capabilities,
    request: Params<'_>,
    answer_bytes: usize,
) -> Result<Flow, RpcError> {
    if !client.tasks {
        let missing = serde_json::json!({"extensions": {EXTENSION: {}}});
        return Err(RpcError::missing_capability("tasks", &missing));
    }
    let refuse = |what: &'static str| Err(RpcError::invalid_params(what));
    let params = request.params;
    let Some(Value::Str(id)) = params.get("taskId") else {
        return refuse("Invalid params: taskId must be a string");
    };
    let want = match request.method {
        "tasks/get" => Want::Get,
        "tasks/cancel" => Want::Cancel,
        _ => match params.get("inputResponses") {
            Some(answers @ Value::Object(_)) => {
                let mut text = Vec::new();
                write::value(&mut text, answers, false);
                if text.len() > answer_bytes {
                    return refuse("Invalid params: inputResponses over the limit of bytes");
                }
                Want::Update(String::from_utf8(text).unwrap_or_default())
            }
            _ => return refuse("Invalid params: inputResponses must be an object"),
        },
    };
    Ok(Flow::Asks(id.to_owned(), want))
}

/// Checks one notification; every method is accepted, none has an effect here.
// [mcp:rpc-note-silent] [mcp:http-accepted]
pub(crate) fn accept(notification: Params<'_>, mirror: Option<Mirror<'_>>) -> Result<(), RpcError> {
    let named = notification
        .meta
        .and_then(|meta| meta.get(META_VERSION))
        .and_then(Value::as_str);
    if let Some(mirror) = mirror {
        let header = mirror
            .version
            .ok_or_else(|| mismatch("MCP-Protocol-Version is missing"))?;
        if let Some(named) = named {
            mirror.check_version(named)?;
        }
        implemented(&String::from_utf8_lossy(header))?;
        return mirror.check_method(notification.method);
    }
    named.map_or(Ok(()), implemented)
}

/// The capabilities of the client, once everything that every request must hold is there.
// [mcp:stateless] [mcp:meta-check]
fn admit<'a>(request: Params<'a>, mirror: Option<Mirror<'_>>) -> Result<Value<'a>, RpcError> {
    if mirror.is_some_and(|mirror| mirror.version.is_none()) {
        return Err(mismatch("MCP-Protocol-Version is missing"));
    }
    let (version, capabilities) = metadata(request.meta)?;
    if let Some(mirror) = mirror {
        mirror.check_version(version)?;
    }
    implemented(version)?;
    if let Some(mirror) = mirror {
        mirror.check_method(request.method)?;
        mirror.check_name(request.method, request.params)?;
    }
    Ok(capabilities)
}

/// The version and the capabilities that `_meta` names, once all that it must hold is there.
// [mcp:meta-values]
fn metadata(meta: Option<Value<'_>>) -> Result<(&str, Value<'_>), RpcError> {
    let refuse = |what: &'static str| {
        Err(RpcError::new(
            400,
            Code::InvalidParams,
            ["Invalid params: ", what].concat(),
        ))
    };
    let Some(meta @ Value::Object(_)) = meta else {
        return refuse("_meta is missing");
    };
    match meta.pick([META_VERSION, META_CAPABILITIES]) {
        Ok(
            [
                Some(Value::Str(version)),
                Some(capabilities @ Value::Object(_)),
            ],
        ) => Ok((version, capabilities)),
        Ok([Some(Value::Str(_)), _]) => {
            refuse("_meta io.modelcontextprotocol/clientCapabilities must be an object")
        }
        Ok(_) => refuse("_meta io.modelcontextprotocol/protocolVersion must be a string"),
        Err(_) => refuse("duplicate member in _meta"),
    }
}

// [mcp:version-unsupported]
fn implemented(version: &str) -> Result<(), RpcError> {
    if Version::find(MODERN, version.as_bytes()).is_some() {
        return Ok(());
    }
    let mut data = br#"{"supported":["#.to_vec();
    for (at, supported) in MODERN.iter().enumerate() {
        data.extend_from_slice(if at == 0 { b"" } else { b"," });
        write::string(&mut data, supported.as_str());
    }
    data.extend_from_slice(br#"],"requested":"#);
    write::string(&mut data, version);
    data.push(b'}');
    Err(RpcError {
        data: String::from_utf8(data).ok(),
        ..RpcError::new(
            400,
            Code::UnsupportedVersion,
            "Unsupported protocol version",
        )
    })
}
