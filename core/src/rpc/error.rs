//! JSON-RPC error codes and the error that a request ends with.

use std::borrow::Cow;

use crate::mcp::Era;

/// Error codes on the wire, both eras.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
// [mcp:codes-reserved]
pub enum Code {
    /// Not JSON.
    ParseError = -32700,
    /// JSON, but not one JSON-RPC message.
    InvalidRequest = -32600,
    /// Unknown or removed method.
    MethodNotFound = -32601,
    /// Parameters that do not fit the method.
    InvalidParams = -32602,
    /// A fault on this side, such as a tool that panicked.
    Internal = -32603,
    /// Legacy era: a request that the transport refuses.
    Transport = -32000,
    /// Legacy era: no such session.
    SessionNotFound = -32001,
    /// Legacy era: no such resource.
    ResourceNotFound = -32002,
    /// Modern era: a header is missing or contradicts the body.
    HeaderMismatch = -32020,
    /// Modern era: the client did not declare a capability that the request needs.
    MissingCapability = -32021,
    /// Modern era: a version this node does not implement.
    UnsupportedVersion = -32022,
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// Why a message got no result: the JSON-RPC error, and the HTTP status where HTTP carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// Error code.
    pub code: Code,
    /// What was wanted, what was found.
    pub message: Cow<'static, str>,
    /// The `data` member, as JSON.
    pub data: Option<String>,
    /// HTTP status.
    pub status: u16,
}

impl RpcError {
    /// An error without data.
    pub fn new(status: u16, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
            status,
        }
    }

    /// Parameters that do not fit, in a message that was otherwise fine: HTTP 200.
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(200, Code::InvalidParams, message)
    }

    /// A message outside the JSON-RPC grammar: HTTP 400.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, Code::InvalidRequest, message)
    }

    /// A fault on this side, whose cause stays in the log: HTTP 200.
    pub fn internal() -> Self {
        Self::new(
            200,
            Code::Internal,
            "Internal error: the request failed on the server",
        )
    }

    /// What a function of this server says went wrong: HTTP 200.
    pub fn failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(200, Code::Internal, message)
    }

    /// What a function of this server made is over its limit: HTTP 200.
    pub(crate) fn too_large(found: usize, limit: usize) -> Self {
        Self::failed(format!(
            "the result of {found} bytes is over the limit of {limit}"
        ))
    }

    /// Modern era: the request needs a capability that the client did not declare.
    pub(crate) fn missing_capability(name: &str, capability: &serde_json::Value) -> Self {
        let data = serde_json::json!({"requiredCapabilities": capability});
        Self {
            data: Some(data.to_string()),
            ..Self::new(
                400,
                Code::MissingCapability,
                format!("Missing required client capability: {name}"),
            )
        }
    }

    /// A resource that does not exist, in the words of its era.
    // [mcp:codes-old] [mcp:resources-missing]
    pub(crate) fn no_resource(era: Era, uri: &str) -> Self {
        let code = match era {
            Era::Legacy => Code::ResourceNotFound,
            Era::Modern => Code::InvalidParams,
        };
        Self {
            data: Some(serde_json::json!({"uri": uri}).to_string()),
            ..Self::new(200, code, "Resource not found")
        }
    }

    /// A method that does not exist, in the words of its era.
    // [mcp:http-method-unknown]
    pub(crate) fn no_method(era: Era) -> Self {
        let status = match era {
            Era::Legacy => 200,
            Era::Modern => 404,
        };
        Self::new(status, Code::MethodNotFound, "Method not found")
    }
}
