//! Messages as a client reads and writes them.

use serde_json::{Value, json};

use super::error::ClientError;

/// What a server may send.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// To a request with this id; some errors have none.
    Answer(Option<u64>, Result<Value, ClientError>),
    Question(Question),
    Notification(String, Value),
}

/// A request of the server.
#[derive(Debug, PartialEq)]
pub(crate) struct Question {
    pub(crate) id: Value,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// The messages in `bytes`: one, or a batch of them.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Incoming>, ClientError> {
    let value = serde_json::from_slice(bytes).map_err(|e| ClientError::Garbage(e.to_string()))?;
    match value {
        Value::Array(batch) => batch.into_iter().map(read_one).collect(),
        one => Ok(vec![read_one(one)?]),
    }
}

fn read_one(mut value: Value) -> Result<Incoming, ClientError> {
    let garbage = |what: &str| Err(ClientError::Garbage(what.to_owned()));
    let Some(message) = value.as_object_mut() else {
        return garbage("no object");
    };
    if message.get("jsonrpc") != Some(&json!("2.0")) {
        return garbage("no `jsonrpc` 2.0");
    }
    let id = message.remove("id").filter(|id| !id.is_null());
    let params = message.remove("params").unwrap_or(Value::Null);
    if let Some(method) = message.get("method") {
        let Some(method) = method.as_str().map(str::to_owned) else {
            return garbage("a method that is no text");
        };
        return Ok(match id {
            Some(id) => Incoming::Question(Question { id, method, params }),
            None => Incoming::Notification(method, params),
        });
    }
    let outcome = match (message.remove("result"), message.remove("error")) {
        (Some(result @ Value::Object(_)), None) => Ok(result),
        (None, Some(error)) => Err(rpc_error(error)?),
        _ => return garbage("neither a result nor an error"),
    };
    match id {
        None => Ok(Incoming::Answer(None, outcome)),
        Some(id) => match id.as_u64() {
            Some(id) => Ok(Incoming::Answer(Some(id), outcome)),
            None => garbage("an answer to nothing that was asked"),
        },
    }
}

fn rpc_error(mut error: Value) -> Result<ClientError, ClientError> {
    let Some(code) = error["code"].as_i64() else {
        return Err(ClientError::Garbage("an error without a code".to_owned()));
    };
    Ok(ClientError::Rpc {
        code,
        message: error["message"].as_str().unwrap_or_default().to_owned(),
        data: error.get_mut("data").map(|data| Box::new(data.take())),
    })
}

/// A request, or without an id a notification.
pub(crate) fn write(id: Option<u64>, method: &str, params: &Value) -> Vec<u8> {
    let mut message = json!({"jsonrpc": "2.0", "method": method});
    if let Some(id) = id {
        message["id"] = id.into();
    }
    if !params.is_null() {
        message["params"] = params.clone();
    }
    message.to_string().into_bytes()
}

/// The answer to a question of the server.
pub(crate) fn write_answer(id: &Value, outcome: Result<Value, (i64, String)>) -> Vec<u8> {
    let message = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err((code, message)) => json!({
            "jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}
        }),
    };
    message.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_message_is_told_apart() {
        let kinds = [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
                "Answer(Some(1), Ok",
            ),
            (
                r#"{"error":{"code":-1},"jsonrpc":"2.0"}"#,
                "Answer(None, Err(Rpc",
            ),
            (r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#, "Question"),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":{}}"#,
                "Notification",
            ),
        ];
        for (text, kind) in kinds {
            let read = read(text.as_bytes()).unwrap();
            assert!(
                format!("{:?}", read[0]).starts_with(kind),
                "{text}: {read:?}"
            );
        }
        let batch = format!("[{}]", kinds.map(|(text, _)| text).join(","));
        assert_eq!(read(batch.as_bytes()).unwrap().len(), kinds.len());
    }

    #[test]
    fn what_is_no_message_is_garbage() {
        for text in [
            "",
            "nonsense",
            "1",
            "[1]",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":7}"#,
            r#"{"jsonrpc":"2.0","id":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        ] {
            let found = read(text.as_bytes());
            assert!(
                matches!(found, Err(ClientError::Garbage(_))),
                "{text}: {found:?}"
            );
        }
    }
}
