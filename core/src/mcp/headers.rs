//! The headers that mirror a modern body, compared as the specification says: names without
//! regard to case (the HTTP parser did that), values exactly, surrounding white space ignored.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rpc::{Code, RpcError, Value};

const PREFIX: &[u8] = b"=?base64?";
const SUFFIX: &[u8] = b"?=";

/// What HTTP carries beside a modern message; absent on transports without headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mirror<'a> {
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) name: Option<&'a [u8]>,
}

impl Mirror<'_> {
    /// Compares `MCP-Protocol-Version` with the version that `_meta` names.
    pub(crate) fn check_version(&self, body: &str) -> Result<(), RpcError> {
        match self.version {
            Some(version) if version == body.as_bytes() => Ok(()),
            _ => Err(mismatch(
                "MCP-Protocol-Version does not match the version in _meta",
            )),
        }
    }

    /// Compares `Mcp-Method`.
    pub(crate) fn check_method(&self, body: &str) -> Result<(), RpcError> {
        match self.method {
            Some(method) if method == body.as_bytes() => Ok(()),
            Some(_) => Err(mismatch("Mcp-Method does not match the method of the body")),
            None => Err(mismatch("Mcp-Method is missing")),
        }
    }

    /// Compares `Mcp-Name` with the member that `method` mirrors, if it mirrors one.
    pub(crate) fn check_name(&self, method: &str, params: Value<'_>) -> Result<(), RpcError> {
        let member = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            _ => return Ok(()),
        };
        let Some(header) = self.name else {
            return Err(mismatch("Mcp-Name is missing"));
        };
        match params.get(member).and_then(Value::as_str) {
            Some(body) if *decode(header)? == *body.as_bytes() => Ok(()),
            _ => Err(mismatch("Mcp-Name does not match the name in the body")),
        }
    }
}

pub(crate) fn mismatch(what: &'static str) -> RpcError {
    RpcError::new(
        400,
        Code::HeaderMismatch,
        ["Header mismatch: ", what].concat(),
    )
}

/// The text of a header value: literal, or base64 inside the sentinel.
fn decode(value: &[u8]) -> Result<Cow<'_, [u8]>, RpcError> {
    let encoded = value
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    match encoded {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map(Cow::Owned)
            .map_err(|_| mismatch("the value inside =?base64?...?= is not padded base64")),
        None if value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) => Ok(value.into()),
        None => Err(mismatch("non-ASCII text must be sent as =?base64?...?=")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, name: &str) -> bool {
        let mirror = Mirror {
            version: None,
            method: None,
            name: Some(header.as_bytes()),
        };
        let members = [("name", Value::Str(name))];
        mirror
            .check_name("tools/call", Value::Object(&members))
            .is_ok()
    }

    #[test]
    fn names_are_literal_or_base64() {
        assert!(check("echo", "echo"));
        assert!(check("", ""));
        assert!(check("=?base64?SGVsbG8=?=", "Hello"));
        assert!(check("=?base64?w6k=?=", "é"));
        assert!(check("=?base64??=", ""));
        // Without the whole sentinel the value is literal.
        assert!(check("SGVsbG8=", "SGVsbG8="));
        assert!(check("=?base64?SGVsbG8=", "=?base64?SGVsbG8="));
        assert!(check("SGVsbG8=?=", "SGVsbG8=?="));
    }

    #[test]
    fn doubtful_names_are_refused() {
        assert!(!check("Echo", "echo"));
        assert!(!check("echo", "other"));
        assert!(!check("é", "é"));
        assert!(!check("=?base64?SGVsbG8?=", "Hello"));
        assert!(!check("=?base64?SGVs bG8=?=", "Hello"));
        assert!(!check("=?base64?SGVsbG9=?=", "Hello"));
        assert!(!check("=?BASE64?SGVsbG8=?=", "Hello"));
    }
}
