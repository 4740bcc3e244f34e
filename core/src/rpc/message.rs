//! One JSON-RPC message: envelope checked, members found in any order.

use super::{RpcError, Value};

/// The id of a request, echoed exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id<'a> {
    /// An integer.
    Int(i64),
    /// An integer beyond `i64::MAX`.
    Uint(u64),
    /// A string.
    Str(&'a str),
}

impl<'a> Id<'a> {
    pub(crate) fn read(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Int(it) => Some(Self::Int(it)),
            Value::Uint(it) => Some(Self::Uint(it)),
            Value::Str(it) => Some(Self::Str(it)),
            _ => None,
        }
    }

    /// Bytes of an id that is a string; a number has none of its own.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Int(_) | Self::Uint(_) => 0,
            Self::Str(it) => it.len(),
        }
    }
}

/// What a request or a notification asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params<'a> {
    /// Method name.
    pub method: &'a str,
    /// The `params` object, or `Null` when absent.
    pub params: Value<'a>,
    /// The `_meta` member of `params`, if there is one.
    pub meta: Option<Value<'a>>,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Id<'a>, Params<'a>),
    /// Wants none.
    Notification(Params<'a>),
    /// Answers a request of ours.
    Response(Response<'a>),
}

/// The answer to a request of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response<'a> {
    /// The id of the request, if it could be read.
    pub id: Option<Id<'a>>,
    /// The result, or the error.
    pub outcome: Result<Value<'a>, Value<'a>>,
}

/// A message outside the grammar, with its id where that much could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed<'a> {
    pub(crate) id: Option<Id<'a>>,
    pub(crate) error: RpcError,
}

impl<'a> Message<'a> {
    /// Classifies `root`, the whole body.
    pub fn read(root: Value<'a>) -> Result<Self, Malformed<'a>> {
        let refuse = |id, message: &'static str| {
            Err(Malformed {
                id,
                error: RpcError::invalid_request(message),
            })
        };
        match root {
            Value::Object(_) => {}
            Value::Array(_) => {
                return refuse(
                    None,
                    "Invalid request: only sessions of 2025-03-26 may send batches",
                );
            }
            _ => return refuse(None, "Invalid request: wanted a JSON object"),
        }
        let keys = ["jsonrpc", "id", "method", "params", "result", "error"];
        let [version, raw_id, method, params, result, error] = match root.pick(keys) {
            Ok(members) => members,
            Err(_) => return refuse(None, "Invalid request: duplicate member in the envelope"),
        };
        let id = raw_id.and_then(Id::read);
        // [mcp:rpc-id-kind]
        if raw_id.is_some() && id.is_none() {
            return refuse(None, "Invalid request: id must be a string or an integer");
        }
        // [mcp:rpc-form]
        if version != Some(Value::Str("2.0")) {
            return refuse(id, "Invalid request: jsonrpc must be \"2.0\"");
        }
        let answers = result.is_some() || error.is_some();
        let method = match method {
            Some(Value::Str(method)) if !answers => method,
            None if result.is_some() != error.is_some() => {
                let outcome = result.ok_or(error.unwrap_or_default());
                return Ok(Self::Response(Response { id, outcome }));
            }
            Some(Value::Str(_)) | None if answers => {
                return refuse(
                    id,
                    "Invalid request: wanted one of method, result and error",
                );
            }
            _ => return refuse(id, "Invalid request: method must be a string"),
        };
        let params = params.unwrap_or_default();
        if !matches!(params, Value::Null | Value::Object(_)) {
            return refuse(id, "Invalid request: params must be an object");
        }
        let Ok([meta]) = params.pick(["_meta"]) else {
            return refuse(id, "Invalid request: duplicate _meta");
        };
        let params = Params {
            method,
            params,
            meta,
        };
        // [mcp:rpc-note-no-id]
        Ok(id.map_or(Self::Notification(params), |id| Self::Request(id, params)))
    }
}

#[cfg(test)]
mod tests {
    use bumpalo::Bump;

    use super::*;
    use crate::rpc::{JsonParser, write};

    fn read(text: &str) -> Result<String, (Option<String>, String)> {
        let arena = Bump::new();
        let mut body = text.as_bytes().to_vec();
        let root = JsonParser::new(&crate::limits::Limits::default())
            .parse(&mut body, &arena)
            .unwrap();
        let show = |id| {
            let mut out = Vec::new();
            write::id(&mut out, id);
            String::from_utf8(out).unwrap()
        };
        match Message::read(root) {
            Ok(Message::Request(id, _)) => Ok(show(id)),
            Ok(Message::Notification(_)) => Ok("notification".into()),
            Ok(Message::Response(_)) => Ok("response".into()),
            Err(malformed) => Err((malformed.id.map(show), malformed.error.message.into_owned())),
        }
    }

    #[test]
    fn ids_of_all_kinds_are_echoed_exactly() {
        // [mcp:rpc-id-kind]
        for id in [
            "0",
            "-7",
            "9223372036854775807",
            "18446744073709551615",
            "\"\"",
            "\"a\\\"\\n€\"",
        ] {
            let text = format!(r#"{{"method":"m","id":{id},"jsonrpc":"2.0"}}"#);
            assert_eq!(read(&text), Ok(id.to_owned()));
        }
        for id in [
            "null",
            "1.5",
            "1.0",
            "1e400",
            "true",
            "{}",
            "[]",
            "18446744073709551616",
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
            // Beyond the range of a float it is no JSON that can be represented at all.
            if id != "1e400" {
                assert_eq!(read(&text).map_err(|it| it.0), Err(None), "{id}");
            }
        }
    }

    #[test]
    fn messages_are_classified() {
        // [mcp:rpc-note-no-id]
        assert_eq!(
            read(r#"{"method":"m","jsonrpc":"2.0"}"#),
            Ok("notification".into())
        );
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            Ok("response".into())
        );
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","error":{"code":1}}"#),
            Ok("response".into())
        );
    }

    #[test]
    fn wrong_shapes_are_refused_with_the_id_that_could_be_read() {
        // [mcp:rpc-form]
        let known = Some("5".to_owned());
        for (text, id) in [
            ("3", None),
            ("\"x\"", None),
            ("null", None),
            ("[]", None),
            (r#"[{"jsonrpc":"2.0","id":5,"method":"m"}]"#, None),
            ("{}", None),
            (r#"{"jsonrpc":"1.0","id":5,"method":"m"}"#, known.clone()),
            (r#"{"id":5,"method":"m"}"#, known.clone()),
            (r#"{"jsonrpc":2.0,"id":5,"method":"m"}"#, known.clone()),
            (r#"{"jsonrpc":"2.0","id":5}"#, known.clone()),
            (r#"{"jsonrpc":"2.0","id":5,"method":7}"#, known.clone()),
            (
                r#"{"jsonrpc":"2.0","id":5,"method":"m","result":1}"#,
                known.clone(),
            ),
            (
                r#"{"jsonrpc":"2.0","id":5,"result":1,"error":{}}"#,
                known.clone(),
            ),
            (
                r#"{"jsonrpc":"2.0","id":5,"method":"m","params":[1]}"#,
                known.clone(),
            ),
            (
                r#"{"jsonrpc":"2.0","id":5,"method":"m","params":{"_meta":1,"_meta":2}}"#,
                known,
            ),
            (r#"{"jsonrpc":"2.0","id":5,"id":6,"method":"m"}"#, None),
            (
                r#"{"jsonrpc":"2.0","id":5,"method":"m","method":"n"}"#,
                None,
            ),
        ] {
            assert_eq!(read(text).map_err(|it| it.0), Err(id), "{text}");
        }
    }
}
