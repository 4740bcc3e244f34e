//! The legacy era: `initialize`, then requests of a session, up to 2025-11-25.

use super::{Era, Version, call};
use crate::rpc::{Code, Id, Params, RpcError, Value, write};
use crate::service::Service;
use crate::session::SessionFacts;

/// Longest client name that a session remembers.
const CLIENT_NAME_BYTES: usize = 128;

/// Reads `initialize`: what was negotiated, and with whom.
pub(crate) fn hello(params: Value<'_>) -> Result<SessionFacts, RpcError> {
    let refuse = |what: &'static str| Err(RpcError::invalid_params(what));
    let members = params.pick(["protocolVersion", "capabilities", "clientInfo"]);
    let Ok([version, capabilities, client]) = members else {
        return refuse("Invalid params: duplicate member");
    };
    let Some(Value::Str(requested)) = version else {
        return refuse("Invalid params: protocolVersion must be a string");
    };
    if !matches!(capabilities, Some(Value::Object(_))) {
        return refuse("Invalid params: capabilities must be an object");
    }
    let text = |key| client.and_then(|it| it.get(key)).and_then(Value::as_str);
    let (Some(name), Some(_)) = (text("name"), text("version")) else {
        return refuse("Invalid params: clientInfo must have a name and a version");
    };
    let client = name[..name.floor_char_boundary(CLIENT_NAME_BYTES)].into();
    Ok(SessionFacts {
        version: Version::negotiate(requested),
        client,
    })
}

/// Writes the answer to `initialize`.
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
pub(crate) async fn answer(
    service: &Service,
    id: Id<'_>,
    request: Params<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RpcError> {
    match request.method {
        "tools/call" => call::call(service, Era::Legacy, id, request.params, out).await,
        "tools/list" => call::list(service, Era::Legacy, id, request.params, out),
        "ping" => {
            write::open_result(out, id);
            out.extend_from_slice(b"{}}");
            Ok(())
        }
        _ => Err(RpcError::new(200, Code::MethodNotFound, "Method not found")),
    }
}
