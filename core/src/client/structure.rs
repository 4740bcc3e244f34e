//! What tools promise about their structured content, and whether their results keep it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use super::error::ClientError;
use super::peer::lock;
use crate::tool::{Schema, compile, mistakes};

/// The promise of one tool; compiled when it is looked at first.
struct Promise {
    schema: String,
    /// `None` for a schema that cannot be used: nothing is held to it.
    compiled: OnceLock<Option<Schema>>,
}

/// The promises of the tools that were listed last.
#[derive(Default)]
pub(crate) struct Promises(Mutex<HashMap<String, Arc<Promise>>>);

impl Promises {
    /// Learns from a list of tools. Of schemas beyond `bytes_max`, all together, nothing is learnt.
    pub(crate) fn learn(&self, tools: &[Value], bytes_max: usize) {
        let (mut known, mut bytes) = (HashMap::new(), 0);
        for tool in tools {
            let (Some(name), Some(schema)) = (tool["name"].as_str(), tool.get("outputSchema"))
            else {
                continue;
            };
            let schema = schema.to_string();
            bytes += schema.len();
            if bytes > bytes_max {
                break;
            }
            let compiled = OnceLock::new();
            known.insert(name.to_owned(), Arc::new(Promise { schema, compiled }));
        }
        *lock(&self.0) = known;
    }

    /// Checks a result of `tool`; one that says what went wrong promises nothing.
    pub(crate) fn check(&self, tool: &str, result: &Value) -> Result<(), ClientError> {
        let promise = lock(&self.0).get(tool).cloned();
        let Some(promise) = promise.filter(|_| result["isError"] != true) else {
            return Ok(());
        };
        let schema = promise
            .compiled
            .get_or_init(|| compile(&promise.schema).ok());
        let why = match (schema, result.get("structuredContent")) {
            (None, _) => None,
            (Some(_), None) => Some("there is none".to_owned()),
            (Some(schema), Some(content)) => mistakes(schema, content),
        };
        why.map_or(Ok(()), |why| {
            let tool = tool.to_owned();
            Err(ClientError::Structure { tool, why })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_held_to_what_was_listed() {
        let promises = Promises::default();
        let number = json!({"type": "number"});
        let tools = [
            json!({"name": "n", "outputSchema": number}),
            json!({"name": "odd", "outputSchema": {"$ref": "https://example.com/x"}}),
            json!({"name": "free"}),
        ];
        promises.learn(&tools, 1000);
        for (tool, result, good) in [
            ("n", json!({"structuredContent": 1}), true),
            ("n", json!({"structuredContent": "1"}), false),
            ("n", json!({"content": []}), false),
            ("n", json!({"content": [], "isError": true}), true),
            ("odd", json!({"structuredContent": 1}), true),
            ("free", json!({}), true),
            ("unknown", json!({}), true),
        ] {
            let found = promises.check(tool, &result);
            assert_eq!(found.is_ok(), good, "{tool} {result}: {found:?}");
        }
        promises.learn(&tools, 3);
        assert_eq!(promises.check("n", &json!({})), Ok(()), "beyond the limit");
    }
}
