//! The modern era: stateless requests that carry their own metadata.
//!
//! Checks run in the one order that satisfies every conformance probe: header present, `_meta`
//! complete, both equal, version implemented, mirrors equal, method known, parameters.

use super::headers::{Mirror, mismatch};
use super::{Era, META_CAPABILITIES, META_VERSION, MODERN, Version, call};
use crate::rpc::{Code, Id, Params, RpcError, Value, write};
use crate::service::Service;

/// Answers one request. `mirror` holds the headers beside it, on transports that have headers.
pub(crate) async fn answer(
    service: &Service,
    id: Id<'_>,
    request: Params<'_>,
    mirror: Option<Mirror<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), RpcError> {
    admit(request, mirror)?;
    match request.method {
        "tools/call" => call::call(service, Era::Modern, id, request.params, out).await,
        "tools/list" => call::list(service, Era::Modern, id, request.params, out),
        "server/discover" => {
            write::open_result(out, id);
            out.extend_from_slice(service.server().discovery());
            out.push(b'}');
            Ok(())
        }
        _ => Err(RpcError::new(404, Code::MethodNotFound, "Method not found")),
    }
}

/// Checks one notification; every method is accepted, none has an effect here.
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

fn admit(request: Params<'_>, mirror: Option<Mirror<'_>>) -> Result<(), RpcError> {
    if mirror.is_some_and(|mirror| mirror.version.is_none()) {
        return Err(mismatch("MCP-Protocol-Version is missing"));
    }
    let version = metadata(request.meta)?;
    if let Some(mirror) = mirror {
        mirror.check_version(version)?;
    }
    implemented(version)?;
    if let Some(mirror) = mirror {
        mirror.check_method(request.method)?;
        mirror.check_name(request.method, request.params)?;
    }
    Ok(())
}

/// The version that `_meta` names, once all that it must hold is there.
fn metadata(meta: Option<Value<'_>>) -> Result<&str, RpcError> {
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
        Ok([Some(Value::Str(version)), Some(Value::Object(_))]) => Ok(version),
        Ok([Some(Value::Str(_)), _]) => {
            refuse("_meta io.modelcontextprotocol/clientCapabilities must be an object")
        }
        Ok(_) => refuse("_meta io.modelcontextprotocol/protocolVersion must be a string"),
        Err(_) => refuse("duplicate member in _meta"),
    }
}

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
