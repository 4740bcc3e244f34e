//! The order of the messages of `sampling/createMessage`, as both sides hold it to.
//!
//! A model that uses tools is to be given what they made before anything else is said
//! (client/sampling, "Tool use and result balance"): models refuse conversations that break this.

use std::collections::BTreeSet;

use serde_json::Value;

fn blocks(message: &Value) -> &[Value] {
    match &message["content"] {
        Value::Array(blocks) => blocks,
        block => std::slice::from_ref(block),
    }
}

/// The values of `id` of the blocks of one type.
fn ids<'a>(message: &'a Value, kind: &str, id: &str) -> BTreeSet<Option<&'a str>> {
    let blocks = blocks(message).iter().filter(|it| it["type"] == kind);
    blocks.map(|it| it[id].as_str()).collect()
}

/// Checks that a user's message with tool results holds nothing else, and that each tool use of
/// the assistant is answered in the message behind it.
///
/// # Errors
/// Which message breaks this, by its place from 0, and how.
// [mcp:sampling-turns]
pub(crate) fn check(messages: &[Value]) -> Result<(), String> {
    for (at, message) in messages.iter().enumerate() {
        let result = |it: &Value| it["type"] == "tool_result";
        let results = blocks(message).iter().filter(|it| result(it)).count();
        if message["role"] == "user" && results > 0 && results < blocks(message).len() {
            return Err(format!(
                "messages[{at}] holds tool results and other content: put what is no \
                 `tool_result` into a message of its own"
            ));
        }
        if message["role"] != "assistant" {
            continue;
        }
        let next = messages.get(at + 1).filter(|it| it["role"] == "user");
        let answered = next.map(|it| ids(it, "tool_result", "toolUseId"));
        let missing = ids(message, "tool_use", "id").into_iter().find(|used| {
            !answered
                .as_ref()
                .is_some_and(|it| used.is_some() && it.contains(used))
        });
        if let Some(id) = missing {
            return Err(format!(
                "messages[{at}] holds the tool use `{}`, and the next message is no user's with a \
                 `tool_result` for it: wanted one for each tool use",
                id.unwrap_or("without an id")
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // [mcp:sampling-turns]
    #[test]
    fn every_tool_use_is_answered_by_results_alone() {
        let text = || json!({"type": "text", "text": "?"});
        let uses = |id: &str| json!({"type": "tool_use", "id": id, "name": "t", "input": {}});
        let made = |id: &str| json!({"type": "tool_result", "toolUseId": id, "content": []});
        let user = |content: Value| json!({"role": "user", "content": content});
        let model = |content: Value| json!({"role": "assistant", "content": content});
        let both = || model(json!([text(), uses("1"), uses("2")]));
        for good in [
            vec![],
            vec![user(text()), model(text()), user(json!([text(), text()]))],
            vec![model(uses("1")), user(made("1")), model(text())],
            vec![user(text()), both(), user(json!([made("2"), made("1")]))],
        ] {
            assert_eq!(check(&good), Ok(()), "{good:?}");
        }
        for (bad, at) in [
            (vec![user(json!([made("1"), text()]))], 0),
            (vec![both(), user(json!([made("1"), made("2"), text()]))], 1),
            (vec![user(text()), both()], 1),
            (vec![both(), user(made("1"))], 0),
            (vec![both(), user(text())], 0),
            (vec![model(uses("1")), model(text()), user(made("1"))], 0),
            (vec![model(uses("1")), model(made("1"))], 0),
            (
                vec![
                    model(json!({"type": "tool_use"})),
                    user(json!({"type": "tool_result"})),
                ],
                0,
            ),
        ] {
            let why = check(&bad).unwrap_err();
            assert!(why.starts_with(&format!("messages[{at}] ")), "{why}");
        }
    }
}
